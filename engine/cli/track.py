"""`engine track`: tell experiment trackers of runs that are over, or at work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.choosing import RUNS_HELP, chosen, opened, runs_argument
from engine.cli.options import runs_option
from engine.cli.printing import console, print_problems
from engine.errors import Where

if TYPE_CHECKING:
    from engine.tracking.facts import Wishes

_FORMS = {"tensorboard": "tensorboard", "mlflow": "mlflow=URI", "wandb": "wandb=online or wandb=offline"}


@click.command("track", epilog=RUNS_HELP)
@runs_argument
@click.option(
    "--to", "trackers", multiple=True, metavar="TRACKER",
    help="tensorboard, mlflow=URI (or a folder), wandb=online or wandb=offline. May be given again.",
)
@runs_option
def command(runs: tuple[str, ...], runs_dir: Path, trackers: tuple[str, ...]) -> None:
    """Tell trackers of RUNS: losses, learning rate, AP, pictures and recipes, from the events that runs keep.

    A tracker is told nothing twice, so the command may be repeated. To have trackers told while a run trains, write
    [tracking] into its recipe instead.
    """
    from engine.rundir import RunDir
    from engine.tracking.follow import follow
    from engine.tracking.make import make_trackers, missing_packages, tracker_missing

    wishes = _wishes(trackers)
    missing = missing_packages(wishes)
    if missing:
        print_problems([tracker_missing(name, Where(item=f"--to {name}")) for name in missing])
        sys.exit(1)
    with opened(runs_dir) as queue:
        rows = chosen(queue, runs)
    failed = False
    for row in rows:
        troubles = follow(RunDir(runs_dir / row.run), make_trackers(wishes))
        failed |= bool(troubles)
        if not troubles:
            console().print(f"{row.run}: told {', '.join(name.partition('=')[0] for name in trackers)}")
    sys.exit(1 if failed else 0)


def _wishes(trackers: tuple[str, ...]) -> Wishes:
    """The trackers that were typed.

    Raises:
        click.UsageError: None is named, one isn't known, or it lacks where to.
    """
    from engine.tracking.facts import Wishes

    if not trackers:
        raise click.UsageError(f"say whom to tell with --to: {', '.join(_FORMS.values())}")
    asked: dict[str, str] = {}
    for words in trackers:
        name, _, value = words.partition("=")
        if name not in _FORMS:
            raise click.BadParameter(f'no tracker "{name}"; there are {", ".join(_FORMS.values())}')
        if (name == "mlflow" and not value) or (name == "wandb" and value not in ("online", "offline")):
            raise click.BadParameter(f"write {_FORMS[name]}")
        asked[name] = value
    return Wishes("tensorboard" in asked, asked.get("mlflow", ""), asked.get("wandb", ""))

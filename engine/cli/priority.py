"""`engine priority`: which runs matter more."""

from __future__ import annotations

from pathlib import Path

import click

from engine import control
from engine.cli.choosing import RUNS_HELP, chosen, conclude, opened, runs_argument
from engine.cli.options import runs_option


@click.command("priority", epilog=RUNS_HELP, context_settings={"ignore_unknown_options": True})
@runs_argument
@click.argument("priority", type=click.IntRange(-1000, 1000))
@runs_option
def command(runs: tuple[str, ...], priority: int, runs_dir: Path) -> None:
    """Give RUNS that wait the PRIORITY; the highest go first, recipes have 0 unless they say otherwise.

    Exit code 0 when all have it, 1 when something was refused.
    """
    with opened(runs_dir) as queue:
        conclude(control.set_priority(queue, chosen(queue, runs), priority))

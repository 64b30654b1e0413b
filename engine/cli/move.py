"""`engine move`: another place in the queue."""

from __future__ import annotations

from pathlib import Path

import click

from engine import control
from engine.cli.choosing import RUNS_HELP, chosen, complete_runs, conclude, opened, runs_argument
from engine.cli.options import runs_option
from engine.errors import QueueError


@click.command("move", epilog=RUNS_HELP)
@runs_argument
@click.option("--first", is_flag=True, help="Before all others that wait.")
@click.option("--last", is_flag=True, help="After all others.")
@click.option("--before", metavar="RUN", shell_complete=complete_runs, help="Just before this one.")
@click.option("--after", metavar="RUN", shell_complete=complete_runs, help="Just after this one.")
@runs_option
def command(
    runs: tuple[str, ...], runs_dir: Path, before: str | None, after: str | None, *, first: bool, last: bool
) -> None:
    """Move RUNS that wait to another place in the queue.

    A run takes on the priority that its new place needs. Exit code 0 when all were moved, 1 when something
    was refused.
    """
    asked = {"first": first, "last": last, "before": before, "after": after}
    given = [place for place, value in asked.items() if value]
    if len(given) != 1:
        raise click.UsageError("say where to: one of --first, --last, --before RUN, --after RUN")
    [place] = given
    with opened(runs_dir) as queue:
        rows = chosen(queue, runs)
        beside = chosen(queue, [before or after or ""]) if before or after else []
        if len(beside) > 1:
            raise QueueError.of("Q109", str(runs_dir), f"--{place} names {len(beside)} runs", "name one")
        conclude(control.move(queue, rows, place, *beside))  # type: ignore[arg-type]  # one of the four

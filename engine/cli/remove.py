"""`engine remove`: take runs out of every list."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine import control
from engine.cli.choosing import RUNS_HELP, chosen, conclude, opened, runs_argument
from engine.cli.options import count, runs_option
from engine.cli.printing import console
from engine.errors import QueueError
from engine.runqueue import QueueRow

_SHOWN = 10


@click.command("remove", epilog=RUNS_HELP)
@runs_argument
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--undo", is_flag=True, help="Bring removed RUNS, named by their ids, back; unfinished ones are held.")
@runs_option
def command(runs: tuple[str, ...], runs_dir: Path, *, yes: bool, undo: bool) -> None:
    """Take RUNS out of the queue and every list.

    Their folders, checkpoints and all, move to removed/ in the runs folder; nothing is deleted. --undo
    brings them back, `engine clean --removed` deletes them for good. Exit code 0 when all were removed, 1
    when something was refused.
    """
    with opened(runs_dir) as queue:
        if undo:
            conclude(control.bring_back(queue, runs))
        rows = chosen(queue, runs)
        if rows and not yes:
            _ask(rows, runs_dir)
        conclude(control.remove(queue, rows))


def _ask(rows: list[QueueRow], runs_dir: Path) -> None:
    if not sys.stdin.isatty():
        raise QueueError.of("Q111", str(runs_dir), f"{count(len(rows), 'run')} would be removed", "add --yes")
    out = console()
    for row in rows[:_SHOWN]:
        out.print(f"  {row.run}  {row.state}", soft_wrap=True)
    if len(rows) > _SHOWN:
        out.print(f"  and {count(len(rows) - _SHOWN, 'more run')}")
    if not click.confirm(f"remove {count(len(rows), 'run')}? (the folders are kept in {runs_dir / 'removed'})"):
        out.print("nothing was removed")
        sys.exit(1)

"""`engine clean`: make room on the disk."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.clean import Spare, clean, plan_cleaning
from engine.cli.choosing import RUNS_HELP, complete_runs, in_folder, read_board_or_fail
from engine.cli.options import count, runs_option
from engine.cli.printing import console, shown_path
from engine.diskroom import size_words
from engine.errors import printable

_SHOWN = 40


@click.command("clean", epilog=RUNS_HELP)
@click.argument("runs", nargs=-1, shell_complete=complete_runs)
@click.option("--yes", is_flag=True, help="Delete what is listed; without it nothing is.")
@click.option("--previews", "previews_every", type=click.IntRange(1), default=None, metavar="N",
              help="Of finished runs keep the previews and photos of every Nth epoch, the first, the last and the "
              "best one.")
@click.option("--removed", is_flag=True, help="Delete for good what `engine remove` put aside.")
@runs_option
def command(
    runs: tuple[str, ...], runs_dir: Path, previews_every: int | None, *, yes: bool, removed: bool
) -> None:  # fmt: skip
    """List what could go of RUNS that are over, and how much it takes; --yes deletes it.

    Of every such run: the state before the last, event logs that a resume cut off, and what was left
    behind when something was cut short. Of finished ones also the last state and repeatable steps. The best
    model always stays, and so does what `engine retry` goes on from. Without RUNS all are looked at. Exit
    code 0, or 1 when something couldn't be deleted.
    """
    import time

    from engine.selection import select

    _, rows = read_board_or_fail(runs_dir, time.time())
    chosen = select(rows, runs, runs_dir=str(runs_dir)) if runs else rows
    spares = plan_cleaning(chosen, runs_dir, previews_every=previews_every or 0, removed=removed)
    if not yes:
        _list(spares, runs_dir)
        return
    freed, troubles = clean(spares)
    out = console()
    out.print(f"{size_words(freed)} freed")
    for trouble in troubles:
        console(stderr=True).print(printable(f"can't be deleted: {trouble}"), soft_wrap=True)
    sys.exit(1 if troubles else 0)


def _list(spares: list[Spare], runs_dir: Path) -> None:
    out = console()
    if not spares:
        out.print("nothing could go")
        return
    for spare in sorted(spares, key=lambda one: -one.size_bytes)[:_SHOWN]:
        words = f"{size_words(spare.size_bytes):>7}  {shown_path(str(spare.path))}  ({spare.why})"
        out.print(printable(words), soft_wrap=True)
    if len(spares) > _SHOWN:
        out.print(f"and {count(len(spares) - _SHOWN, 'smaller one')}")
    total = size_words(sum(spare.size_bytes for spare in spares))
    out.print(f"{total} in all; nothing was deleted. `{in_folder('engine clean --yes', runs_dir)}` does it, with the "
              "same runs and options", soft_wrap=True)

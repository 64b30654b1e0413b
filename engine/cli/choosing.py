"""What the commands that act on runs share: naming runs, completing their names, telling what became of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from engine import control
from engine.cli.printing import console, print_problems
from engine.control import Change, is_supervised
from engine.errors import QueueError, printable
from engine.queuereader import read_queue, settle_orphans
from engine.rundir import QUEUE_FILE, RunDir, find_run_dir
from engine.runqueue import QueueRow, RunQueue
from engine.selection import WORDS, name_of, select

if TYPE_CHECKING:
    from engine.standing import Board

_BUSY_TIMEOUT_S = 10.0

RUNS_HELP = "Each of RUNS is a number, a range (3-7, 3-), an id, a recipe's name, a pattern (desk-*), a state or all."


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids and names of runs that begin so, newest first; states too where several runs may be named."""
    runs_dir = ctx.params.get("runs_dir") or Path(os.environ.get("ENGINE_RUNS") or "runs")
    rows = list(reversed(read_queue(runs_dir).rows.values()))
    by_word = {row.run: row.state for row in rows} | {name_of(row): "the newest of this name" for row in rows}
    if param.nargs != 1:
        by_word |= dict.fromkeys(WORDS, "all of these")
    return [CompletionItem(word, help=told) for word, told in by_word.items() if word.startswith(incomplete)]


runs_argument = click.argument("runs", nargs=-1, required=True, shell_complete=complete_runs)


def opened(runs_dir: Path) -> AbstractContextManager[RunQueue]:
    """The queue of a runs folder that exists; that a damaged file was rebuilt goes to stderr."""
    return control.opened(runs_dir, lambda words: console(stderr=True).print(printable(words), soft_wrap=True))


def chosen(queue: RunQueue, words: Iterable[str]) -> list[QueueRow]:
    """The rows that words mean."""
    return select(queue.rows(), words, runs_dir=str(queue.runs_dir))


def run_dirs_of(words: Iterable[str], runs_dir: Path) -> list[RunDir]:
    """The folders of the runs that words mean, each once; by the folders alone where there is no queue.

    Raises:
        QueueError: A word means no run, or two things.
    """
    found: dict[Path, RunDir] = {}
    for word in words:
        try:
            run_dirs = [find_run_dir(runs_dir, word)]
        except QueueError:
            rows = list(read_queue(runs_dir).rows.values())
            if not rows:
                raise
            run_dirs = [RunDir(runs_dir / row.run) for row in select(rows, [word], runs_dir=str(runs_dir))]
        found |= {run_dir.path.resolve(): run_dir for run_dir in run_dirs}
    return list(found.values())


def read_board_or_fail(runs_dir: Path, now: float) -> tuple[Board, list[QueueRow]]:
    """Where unfinished runs stand, and every row; runs that nobody works on as the next supervisor will find them.

    Raises:
        QueueError: The queue can't be read.
    """
    from engine.standing import read_board

    reading = read_queue(runs_dir, _BUSY_TIMEOUT_S)
    if reading.trouble:
        raise QueueError.of(
            "Q106", str(runs_dir / QUEUE_FILE), reading.trouble,
            "`engine run` sets a damaged queue aside and rebuilds it from the run folders; `engine watch` shows those",
        )
    reading = replace(reading, rows=settle_orphans(reading.rows, runs_dir))
    return read_board(runs_dir, reading, now), list(reading.rows.values())


def tell(changes: Sequence[Change]) -> None:
    """Print what became of runs, and what was refused."""
    out = console()
    for change in changes:
        if change.problem is None:
            out.print(printable(f"{change.run} {change.words}"), soft_wrap=True)
    print_problems([change.problem for change in changes if change.problem is not None])


def conclude(changes: Sequence[Change], runs_dir: Path | None = None) -> None:
    """Print what became of runs and end the command: code 0 when nothing was refused, 1 otherwise.

    With `runs_dir` it is said what starts runs where nobody is at work on them.
    """
    tell(changes)
    if runs_dir is not None and any(change.problem is None for change in changes):
        tell_who_works(runs_dir)
    sys.exit(1 if any(change.problem for change in changes) else 0)


def tell_who_works(runs_dir: Path) -> None:
    """Say what starts queued runs where nobody is at work."""
    if not is_supervised(runs_dir):
        typed = in_folder("engine run", runs_dir)
        console().print(f"nobody is at work on the queue; `{typed}` starts it", soft_wrap=True)


def in_folder(command: str, runs_dir: Path) -> str:
    """A command as it is typed for a runs folder."""
    return command if runs_dir == Path("runs") else f"{command} --runs {runs_dir}"

"""What the commands that act on runs share: naming runs, completing their names, telling what became of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from engine.cli.printing import console, print_problems
from engine.control import Change, is_supervised
from engine.errors import printable
from engine.queuereader import read_queue
from engine.runqueue import QueueRow, RunQueue
from engine.selection import WORDS, name_of, select

RUNS_HELP = "Each of RUNS is a number, a range (3-7, 3-), an id, a recipe's name, a pattern (desk-*), a state or all."


class RunName(click.ParamType):
    """A run as a person names it; completes ids, names and states in the shell."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Ids and names of runs that begin so, newest first."""
        rows = list(read_queue(ctx.params.get("runs_dir") or Path("runs")).rows.values())
        by_word = {row.run: row.state for row in reversed(rows)} | {name_of(row): "newest" for row in reversed(rows)}
        if isinstance(param, click.Argument) and param.nargs != 1:
            by_word |= dict.fromkeys(WORDS, "runs")
        return [CompletionItem(word, help=told) for word, told in by_word.items() if word.startswith(incomplete)]


def runs_argument(*, required: bool = True):  # type: ignore[no-untyped-def]  # click's decorators are untyped
    """The argument RUNS."""
    return click.argument("runs", nargs=-1, required=required, type=RunName())


def chosen(queue: RunQueue, words: Iterable[str]) -> list[QueueRow]:
    """The rows that words mean."""
    return select(queue.rows(), words, runs_dir=str(queue.runs_dir))


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

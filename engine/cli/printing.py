"""How problems look on a terminal."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.text import Text

from engine.errors import Problem, printable

_PIPE_WIDTH = 160
_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


class _Console(Console):
    """A console whose reader may go away: told as an error, which one command survives and the others end with."""

    def on_broken_pipe(self) -> None:
        """Rich would end the process."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def console(*, stderr: bool = False) -> Console:
    """A console that never treats text as markup."""
    file = sys.stderr if stderr else sys.stdout
    # Nobody told how wide a pipe or a file is; a table cut off there would be lost.
    width = None if file.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    return _Console(file=file, markup=False, highlight=False, emoji=False, width=width)


class Tell(Protocol):
    """Moves a progress bar on."""

    def __call__(self, done: int, total: int, words: str | None = None) -> None:
        """So many of so many are done; `words` change what the bar says."""


@contextmanager
def progress_bar(words: str = "", *, unit: str = "images", keep: bool = False) -> Iterator[Tell]:
    """A progress bar on a terminal's stderr, nothing elsewhere; `keep` leaves it there at the end."""
    from tqdm import tqdm

    with tqdm(total=0, unit=f" {unit}", desc=words, leave=keep, disable=not sys.stderr.isatty()) as bar:

        def tell(done: int, total: int, words: str | None = None) -> None:
            if words is not None:
                bar.set_description(words, refresh=False)
            bar.total = total
            bar.update(done - bar.n)

        yield tell


def shown_path(path: str) -> str:
    """A path as short as it can be told: relative to the current folder when it lies below it."""
    try:
        return str(Path(path).resolve().relative_to(Path.cwd())) if path else path
    except ValueError:
        return path


def print_problems(problems: Sequence[Problem], *, stderr: bool = True) -> None:
    """Print each problem on three lines: where, what was found, what to do."""
    out = console(stderr=stderr)
    for problem in problems:
        where = str(problem.where).replace(problem.where.path, shown_path(problem.where.path), 1)
        if where:
            out.print(Text(f"  {where}"), soft_wrap=True)
        line = Text("    ")
        line.append(f"{problem.severity} {problem.code} ", style=_STYLES[problem.severity])
        line.append(printable(problem.found))
        out.print(line, soft_wrap=True)
        out.print(Text(f"    fix: {printable(problem.fix)}", style="dim"), soft_wrap=True)

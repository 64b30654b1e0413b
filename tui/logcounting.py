"""Counts the lines of a log in which something is found, in a thread of its own, beside whoever reads pages.

What was counted is kept, a number for each piece of the log: another match asked about later, or a log that has
grown, costs a piece or what is new. A log of 1 GB takes a second or two.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from engine.rundir import RunDir
from tui.latest import LatestThread
from tui.logreader import Level, LogBytes, matching_lines, pieces_after

_TELL_S = 0.3


@dataclass(frozen=True, slots=True)
class CountRequest:
    """What is counted, and which one of them is looked at.

    Attributes:
        run_id: Whose log.
        needle: What is searched; case counts only where it has capitals.
        level: Which lines count.
        found: Where the line begins that is looked at.
    """

    run_id: str
    needle: str
    level: Level
    found: int


@dataclass(frozen=True, slots=True)
class LogCount:
    """How many there are, so far.

    Attributes:
        request: What was asked.
        number: Which one of them is looked at, from 1 on; None as long as the count hasn't come there.
        total: How many there are.
        is_done: Whether all of the log was counted.
    """

    request: CountRequest
    number: int | None
    total: int
    is_done: bool


@dataclass(slots=True)
class _Tally:
    """What was counted of one log for one needle: where each piece begins, and how many there are before it."""

    key: tuple[object, ...]
    begins: list[int] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    total: int = 0
    end: int = 0


def count_matches(some: bytes, needle: str, level: Level) -> int:
    """How many lines of a piece of whole lines show what is searched."""
    ignore_case = needle.lower() == needle
    if level == "all" and b"\x1b" not in some and b"\r" not in some:
        # Nothing is hidden, so that every line that holds it shows it, but for the far end of a very long one.
        data = some.lower() if ignore_case else some
        return len(re.findall(re.escape(needle.encode()) + rb"[^\n]*", data))
    return sum(1 for _ in matching_lines(some, needle, level))


class CountThread(LatestThread[CountRequest]):
    """Answers the latest request; a newer one ends the count for an older.

    Args:
        runs_dir: The runs folder.
        tell: The listener; called from this thread.
    """

    def __init__(self, runs_dir: Path, tell: Callable[[LogCount], None]) -> None:
        super().__init__("log-count", self._count_in)
        self._runs_dir = runs_dir
        self._tell = tell
        self._tally = _Tally(())

    def ask(self, request: CountRequest) -> None:
        """Count, and forget what was asked before; the first request starts the thread."""
        super().ask(request)
        if self.ident is None:
            self.start()

    def _count_in(self, request: CountRequest) -> None:
        try:
            log = LogBytes(RunDir(self._runs_dir / request.run_id))
        except OSError:
            return  # whoever reads the page is told
        try:
            self._count(log, request)
        except OSError:
            return
        finally:
            log.close()

    def _count(self, log: LogBytes, request: CountRequest) -> None:
        key = (request.run_id, request.needle, request.level, log.files)
        if self._tally.key != key or self._tally.end > log.size:
            self._tally = _Tally(key)
        tally, told_at = self._tally, time.monotonic()
        for begin, some in pieces_after(log, tally.end):
            if self.has_newer():
                return
            whole = some[: some.rfind(b"\n") + 1]  # a last line that is still being written counts later
            tally.begins.append(begin)
            tally.before.append(tally.total)
            tally.total += count_matches(whole, request.needle, request.level)
            tally.end = begin + len(whole)
            if time.monotonic() - told_at > _TELL_S:
                told_at = time.monotonic()
                self._tell(LogCount(request, self._number(log, request), tally.total, is_done=False))
        self._tell(LogCount(request, self._number(log, request), tally.total, is_done=True))

    def _number(self, log: LogBytes, request: CountRequest) -> int | None:
        tally = self._tally
        if request.found >= tally.end:
            return None
        piece = bisect_right(tally.begins, request.found) - 1
        some = log.read(tally.begins[piece], request.found)
        return tally.before[piece] + count_matches(some, request.needle, request.level) + 1

"""Pages of a worker's log, of any size: nothing is read but what is looked at or searched.

A log may lie in three files: how it began, what came before its end, and its end. Here they are one
run of bytes. A page is a stretch of lines around a place; searching and filtering stream through the
log piece by piece, tell how far they are, and stop at once when something else is asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from engine.rundir import RunDir, open_regular
from tui.latest import LatestThread
from tui.logtail import ERROR_WORDS, WARNING_WORDS, clean_line

Level = Literal["all", "warnings", "errors"]
Asked = Literal["end", "start", "before", "after", "find before", "find after"]

PAGE_LINES = 1_500
_PIECE_BYTES = 1_000_000
_FIRST_PIECE_BYTES = 128_000
# Of a line longer than this the rest is passed over.
_LONGEST_LINE_BYTES = 64_000
_LOUD_WORDS = (b"error", b"exception", b"traceback", b"killed", b"fatal", b"warn")
_LEVELS = {
    "errors": re.compile(ERROR_WORDS.encode(), re.IGNORECASE),
    "warnings": re.compile(f"{ERROR_WORDS}|{WARNING_WORDS}".encode(), re.IGNORECASE),
}


@dataclass(frozen=True, slots=True)
class LogRequest:
    """What somebody wants to see of a log.

    Attributes:
        run_id: Whose.
        asked: The page at its end or start, the lines before or after a place, or around the nearest
            line before or after it that holds the needle.
        place: A byte of the log.
        level: Which lines count.
        needle: What is searched; case counts only where it has capitals.
    """

    run_id: str
    asked: Asked = "end"
    place: int = 0
    level: Level = "all"
    needle: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, safe to show, and where it begins."""

    place: int
    text: str
    end: int = field(compare=False, default=0)


@dataclass(frozen=True, slots=True)
class LogPage:
    """The answer to a request, or how far it is.

    Attributes:
        request: What was asked.
        lines: Lines in order.
        begin: Where the stretch begins that was looked through.
        end: Where it ends; a last line without its newline is beyond.
        size_bytes: The whole log.
        found: Where the line begins that was searched for; None when there is none.
        is_done: Whether this is the whole answer; else `begin` or `end` tell how far it is.
        trouble: Why it can't be read; "" when it can.
        files: Which files the log lay in; places mean something only while they are the same.
    """

    request: LogRequest
    lines: tuple[LogLine, ...] = ()
    begin: int = 0
    end: int = 0
    size_bytes: int = 0
    found: int | None = None
    is_done: bool = True
    trouble: str = ""
    files: tuple[int, ...] = ()


class LogBytes:
    """The parts of a log as one run of bytes, as they were when it was opened."""

    def __init__(self, run_dir: RunDir) -> None:
        self._files = []
        self._starts: list[int] = []
        self.size = 0
        inodes = []
        for path in (run_dir.worker_log_first, run_dir.worker_log_before, run_dir.worker_log):
            try:
                file = open_regular(path)
            except FileNotFoundError:
                continue
            except OSError:
                self.close()
                raise
            status = os.fstat(file.fileno())
            self._files.append(file)
            self._starts.append(self.size)
            self.size += status.st_size
            inodes.append(status.st_ino)
        self.files = tuple(inodes)

    def read(self, begin: int, end: int) -> bytes:
        """Bytes from a place to another."""
        data = b""
        for file, start in zip(self._files, self._starts, strict=True):
            offset = max(begin, start) - start
            length = min(end, self._end_of(start)) - start - offset
            if length > 0:
                data += os.pread(file.fileno(), length, offset)
        return data

    def _end_of(self, start: int) -> int:
        return next((other for other in self._starts if other > start), self.size)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


class _Abandoned(Exception):
    """Something else was asked for."""


class LogReader:
    """Answers requests for one log after another.

    Args:
        runs_dir: The runs folder.
        tell: Takes answers, and how far they are.
        is_abandoned: Whether something else was asked for since.
    """

    def __init__(
        self, runs_dir: Path, tell: Callable[[LogPage], None], is_abandoned: Callable[[], bool] = lambda: False
    ) -> None:
        self._runs_dir = runs_dir
        self._tell = tell
        self._is_abandoned = is_abandoned

    def answer(self, request: LogRequest) -> None:
        """Tell the page that is asked for, unless something else is asked for meanwhile."""
        log = None
        try:
            log = LogBytes(RunDir(self._runs_dir / request.run_id))
            self._tell(self._page(log, request))
        except _Abandoned:
            pass
        except OSError as error:
            self._tell(LogPage(request, trouble=f"its log can't be read: {error.strerror or error}"))
        finally:
            if log is not None:
                log.close()

    def _page(self, log: LogBytes, request: LogRequest) -> LogPage:
        empty = LogPage(request, size_bytes=log.size, files=log.files)
        place = min(request.place, log.size)
        match request.asked:
            case "end":
                return self._before(log, replace(empty, end=log.size), log.size)
            case "start":
                return self._after(log, empty, 0)
            case "before":
                return self._before(log, replace(empty, end=place), place)
            case "after":
                return self._after(log, replace(empty, begin=place), place)
            case "find before" | "find after":
                return self._find(log, empty, place)

    def _before(self, log: LogBytes, page: LogPage, place: int) -> LogPage:
        lines: list[LogLine] = []
        page = replace(page, begin=place)
        for begin, some in self._pieces_before(log, place):
            if begin + len(some) == log.size:
                page = replace(page, end=begin + some.rfind(b"\n") + 1)
            wanted = _wanted(some, begin, page.request.level)
            lines[:0] = [_shown(*line) for line in wanted[-PAGE_LINES:]]
            if len(lines) >= PAGE_LINES:
                lines = lines[-PAGE_LINES:]
                return replace(page, lines=tuple(lines), begin=lines[0].place)
            page = replace(page, begin=begin)
            self._tell(replace(page, is_done=False))
        return replace(page, lines=tuple(lines))

    def _after(self, log: LogBytes, page: LogPage, place: int) -> LogPage:
        lines: list[LogLine] = []
        page = replace(page, end=place)
        for begin, some in self._pieces_after(log, place):
            wanted = _wanted(some, begin, page.request.level)
            lines += [_shown(*line) for line in wanted[: PAGE_LINES - len(lines)]]
            if len(lines) >= PAGE_LINES:
                return replace(page, lines=tuple(lines), end=lines[-1].end)
            page = replace(page, end=begin + some.rfind(b"\n") + 1)
            self._tell(replace(page, is_done=False))
        return replace(page, lines=tuple(lines))

    def _find(self, log: LogBytes, page: LogPage, place: int) -> LogPage:
        request = page.request
        is_forward = request.asked == "find after"
        pieces = self._pieces_after(log, place) if is_forward else self._pieces_before(log, place)
        for begin, some in pieces:
            start = next(matching_lines(some, request.needle, request.level, is_upwards=not is_forward), None)
            if start is not None:
                return self._around(log, replace(page, found=begin + start), begin + start)
            self._tell(replace(page, begin=begin, end=begin + len(some), is_done=False))
        return page

    def _around(self, log: LogBytes, page: LogPage, place: int) -> LogPage:
        before = self._before(log, replace(page, end=place), place)
        after = self._after(log, replace(page, begin=place), place)
        half = PAGE_LINES // 2
        lines = (*before.lines[-half:], *after.lines[:half])
        begin = lines[0].place if len(before.lines) > half else before.begin
        end = lines[-1].end if len(after.lines) > half else after.end
        return replace(page, lines=lines, begin=begin, end=end)

    # --- pieces of whole lines ---

    def _pieces_before(self, log: LogBytes, place: int) -> Iterator[tuple[int, bytes]]:
        """Pieces that end before a place, the nearest first, each beginning with a line."""
        size = _FIRST_PIECE_BYTES
        while place > 0:
            if self._is_abandoned():
                raise _Abandoned
            start = max(0, place - size)
            data = log.read(start, place)
            cut = 0 if start == 0 else data.find(b"\n", 0, len(data) - 1) + 1
            if start > 0 and cut == 0 and size < _PIECE_BYTES:
                size = _PIECE_BYTES  # a line longer than the piece
                continue
            yield start + cut, data[cut:]
            place, size = start + cut, _PIECE_BYTES

    def _pieces_after(self, log: LogBytes, place: int) -> Iterator[tuple[int, bytes]]:
        for piece in pieces_after(log, place):
            if self._is_abandoned():
                raise _Abandoned
            yield piece


def pieces_after(log: LogBytes, place: int) -> Iterator[tuple[int, bytes]]:
    """Pieces that begin at a place, each ending with a line or with the log."""
    size = _FIRST_PIECE_BYTES
    while place < log.size:
        data = log.read(place, min(log.size, place + size))
        if not data:
            return
        cut = len(data) if place + len(data) >= log.size else data.rfind(b"\n") + 1
        data = data[: cut or len(data)]
        yield place, data
        place, size = place + len(data), _PIECE_BYTES


def matching_lines(some: bytes, needle: str, level: Level, *, is_upwards: bool = False) -> Iterator[int]:
    """Where the lines of a piece begin that show what is searched; a match may lie in what isn't shown."""
    places: Iterator[int] = _places_of(needle.encode(), some, ignore_case=needle.lower() == needle)
    last = -1
    for at in reversed(list(places)) if is_upwards else places:
        start = some.rfind(b"\n", 0, at) + 1
        if start == last:
            continue
        last = start
        end = some.find(b"\n", at)
        line = some[start : end if end >= 0 else len(some)]
        if holds(_text(line), needle) and _counts(line, level):
            yield start


def holds(text: str, needle: str) -> bool:
    """Whether a line holds what is searched; case counts only where the needle has capitals."""
    return needle in (text.lower() if needle.lower() == needle else text)


def _places_of(needle: bytes, data: bytes, *, ignore_case: bool) -> Iterator[int]:
    if ignore_case:
        data = data.lower()  # of ASCII; other letters are compared as they are
    at = data.find(needle)
    while at >= 0:
        yield at
        at = data.find(needle, at + len(needle))


def _wanted(some: bytes, begin: int, level: Level) -> list[tuple[int, bytes]]:
    """The lines of a piece that count; most pieces of a quiet log hold no loud word at all."""
    if level == "all":
        return list(_lines(some, begin))
    small = some.lower()
    if not any(word in small for word in _LOUD_WORDS):
        return []
    return [line for line in _lines(some, begin) if _counts(line[1], level)]


def _counts(line: bytes, level: Level) -> bool:
    if level == "all":
        return True
    small = line.lower()
    if not any(word in small for word in _LOUD_WORDS):
        return False
    if b"\x1b" in line:  # a colour would hide where the word begins
        line = _text(line).encode()
    return _LEVELS[level].search(line) is not None


def _lines(data: bytes, begin: int) -> Iterator[tuple[int, bytes]]:
    """Lines and where they begin, their newlines included."""
    for line in data.splitlines(keepends=True) if b"\r" not in data else _split(data):
        yield begin, line
        begin += len(line)


def _split(data: bytes) -> list[bytes]:
    """Lines that end with a newline only: a progress bar's carriage returns stay in its line."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _shown(place: int, line: bytes) -> LogLine:
    return LogLine(place, _text(line), place + len(line))


def _text(line: bytes) -> str:
    return clean_line(line[-_LONGEST_LINE_BYTES:].rstrip(b"\n").decode("utf-8", "replace"))


class LogThread(LatestThread[LogRequest]):
    """Answers requests in a thread of its own; a new request takes the place of the one at work.

    Args:
        runs_dir: The runs folder.
        tell: The listener; called from this thread.
    """

    def __init__(self, runs_dir: Path, tell: Callable[[LogPage], None]) -> None:
        super().__init__("log", LogReader(runs_dir, tell, self.has_newer).answer)

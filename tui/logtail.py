"""The end of a worker's log, followed; safe to show whatever a program wrote into it.

Reads the end of the file only, however large it is. Colour and cursor sequences are taken out, a
progress bar that redraws itself becomes its latest state, other control characters become escapes.
"""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path

from engine.errors import printable
from engine.rundir import open_regular

_FIRST_BYTES = 128_000
_NEXT_BYTES = 512_000
_MOST_LINES = 2_000
_LONGEST_LINE = 2_000

# What makes a line an error or a warning, small and capital letters alike.
# Lines of the worker's own say their level, whatever words follow (engine/worker.py); others are known by words.
_STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
ERROR_WORDS = (
    rf"^(?!{_STAMP} (?:DEBUG|INFO|WARNING) ).*?(?:\b(?:error|exception|traceback|killed|fatal)|(?:error|exception)\b)"
)
WARNING_WORDS = rf"^(?!{_STAMP} (?:DEBUG|INFO) ).*?(?:\bwarn|warning\b)"

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: titles, links, clipboard
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # DCS, SOS, PM, APC: pictures and private data
    r"|\x1b[ -/]*[0-~]"  # two-character sequences
)


def clean_line(line: str) -> str:
    """One line as it may be shown: no escape sequences, the last state of what redrew itself."""
    text = _SEQUENCES.sub("", line[-4 * _LONGEST_LINE :])
    states = [state for state in text.split("\r") if state.strip()]
    text = (states[-1] if states else "").expandtabs(8)
    return printable(text[:_LONGEST_LINE])


class LogTail:
    """Follows one log file.

    Attributes:
        lines: The latest lines, cleaned; the last one may still be growing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset: int | None = None
        self._done: deque[str] = deque(maxlen=_MOST_LINES)
        self._rest = b""
        self._inode = 0
        self.lines: tuple[str, ...] = ()
        self._was_read = False

    def read(self) -> bool:
        """Read on; returns whether there is something new to show (the first time always)."""
        first, self._was_read = not self._was_read, True
        try:
            data = self._read_new()
        except OSError:
            data = b""
        if not data:
            return first
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._done.extend(clean_line(line.decode("utf-8", "replace")) for line in whole)
        growing = clean_line(self._rest.decode("utf-8", "replace"))
        self.lines = (*self._done, growing) if growing else tuple(self._done)
        return True

    def _read_new(self) -> bytes:
        with open_regular(self._path) as file:
            size = file.seek(0, 2)
            inode = self._path.stat().st_ino
            if self._offset is None or size < self._offset or inode != self._inode:
                self._begin(max(0, size - _FIRST_BYTES))
            elif size - self._offset > _NEXT_BYTES:
                self._begin(size - _NEXT_BYTES)
            self._inode = inode
            offset = self._offset or 0
            file.seek(offset)
            data = file.read(_NEXT_BYTES)
            self._offset = offset + len(data)
            if not self._done and not self._rest and offset > 0:
                data = data.partition(b"\n")[2]  # the first line is cut
            return data

    def _begin(self, offset: int) -> None:
        self._offset = offset
        self._done.clear()
        self._rest = b""

"""What the terminal is asked, and its answers kept apart from what the person types.

A terminal answers in the stream of keys: at once, or, over a slow line, when the dashboard has long been drawn
or left. So it is asked before anything slow is imported, every answer is taken out of the keys whenever it
comes, keys typed meanwhile are kept for the app, and what is still to come at the end is waited for, lest the
shell takes it for typed.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import termios
import time
from dataclasses import dataclass

# Every terminal answers what it is ("device attributes"), and after everything that it was asked before.
_WHO_ARE_YOU = b"\x1b[c"
_CELL_SIZE = b"\x1b[16t"
_KITTY = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
_SIXEL = b"4"

_ANSWER = re.compile(
    rb"\x1b\[\?(?P<attributes>[\d;]*)c|\x1b\[6;(?P<height>\d+);(?P<width>\d+)t|\x1b_G(?P<kitty>[^\x1b]*)\x1b\\"
)
_BEGUN_ANSWER = re.compile(rb"\x1b(?:\[(?:\?[\d;]*|6(?:;\d*){0,2})?|_(?:G[^\x1b]*\x1b?)?)?\Z")
# How answers begin and no key does.
_NO_KEY = (b"\x1b[?", b"\x1b_G")

# From the question on. Imports take nearly as long, so that waiting costs little where nobody answers.
_PATIENCE_S = 0.5
# At the end: a shell that is given an answer shows it as typed.
_LAST_PATIENCE_S = 1.0
# Later than this an answer is still taken out, but not looked for more often.
_SOON_S = 10.0

_USUAL_CELL = (10, 20)


@dataclass(frozen=True, slots=True)
class Features:
    """What the terminal says of itself.

    Attributes:
        has_sixel: Whether it takes sixels.
        has_kitty: Whether it knows kitty's graphics.
        cell: Pixels of a cell, (width, height).
    """

    has_sixel: bool = False
    has_kitty: bool = False
    cell: tuple[int, int] = _USUAL_CELL


class Inquiry:
    """Asks the terminal, and takes its answers out of what comes from it.

    Args:
        keys: Descriptor of the terminal to read from; without echo and by the character.
        output: Descriptor to ask on.
    """

    def __init__(self, keys: int, output: int) -> None:
        self._keys = keys
        self._output = output
        self._asked_at = 0.0
        self._num_open = 0
        self._kept = b""
        self._early = b""
        self._cell = _cell_by_size(output)
        self._has_sixel = self._has_kitty = False

    def ask(self) -> None:
        """Ask what pictures it takes."""
        self._send((b"" if self._cell else _CELL_SIZE) + _KITTY + _WHO_ARE_YOU)

    def asked_more(self) -> str:
        """What is to be sent after questions of others, whose answers are then waited for as well."""
        self._note()
        return _WHO_ARE_YOU.decode()

    @property
    def is_open(self) -> bool:
        """Whether an answer may come any moment."""
        return self._num_open > 0 and time.monotonic() < self._asked_at + _SOON_S

    def features(self) -> Features:
        """What it answered; waits for it a moment."""
        self._wait(_PATIENCE_S)
        return Features(self._has_sixel, self._has_kitty, self._cell or _USUAL_CELL)

    def typed(self, data: bytes) -> bytes:
        """What of the bytes from the terminal was typed; what may be an answer's beginning comes with the next ones."""
        if not self._num_open:
            return data
        data, self._kept = self._kept + data, b""
        for answer in _ANSWER.finditer(data):
            self._take(answer)
        data = _ANSWER.sub(b"", data)
        begun = _BEGUN_ANSWER.search(data)
        if begun and self._num_open:
            self._kept = begun.group()
            data = data[: begun.start()]
        return data

    def early(self) -> bytes:
        """What was typed while answers were waited for, once."""
        early, self._early = self._early, b""
        return early

    def kept(self) -> bytes:
        """What looked like an answer's beginning and wasn't, since nothing followed: the Escape key, say."""
        if self._kept.startswith(_NO_KEY):
            return b""  # the rest is on its way
        kept, self._kept = self._kept, b""
        return kept

    def drain(self) -> None:
        """Wait for what is still to come, and drop it; at once where nothing is."""
        if self._num_open:
            self._wait(_LAST_PATIENCE_S)

    def _send(self, questions: bytes) -> None:
        self._note()
        os.write(self._output, questions)

    def _note(self) -> None:
        self._asked_at = time.monotonic()
        self._num_open += 1

    def _wait(self, patience_s: float) -> None:
        while self._num_open:
            left = self._asked_at + patience_s - time.monotonic()
            if not select.select([self._keys], [], [], max(0.0, left))[0]:  # what is there is read in any case
                return
            data = os.read(self._keys, 4096)
            if not data:
                return
            self._early += self.typed(data)

    def _take(self, answer: re.Match[bytes]) -> None:
        said = answer.groupdict()
        if said["attributes"] is not None:
            self._num_open = max(0, self._num_open - 1)
            self._has_sixel |= _SIXEL in said["attributes"].split(b";")
        elif said["kitty"] is not None:
            self._has_kitty |= said["kitty"].endswith(b";OK")
        else:
            width, height = int(said["width"]), int(said["height"])
            self._cell = self._cell or ((width, height) if width and height else None)


def _cell_by_size(output: int) -> tuple[int, int] | None:
    """Pixels of a cell where the terminal has told the kernel its size in pixels."""
    try:
        rows, columns, width, height = struct.unpack("HHHH", fcntl.ioctl(output, termios.TIOCGWINSZ, b"\0" * 8))
    except OSError:
        return None
    if not rows or not columns:
        return None
    cell = width // columns, height // rows
    return cell if all(cell) else None

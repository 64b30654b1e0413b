"""Lines of a worker's log, wrapped or not; keeps to its end as long as one looks at it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rich.cells import cell_len, chop_cells
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.logtail import ERROR_WORDS, WARNING_WORDS
from tui.widgets.inked import Piece, inked_strip

_LOUD = (
    (re.compile(ERROR_WORDS, re.IGNORECASE), "error"),
    (re.compile(WARNING_WORDS, re.IGNORECASE), "warning"),
)


@lru_cache(maxsize=8_000)
def wrapped(line: str, width: int) -> tuple[str, ...]:
    """A line in rows of at most that many cells, broken between words where that can be."""
    if cell_len(line) <= width:
        return (line,)
    if not line.isascii():  # wide characters: count cells
        return tuple(chop_cells(line, width))
    return tuple(textwrap.wrap(line, width, replace_whitespace=False, break_on_hyphens=False)) or ("",)


@lru_cache(maxsize=8_000)
def ink_of(line: str) -> str:
    """How a line is drawn: errors and warnings stand out."""
    return next((ink for pattern, ink in _LOUD if pattern.search(line)), "text")


def marked(text: str, ink: str, needle: str) -> list[Piece]:
    """A row in pieces, what is searched standing out; case counts only where the needle has capitals."""
    flags = re.NOFLAG if needle.lower() != needle else re.IGNORECASE
    pieces: list[Piece] = []
    for index, part in enumerate(re.split(f"({re.escape(needle)})", text, flags=flags) if needle else [text]):
        if part:
            pieces.append((part, "accent!" if index % 2 else ink))
    return pieces


@dataclass(frozen=True, slots=True)
class _Row:
    text: str
    ink: str
    key: int
    """Of the line it belongs to."""


class LogView(ScrollView, can_focus=False):
    """Lines of text, already made safe to show."""

    DEFAULT_CSS = "LogView { height: 1fr; scrollbar-gutter: stable; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._lines: tuple[str, ...] = ()
        self._keys: Sequence[int] = ()
        self._rows: list[_Row] = []
        self._needle = ""
        self.found: int | None = None
        self._wraps = True
        self.nothing = "no log"

    @property
    def is_at_end(self) -> bool:
        """Whether the last row is in sight."""
        return self.scroll_offset.y >= self.max_scroll_y - 1

    def show(self, lines: tuple[str, ...], keys: Sequence[int] = (), *, to_end: bool | None = None) -> None:
        """Show these lines.

        Args:
            lines: All there is to scroll through.
            keys: One for each line, ascending, the same for the same line later on: what is in sight
                then stays there, whatever comes before it.
            to_end: Whether to go to the end; None for when that is where one looks.
        """
        keys = keys or range(len(lines))
        if lines == self._lines and list(keys) == list(self._keys) and not to_end:
            return
        at_end = self.is_at_end if to_end is None else to_end
        top = self._rows[self.scroll_offset.y] if self.scroll_offset.y < len(self._rows) else None
        below = 0
        while top is not None and below < self.scroll_offset.y:
            if self._rows[self.scroll_offset.y - below - 1].key != top.key:
                break
            below += 1
        self._lines, self._keys = lines, keys
        self._lay_out()
        if at_end:
            self.scroll_end(animate=False, force=True)  # after layout, so that the scrollbar learns of it
        elif top is not None:
            self._go_to(top.key, below)
        self.refresh()

    def mark(self, needle: str, found: int | None = None) -> None:
        """Have what is searched stand out, and bring the line that was found into sight."""
        self._needle, self.found = needle, found
        if found is not None:
            self._go_to(found, -self.size.height // 2)
        self.refresh()

    def wrap(self, *, wraps: bool) -> None:
        """Break long lines, or let them run out of sight."""
        if wraps != self._wraps:
            at_end = self.is_at_end
            self._wraps = wraps
            self.scroll_to(x=0, animate=False, force=True)
            self._lay_out()
            if at_end:
                self.scroll_end(animate=False, force=True)
            self.refresh()

    def first_key_in_sight(self) -> int | None:
        """The line at the top."""
        y = self.scroll_offset.y
        return self._rows[y].key if y < len(self._rows) else None

    def _go_to(self, key: int, rows_below: int) -> None:
        row = next((index for index, row in enumerate(self._rows) if row.key >= key), len(self._rows))
        self.scroll_to(y=max(0, row + rows_below), animate=False, force=True)

    def on_resize(self) -> None:
        """Wrap anew, and stay at the end."""
        at_end = self.is_at_end
        self._lay_out()
        if at_end:
            self.scroll_end(animate=False, force=True)

    def watch_show_vertical_scrollbar(self, is_shown: bool) -> None:
        """Tell a scrollbar that has just come where one looks."""
        if is_shown:
            self.vertical_scrollbar.position = self.scroll_y

    def render_line(self, y: int) -> Strip:
        """One row."""
        width = self.size.width
        index = y + self.scroll_offset.y
        if not self._lines and y == 0:
            return inked_strip(self, [(self.nothing, "muted")], width)
        if index >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        row = self._rows[index]
        behind = "raised" if row.key == self.found else ""
        left = self.scroll_offset.x
        strip = inked_strip(self, marked(row.text, row.ink, self._needle), width + left, behind)
        return strip.crop(left, left + width)

    def _lay_out(self) -> None:
        """Lay the lines out in rows; each keeps its line's ink."""
        width = self.scrollable_content_region.width
        if width < 1:
            return  # not laid out yet
        self._rows = []
        for key, line in zip(self._keys, self._lines, strict=True):
            rows = wrapped(line, width) if self._wraps else (line,)
            self._rows += [_Row(row, ink_of(line), key) for row in rows]
        widest = width if self._wraps else max((cell_len(line) for line in self._lines), default=width)
        self.virtual_size = Size(max(width, widest), len(self._rows))

    def notify_style_update(self) -> None:
        """Take the new theme's inks."""
        super().notify_style_update()
        self.refresh()

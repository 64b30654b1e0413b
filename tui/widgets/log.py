"""The end of a worker's log; follows it as long as one looks at its end."""

from __future__ import annotations

import re
import textwrap
from functools import lru_cache

from rich.cells import cell_len, chop_cells
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.widgets.inked import inked_strip

_LOUD = (
    (re.compile(r"\b(error|exception|traceback|killed|fatal)\b", re.IGNORECASE), "error"),
    (re.compile(r"\bwarn(ing)?\b", re.IGNORECASE), "warning"),
)


@lru_cache(maxsize=8_000)
def wrapped(line: str, width: int) -> tuple[str, ...]:
    """A line in rows of at most that many cells, broken between words where that can be."""
    if cell_len(line) <= width:
        return (line,)
    if not line.isascii():  # wide characters: count cells
        return tuple(chop_cells(line, width))
    return tuple(textwrap.wrap(line, width, replace_whitespace=False, break_on_hyphens=False)) or ("",)


class LogView(ScrollView, can_focus=True):
    """Lines of text, already made safe to show; long ones are wrapped."""

    DEFAULT_CSS = "LogView { height: 1fr; overflow-x: hidden; scrollbar-gutter: stable; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._lines: tuple[str, ...] = ()
        self._rows: list[tuple[str, str]] = []

    def show(self, lines: tuple[str, ...]) -> None:
        """Show these lines; stays at the end if that is where one looks."""
        if lines == self._lines:
            return
        at_end = self.scroll_offset.y >= self.max_scroll_y - 1
        self._lines = lines
        self._wrap()
        if at_end:
            self.scroll_end(animate=False, force=True)  # after layout, so that the scrollbar learns of it
        self.refresh()

    def on_resize(self) -> None:
        """Wrap anew, and stay at the end."""
        self._wrap()
        self.scroll_end(animate=False, force=True)

    def watch_show_vertical_scrollbar(self, is_shown: bool) -> None:
        """Tell a scrollbar that has just come where one looks."""
        if is_shown:
            self.vertical_scrollbar.position = self.scroll_y

    def render_line(self, y: int) -> Strip:
        """One line of the log."""
        width = self.size.width
        index = y + self.scroll_offset.y
        if not self._lines and y == 0:
            return inked_strip(self, [("no log", "muted")], width)
        if index >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        return inked_strip(self, [self._rows[index]], width)

    def _wrap(self) -> None:
        """Lay the lines out in rows as wide as the panel; each keeps its line's ink."""
        width = self.scrollable_content_region.width
        if width < 1:
            return  # not laid out yet
        self._rows = []
        for line in self._lines:
            ink = next((ink for pattern, ink in _LOUD if pattern.search(line)), "text")
            self._rows += [(row, ink) for row in wrapped(line, width)]
        self.virtual_size = Size(width, len(self._rows))

    def notify_style_update(self) -> None:
        """Take the new theme's inks."""
        super().notify_style_update()
        self.refresh()

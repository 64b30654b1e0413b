"""The end of a worker's log; follows it as long as one looks at its end."""

from __future__ import annotations

import re

from rich.cells import cell_len
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.widgets.inked import inked_strip

_LOUD = (
    (re.compile(r"\b(error|exception|traceback|killed|fatal)\b", re.IGNORECASE), "error"),
    (re.compile(r"\bwarn(ing)?\b", re.IGNORECASE), "warning"),
)


class LogView(ScrollView, can_focus=True):
    """Lines of text, already made safe to show."""

    DEFAULT_CSS = "LogView { height: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._lines: tuple[str, ...] = ()

    def show(self, lines: tuple[str, ...]) -> None:
        """Show these lines; stays at the end if that is where one looks."""
        if lines == self._lines:
            return
        at_end = self.scroll_offset.y >= self.max_scroll_y - 1
        self._lines = lines
        self.virtual_size = Size(max((cell_len(line) for line in lines), default=0) + 1, len(lines))
        if at_end:
            self.scroll_end(animate=False, force=True)  # after layout, so that the scrollbar learns of it
        self.refresh()

    def on_resize(self) -> None:
        """Stay at the end."""
        self.scroll_end(animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        """One line of the log."""
        width = self.size.width
        index = y + self.scroll_offset.y
        if not self._lines and y == 0:
            return inked_strip(self, [("no log", "muted")], width)
        if index >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        line = self._lines[index]
        ink = next((ink for pattern, ink in _LOUD if pattern.search(line)), "text")
        strip = inked_strip(self, [(line, ink)], max(width, self.virtual_size.width))
        return strip.crop(self.scroll_offset.x, self.scroll_offset.x + width)

    def notify_style_update(self) -> None:
        """Take the new theme's inks."""
        super().notify_style_update()
        self.refresh()

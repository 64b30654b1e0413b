"""Where among the epochs with previews one looks, and what the picture shows."""

from __future__ import annotations

from rich.cells import cell_len
from textual.strip import Strip
from textual.widget import Widget

from tui.widgets.inked import Piece, inked_strip, spread, width_of
from tui.words import fit


class Scrubber(Widget):
    """A line with a knob, and a line of words; words that find no room there stand beside the knob."""

    DEFAULT_CSS = "Scrubber { height: 2; }"

    def __init__(self) -> None:
        super().__init__()
        self._position = 0
        self._count = 0
        self._left = ""
        self._right = ""

    def show(self, position: int, count: int, left: str, right: str) -> None:
        """Put the knob on one of so many places, and say what is shown."""
        if (position, count, left, right) != (self._position, self._count, self._left, self._right):
            self._position, self._count, self._left, self._right = position, count, left, right
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The knob's line, then the words."""
        width = self.size.width
        if not self._count:
            return Strip.blank(width, self.rich_style)
        is_tight = cell_len(self._left) + cell_len(self._right) + 5 > width
        beside: list[Piece] = [(f"  {self._right}", "muted")] if is_tight else []
        if y == 0:
            return inked_strip(self, [*self._knob(max(1, width - 4 - width_of(beside))), *beside], width)
        left: list[Piece] = [("  ", ""), (fit(self._left, width - 2), "text")]
        words = spread(left, [] if is_tight else [(self._right, "muted"), ("  ", "")], width)
        return inked_strip(self, words, width)

    def _knob(self, room: int) -> list[Piece]:
        at = round(self._position / max(1, self._count - 1) * (room - 1)) if self._count > 1 else room - 1
        return [("◂ ", "muted"), ("━" * at, "done"), ("●", "accent!"), ("─" * (room - 1 - at), "open"), (" ▸", "muted")]

"""One line of text in inks, cut where the screen ends."""

from __future__ import annotations

from collections.abc import Sequence

from textual.strip import Strip
from textual.widget import Widget

from tui.widgets.inked import Piece, inked_strip


class TextLine(Widget):
    """A line that changes seldom; sent only then."""

    DEFAULT_CSS = "TextLine { height: 1; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._pieces: list[Piece] = []

    def show(self, pieces: Sequence[Piece]) -> None:
        """Show other text."""
        if list(pieces) != self._pieces:
            self._pieces = list(pieces)
            self.refresh()

    def notify_style_update(self) -> None:
        """Take the new theme's inks."""
        super().notify_style_update()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The line."""
        return inked_strip(self, self._pieces if y == 0 else [], self.size.width)

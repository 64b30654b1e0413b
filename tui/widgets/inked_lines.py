"""Some lines of text in the theme's inks, wrapped where they are too long; drawn again only when they change."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import Static

from engine.errors import printable
from tui.widgets.hanging import HangingLines
from tui.widgets.inked import Piece


class InkedLines(Static):
    """Lines, and a title on the rule above them."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._lines: list[list[Piece]] = []
        self._title = ""

    def show(self, lines: Sequence[Sequence[Piece]], title: str = "") -> None:
        """Show these lines."""
        told = [list(line) for line in lines]
        if title != self._title:
            self._title = title
            self.border_title = Text(printable(title))
        if told != self._lines:
            self._lines = told
            self.update(HangingLines(self, self._lines))

    def notify_style_update(self) -> None:
        """Take the new theme's inks."""
        super().notify_style_update()
        if self.is_attached:
            self.update(HangingLines(self, self._lines))

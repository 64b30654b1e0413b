"""A plot on the screen; after a change only the cells that differ are sent."""

from __future__ import annotations

import numpy as np
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.plot import Canvas, Plot, draw
from tui.widgets.inked import inked_strip
from tui.words import joined


class Chart(Widget):
    """Draws one plot into the space it has."""

    DEFAULT_CSS = "Chart { height: 1fr; }"

    def __init__(self, title: str, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._title = title
        self.border_title = title
        self._plot: Plot | None = None
        self._canvas: Canvas | None = None
        self._strips: list[Strip] = []

    def show(self, plot: Plot, note: str = "") -> None:
        """Draw another plot, or the same one with more in it; the note is added to the title."""
        self._plot = plot
        title = joined([self._title, note])
        if self.border_title != title:
            self.border_title = title
        self._redraw()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._redraw()

    def notify_style_update(self) -> None:
        """Take the new theme's inks."""
        super().notify_style_update()
        self._canvas = None
        self._redraw()

    def render_line(self, y: int) -> Strip:
        """One line of the picture."""
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.content_size.width, self.rich_style)

    def _redraw(self) -> None:
        size = self.content_size
        if self._plot is None or not size:
            return
        canvas = draw(self._plot, size.width, size.height)
        changed = _changes(self._canvas, canvas)
        self._canvas = canvas
        if changed is None:
            self._strips = [self._strip(row) for row in range(size.height)]
            self.refresh()
            return
        for region in changed:
            self._strips[region.y] = self._strip(region.y)
        if changed:
            self.refresh(*changed)

    def _strip(self, row: int) -> Strip:
        assert self._canvas is not None
        return inked_strip(self, self._canvas.runs(row), self.content_size.width)


def _changes(old: Canvas | None, new: Canvas) -> list[Region] | None:
    """Where two pictures differ, a region a row; None when all of it must be drawn."""
    if old is None or old.chars.shape != new.chars.shape or old.inks != new.inks:
        return None
    differs = (old.chars != new.chars) | (old.ink_of != new.ink_of)
    regions = []
    for row in np.flatnonzero(differs.any(axis=1)).tolist():
        columns = np.flatnonzero(differs[row])
        regions.append(Region(int(columns[0]), row, int(columns[-1] - columns[0]) + 1, 1))
    return regions

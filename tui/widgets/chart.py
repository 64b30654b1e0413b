"""A plot on the screen; after a change only the cells that differ are sent. The mouse reads values off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.cells import cell_len
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.axes import XKind
from tui.bars import Bars, draw_bars
from tui.canvas import Canvas, Sheet
from tui.plot import Plot, draw
from tui.widgets.inked import inked_strip
from tui.words import fit, joined

# Cells of the rule that a title leaves free.
_BESIDE_TITLE = 4


class Chart(Widget):
    """Draws one plot, or bars, into the space it has."""

    DEFAULT_CSS = "Chart { height: 1fr; }"

    @dataclass
    class Pointed(Message):
        """The mouse is over a place of the x axis, or has left."""

        kind: XKind
        x: float | None
        is_click: bool = False

    @dataclass
    class Wheeled(Message):
        """The mouse wheel was turned over a place of the x axis."""

        kind: XKind
        x: float
        places: int

    def __init__(self, title: str, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.border_title = title
        self._titles = [title]
        self._drawing: Plot | Bars | None = None
        self._nothing = ""
        self._canvas: Canvas | None = None
        self._strips: list[Strip] = []

    def show(self, drawing: Plot | Bars, *, title: str, notes: Sequence[str] = (), nothing: str = "") -> None:
        """Draw another plot, or the same one with more in it.

        Args:
            drawing: What to draw.
            title: What it shows.
            notes: Added to the title as far as there is room, the weightiest first.
            nothing: Said in its place where it is empty.
        """
        self._drawing, self._nothing = drawing, nothing
        self._titles = [title, drawing.words if isinstance(drawing, Bars) else "", *notes]
        self._entitle()
        self._redraw()

    def _entitle(self) -> None:
        room = self.size.width - _BESIDE_TITLE
        words = joined(self._titles[:2])
        for note in self._titles[2:]:
            longer = joined([words, note])
            if room <= 0 or cell_len(longer) <= room:
                words = longer
        if self.border_title != words:
            self.border_title = words

    @property
    def num_columns(self) -> int:
        """Columns that the curves have."""
        return self._canvas.area.columns if self._canvas and self._canvas.area else max(2, self.content_size.width)

    # --- the mouse ---

    def _x_at(self, event: events.MouseEvent) -> float | None:
        offset, area = event.get_content_offset(self), self._canvas.area if self._canvas else None
        if offset is None or area is None or not area.left <= offset.x < area.left + area.columns:
            return None
        return area.x_at(offset.x)

    @property
    def _kind(self) -> XKind:
        return self._drawing.kind if isinstance(self._drawing, Plot) else "step"

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Read values where the mouse is."""
        self.post_message(self.Pointed(self._kind, self._x_at(event)))

    def on_leave(self) -> None:
        """No longer."""
        self.post_message(self.Pointed(self._kind, None))

    def on_click(self, event: events.Click) -> None:
        """Leave the cursor there."""
        x = self._x_at(event)
        if x is not None:
            self.post_message(self.Pointed(self._kind, x, is_click=True))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Closer."""
        self._wheel(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Farther."""
        self._wheel(event, -1)

    def _wheel(self, event: events.MouseEvent, places: int) -> None:
        x = self._x_at(event)
        if x is not None:
            event.stop()
            self.post_message(self.Wheeled(self._kind, x, places))

    # --- drawing ---

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._entitle()
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
        if self._drawing is None or not size:
            return
        canvas = self._drawn(size.width, size.height)
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

    def _drawn(self, width: int, height: int) -> Canvas:
        drawing = self._drawing
        if isinstance(drawing, Bars) and drawing.bars:
            return draw_bars(drawing, width, height)
        if isinstance(drawing, Plot) and (drawing.lines or not self._nothing):
            return draw(drawing, width, height)
        sheet = Sheet(width, height)
        sheet.write(height // 2, 1, fit(self._nothing, width - 2), "muted")
        return sheet.done()

    def _strip(self, row: int) -> Strip:
        assert self._canvas is not None
        return inked_strip(self, self._canvas.runs(row), self.content_size.width)


def _changes(old: Canvas | None, new: Canvas) -> list[Region] | None:
    """Where two pictures differ, a region a row; None when all of it must be drawn."""
    if old is None or old.chars.shape != new.chars.shape:
        return None
    differs: Any = old.chars != new.chars
    if old.inks == new.inks:
        differs = differs | (old.ink_of != new.ink_of)
    else:  # the inks have other numbers now; by their names most cells are the same
        names = {name: number for number, name in enumerate(dict.fromkeys([*old.inks, *new.inks]))}
        before, after = (np.array([names[ink] for ink in canvas.inks])[canvas.ink_of] for canvas in (old, new))
        differs = differs | (before != after)
    regions = []
    for row in np.flatnonzero(differs.any(axis=1)).tolist():
        columns = np.flatnonzero(differs[row])
        regions.append(Region(int(columns[0]), row, int(columns[-1] - columns[0]) + 1, 1))
    return regions

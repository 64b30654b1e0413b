"""What panels with a large chart share: a window to zoom and pan, and a cursor that reads values, by keys and mouse."""

from __future__ import annotations

from dataclasses import replace

from textual import on
from textual.binding import Binding, BindingType

from tui.axes import XKind
from tui.look import Look, Window
from tui.panels.curve_panel import CurvePanel, CurveStyle
from tui.widgets.chart import Chart

# A key moves the picture by this share of itself.
_PAN = 0.25
_FAST = 10

CHART_KEYS: list[BindingType] = [
    Binding("plus,equals_sign", "zoom(1)", "Zoom in", show=False),
    Binding("minus", "zoom(-1)", "Zoom out", show=False),
    Binding("0", "whole", "All of the run", show=False),
    Binding("h", "pan(-1)", "Pan left", show=False),
    Binding("l", "pan(1)", "Pan right", show=False),
    Binding("c", "cursor", "Cursor that reads values", show=False),
    Binding("left", "step(-1)", "Cursor left", show=False),
    Binding("right", "step(1)", "Cursor right", show=False),
    Binding("shift+left", f"step(-{_FAST})", "Cursor 10 left", show=False),
    Binding("shift+right", f"step({_FAST})", "Cursor 10 right", show=False),
]
CHART_HINTS = (("c", "cursor", "screen.on_panel('cursor')"), ("+ -", "zoom", "screen.on_panel('zoom(1)')"))


class ChartPanel(CurvePanel):
    """A panel with a large chart, whose window and cursor hold for all its charts."""

    def __init__(self, style: CurveStyle) -> None:
        super().__init__(style)
        self.hover: float | None = None

    @property
    def main(self) -> Chart:
        """The large chart."""
        raise NotImplementedError

    @property
    def whole(self) -> Window:
        """The range of x there is."""
        raise NotImplementedError

    def snapped(self, target: float, *, forward: bool) -> float:  # noqa: ARG002 - for those who snap
        """Where the cursor goes that was sent to a place."""
        return target

    def carried(self, kind: XKind, x: float) -> float:  # noqa: ARG002
        """A place of another chart's x axis on the large one's."""
        return x

    @property
    def seen(self) -> Look:
        """The look with the mouse as its cursor, where it is over a chart."""
        return self.look if self.hover is None else replace(self.look, cursor=self.hover)

    def forget_place(self) -> None:
        """Look at all of it again, without a cursor: the curves are others."""
        self.hover = None
        self.look = replace(self.look, window=None, cursor=None)

    # --- keys ---

    def action_zoom(self, places: int) -> None:
        """Closer or farther, around the cursor."""
        self.look = self.look.zoomed(self.whole, places, self.look.cursor)
        self.show_again()

    def action_whole(self) -> None:
        """All of it."""
        self.look = replace(self.look, window=None)
        self.show_again()

    def action_pan(self, places: int) -> None:
        """To one side."""
        self.look = self.look.panned(self.whole, places * _PAN)
        self.show_again()

    def action_cursor(self) -> None:
        """A cursor at the end of what is in sight, or none."""
        end = (self.look.window or self.whole)[1]
        self.look = replace(self.look, cursor=end if self.look.cursor is None else None)
        self.show_again()

    def action_step(self, columns: int) -> None:
        """Move the cursor by columns of the picture, at least to the next step; pan where there is none."""
        look = self.look
        if look.cursor is None:
            self.action_pan(1 if columns > 0 else -1)
            return
        low, high = look.window or self.whole
        target = look.cursor + columns * (high - low) / max(1, self.main.num_columns - 1)
        self.put_cursor(self.snapped(target, forward=columns > 0))

    def put_cursor(self, x: float) -> None:
        """Read values there."""
        low, high = self.whole
        x = min(max(x, low), high)
        self.look = replace(self.look, cursor=x).showing(x, self.whole)
        self.show_again()

    # --- the mouse ---

    @on(Chart.Pointed)
    def _point(self, message: Chart.Pointed) -> None:
        if message.x is None and self.hover is None:
            return
        x = None if message.x is None else self.carried(message.kind, message.x)
        if x == self.hover and not message.is_click:
            return
        self.hover = x
        if message.is_click and x is not None:
            self.look = replace(self.look, cursor=x)
        self.show_again()

    @on(Chart.Wheeled)
    def _wheel(self, message: Chart.Wheeled) -> None:
        self.look = self.look.zoomed(self.whole, message.places, self.carried(message.kind, message.x))
        self.show_again()

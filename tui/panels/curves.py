"""The curves panel: loss, AP and learning rate; and how curves are drawn, which the overview shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from tui.curves import loss_plot, precision_plot, rate_plot
from tui.panels.panel import Panel
from tui.scene import Scene
from tui.view import RunView
from tui.widgets.chart import Chart
from tui.words import joined


@dataclass(slots=True)
class CurveStyle:
    """How curves are drawn; one for all panels, so that a key holds everywhere."""

    log_axis: bool = False
    smoothed: bool = True


CURVE_KEYS: list[BindingType] = [
    Binding("l", "log_axis", "Linear or log axis", show=False),
    Binding("s", "smooth", "Calm or raw curves", show=False),
]
CURVE_HINTS = (("l", "log axis", "screen.on_panel('log_axis')"), ("s", "calm or raw", "screen.on_panel('smooth')"))


class CurvePanel(Panel):
    """A panel with curves, and the keys that change how they are drawn."""

    def __init__(self, style: CurveStyle) -> None:
        super().__init__()
        self.style_of_curves = style

    def action_log_axis(self) -> None:
        """Logarithmic or linear axes."""
        self.style_of_curves.log_axis = not self.style_of_curves.log_axis
        self.show_again()

    def action_smooth(self) -> None:
        """Calm or raw curves."""
        self.style_of_curves.smoothed = not self.style_of_curves.smoothed
        self.show_again()

    def show_loss(self, view: RunView, chart: str) -> None:
        """Draw a run's losses."""
        style = self.style_of_curves
        plot = loss_plot(view, log=style.log_axis, smoothed=style.smoothed)
        words = joined(["log axis" if style.log_axis else "", "" if style.smoothed else "raw"])
        self.query_one(chart, Chart).show(plot, words)

    def show_precision(self, view: RunView, chart: str) -> None:
        """Draw a run's AP."""
        self.query_one(chart, Chart).show(precision_plot(view))


class CurvesPanel(CurvePanel):
    """Every curve of the chosen run."""

    PANEL = "curves"
    TITLE = "Curves"
    BINDINGS: ClassVar[list[BindingType]] = CURVE_KEYS
    HINTS = CURVE_HINTS

    def compose(self) -> ComposeResult:
        """Loss above, AP and rate below."""
        yield Chart("Loss by step", id="curves-loss")
        with Horizontal(id="curves-lower"):
            yield Chart("AP by epoch", id="curves-precision")
            yield Chart("Learning rate by step", id="curves-rate")

    def show(self, scene: Scene) -> None:
        """Draw the chosen run's curves."""
        if scene.chosen is None:
            return
        self.show_loss(scene.chosen, "#curves-loss")
        self.show_precision(scene.chosen, "#curves-precision")
        log = self.style_of_curves.log_axis
        self.query_one("#curves-rate", Chart).show(rate_plot(scene.chosen, log=log), "log axis" if log else "")

"""What panels with curves share: how curves are looked at, and the keys and the mouse that change it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from textual.binding import Binding, BindingType

from tui.curves import ChartKind
from tui.look import KINDS, MEDIUM, SMOOTHINGS, Look
from tui.panels.panel import Panel


@dataclass(slots=True)
class CurveStyle:
    """How curves are looked at; one for several panels, so that a key holds everywhere."""

    look: Look = field(default_factory=Look)


CURVE_KEYS: list[BindingType] = [
    Binding("s", "smooth", "Smoothing, four strengths", show=False),
    Binding("y", "log_axis", "Linear or log axis", show=False),
    Binding("x", "x_axis", "By step, epoch or time", show=False),
]
CURVE_HINTS = (
    ("s", "smooth", "screen.on_panel('smooth')"),
    ("y", "log", "screen.on_panel('log_axis')"),
    ("x", "step, epoch, time", "screen.on_panel('x_axis')"),
)


class CurvePanel(Panel):
    """A panel with curves, and the keys that change how all of them are drawn."""

    def __init__(self, style: CurveStyle) -> None:
        super().__init__()
        self.style_of_curves = style

    @property
    def look(self) -> Look:
        """How curves are looked at."""
        return self.style_of_curves.look

    @look.setter
    def look(self, look: Look) -> None:
        self.style_of_curves.look = look

    def action_log_axis(self) -> None:
        """Logarithmic or linear axes."""
        self.look = replace(self.look, log=not self.look.log)
        self.show_again()

    def action_smooth(self) -> None:
        """The next strength of smoothing, or none."""
        self.look = replace(self.look, smoothing=(self.look.smoothing + 1) % len(SMOOTHINGS))
        self.show_again()

    def action_x_axis(self) -> None:
        """The next thing that x axes count."""
        kind = KINDS[(KINDS.index(self.look.kind) + 1) % len(KINDS)]
        self.look = replace(self.look, kind=kind, window=None, cursor=None)
        self.show_again()


def title_of(chart: ChartKind, look: Look) -> str:
    """A chart's title with what its x axis counts."""
    kind = "epoch" if chart.is_by_epoch and look.kind == "step" else look.kind
    return f"{chart.title} by {kind}"


def notes_of(chart: ChartKind, look: Look) -> list[str]:
    """How a chart's curves are drawn; the loss of the latest step alone, which is told elsewhere, is another."""
    name = SMOOTHINGS[look.smoothing][0]
    smoothing = "smoothed" if look.smoothing == MEDIUM else f"{name} smoothing" if look.share else name
    return ["log axis" if look.log and chart.has_log else "", smoothing if chart.has_calm else ""]

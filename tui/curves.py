"""Which curves of a run are drawn, and in which ink: views in, plots out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.errors import printable
from engine.events import EpochEvent
from tui.plot import Curve, Line, Plot, smooth
from tui.view import RunView

_LONGEST_NAME = 18
PART_INKS = ("part-1", "part-2", "part-3", "part-4", "part-5")


def part_name(name: str) -> str:
    """A part of the loss without what all parts share: "loss_rpn_box_reg" -> "rpn_box_reg"; safe to show."""
    return printable(name.removeprefix("loss_") or name)[:_LONGEST_NAME]


def loss_plot(view: RunView, *, log: bool, smoothed: bool, parts: bool = True) -> Plot:
    """Training loss, its parts and the validation loss over the steps, one-based."""
    x = view.steps.column("step") + 1
    total = view.steps.column("loss")
    lines: list[Line] = []
    if smoothed:
        lines.append(Line("", x, total, "raw"))
    part_names = view.loss_parts if parts else ()
    for index, name in enumerate(part_names):
        y = view.steps.column(name)
        ink = PART_INKS[index % len(PART_INKS)]
        lines.append(Line(part_name(name), *(smooth(x, y) if smoothed else (x, y)), ink, minor=True))
    lines.append(_epoch_line(view.epochs, "validation", [epoch.val_loss for epoch in view.epochs], "val", by_step=True))
    lines.append(Line("total", *(smooth(x, total) if smoothed else (x, total)), "total"))
    return Plot(tuple(line for line in lines if len(line.x)), log=log)


def rate_plot(view: RunView, *, log: bool) -> Plot:
    """The learning rate over the steps."""
    x, y = view.steps.column("step") + 1, view.steps.column("lr")
    return Plot((Line("", x, y, "rate"),) if len(x) else (), log=log)


def precision_plot(view: RunView) -> Plot:
    """AP and AP50 over the epochs, the best AP marked."""
    epochs = view.epochs
    lines = (
        _epoch_line(epochs, "AP50", [epoch.ap50 for epoch in epochs], "ap50"),
        _epoch_line(epochs, "AP", [epoch.ap for epoch in epochs], "ap"),
    )
    best = [(epoch.epoch + 1.0, epoch.ap) for epoch in epochs if epoch.best and epoch.ap is not None]
    shown = tuple(line for line in lines if np.isfinite(line.y).any())
    return Plot(shown, unit_range=True, best=best[-1] if best and shown else None)


def _epoch_line(
    epochs: Sequence[EpochEvent], name: str, values: Sequence[float | None], ink: str, *, by_step: bool = False
) -> Line:
    x = [(epoch.step if by_step else epoch.epoch) + 1 for epoch in epochs]
    return Line(name, np.array(x, dtype=np.float32), _curve(values), ink, points=True)


def _curve(values: Sequence[float | None]) -> Curve:
    return np.array(values, dtype=np.float64).astype(np.float32)

"""What the curves of a run are: its loss and the parts, AP, learning rate, speed, memory, as plots. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.errors import printable
from engine.events import EpochEvent
from tui.bars import Bar, Bars
from tui.happenings import plot_marks
from tui.look import Look, Scale, by_epoch
from tui.plot import Line, Plot
from tui.pyramid import Floats
from tui.smoothing import smooth_sums
from tui.view import RunView

_LONGEST_NAME = 18
# A curve comes as at most so many blocks, a calm one as at most so many points.
MOST_BLOCKS = 1024
_MOST_POINTS = 320
# More curves than this can't be told apart.
_MOST_CLASS_CURVES = 8
PART_INKS = ("part-1", "part-2", "part-3", "part-4", "part-5")
CLASS_INKS = ("run-1", "run-2", "run-3", "run-4", "run-5", "run-6", "run-7", "run-8")

Drawing = Plot | Bars


def part_name(name: str) -> str:
    """A part of the loss without what all parts share: "loss_rpn_box_reg" -> "rpn_box_reg"; safe to show."""
    return printable(name.removeprefix("loss_") or name)[:_LONGEST_NAME]


# --- pieces of plots ---


def raw_line(view: RunView, look: Look, column: str, ink: str, name: str = "") -> Line:
    """A column of the steps as it is: in each block from its lowest to its highest value."""
    scale = Scale(view, look.kind)
    blocks = view.steps.blocks(column, *scale.rows_in(look.window), MOST_BLOCKS)
    line = Line(name, scale.at_rows(blocks.middle), blocks.mean, ink, low=blocks.low, high=blocks.high)
    if not name or not view.steps.length:
        return line
    row = view.steps.length - 1 if look.cursor is None else scale.row_at(look.cursor)
    return replace(line, value=float(view.steps.column(column)[row])) if look.cursor is not None else line


def calm_line(view: RunView, look: Look, column: str, ink: str, name: str = "") -> Line:
    """A column of the steps, evened out over a share of what is in sight."""
    if not look.share:
        return raw_line(view, look, column, ink, name)
    scale = Scale(view, look.kind)
    start, end = scale.rows_in(look.window)
    reach = round((end - start) * look.share * 3)
    wide_start, wide_end = max(0, start - reach), min(view.steps.length, end + reach)
    blocks = view.steps.blocks(column, wide_start, wide_end, MOST_BLOCKS)
    share = look.share * (end - start) / max(1, wide_end - wide_start)
    x, y = smooth_sums(scale.at_rows(blocks.middle), blocks.sums, blocks.counts, _MOST_POINTS, share)
    return _read(Line(name, x, y, ink), look)


def epoch_line(
    view: RunView, look: Look, name: str, value_of: Callable[[EpochEvent], float | None], ink: str, dash: int = 0
) -> Line:
    """A figure of the epochs, a point each."""
    scale = Scale(view, look.kind)
    x = _floats([scale.at_epoch(epoch) for epoch in view.epochs])
    y = _floats([value_of(epoch) for epoch in view.epochs])
    return _read(Line(name, x, y, ink, points=True, dash=dash), look)


def _read(line: Line, look: Look) -> Line:
    """With its value at the cursor: between points of a calm curve, at the nearest point of an epoch's."""
    if look.cursor is None or not len(line.x):
        return line
    if line.points:
        nearest = int(np.abs(line.x - look.cursor).argmin())
        return replace(line, value=float(line.y[nearest]), value_x=float(line.x[nearest]))
    return replace(line, value=float(np.interp(look.cursor, line.x, line.y)))


def _plot(view: RunView, look: Look, lines: Sequence[Line], *, log: bool = False, marks: bool = False) -> Plot:
    kept = tuple(line for line in lines if len(line.x))
    return Plot(
        kept, log=log, kind=look.kind, window=look.window, cursor=look.cursor,
        marks=plot_marks(view, look) if marks and kept else (),
    )


# --- charts ---


def shown_choices(view: RunView) -> tuple[str, ...]:
    """What `Look.shown` may be for a run."""
    return ("", "main", *view.loss_parts)


def loss_plot(view: RunView, look: Look, *, marks: bool = True) -> Plot:
    """Training loss, its parts and the validation loss, with what happened below."""
    lines: list[Line] = []
    shown = look.shown if look.shown in shown_choices(view) else ""
    parts = view.loss_parts if shown == "" else () if shown == "main" else (shown,)
    if look.share:
        lines.append(raw_line(view, look, shown if shown not in {"", "main"} else "loss", "raw"))
    for name in parts:
        ink = PART_INKS[view.loss_parts.index(name) % len(PART_INKS)]
        lines.append(replace(calm_line(view, look, name, ink, part_name(name)), minor=len(parts) > 1))
    if shown in {"", "main"}:
        lines.append(epoch_line(view, look, "validation", lambda epoch: epoch.val_loss, "val"))
        lines.append(calm_line(view, look, "loss", "total", "total"))
    else:
        lines.append(epoch_line(view, look, "validation", lambda epoch: epoch.val_losses.get(shown), "val"))
    kept = [line for line in lines if np.isfinite(line.y).any()]
    return _plot(view, look, kept, log=look.log, marks=marks)


def rate_plot(view: RunView, look: Look) -> Plot:
    """The learning rate over the steps."""
    name = "" if look.cursor is None else "rate"
    return _plot(view, look, [raw_line(view, look, "lr", "rate", name)], log=look.log)


def precision_plot(view: RunView, look: Look) -> Plot:
    """AP, AP50 and AP75 over the epochs, the best AP marked."""
    look = by_epoch(view, look)
    lines = (
        epoch_line(view, look, "AP50", lambda epoch: epoch.ap50, "ap50"),
        epoch_line(view, look, "AP75", lambda epoch: epoch.ap75, "ap75"),
        epoch_line(view, look, "AP", lambda epoch: epoch.ap, "ap"),
    )
    shown = [line for line in lines if np.isfinite(line.y).any()]
    scale = Scale(view, look.kind)
    best = [(scale.at_epoch(epoch), epoch.ap) for epoch in view.epochs if epoch.best and epoch.ap is not None]
    return replace(_plot(view, look, shown), unit_range=True, best=best[-1] if best and shown else None)


def class_drawing(view: RunView, look: Look) -> Drawing:
    """AP of each class: bars of one epoch with the course so far, or curves."""
    return class_plot(view, look) if look.class_curves else class_bars(view, look)


def class_bars(view: RunView, look: Look) -> Bars:
    """AP of each class at the latest epoch, or at the cursor's, with its course over all epochs."""
    if not view.epochs:
        return Bars()
    look = by_epoch(view, look)
    scale = Scale(view, look.kind)
    at = len(view.epochs) - 1
    if look.cursor is not None:
        cursor = look.cursor
        at = min(range(len(view.epochs)), key=lambda index: abs(scale.at_epoch(view.epochs[index]) - cursor))
    epoch = view.epochs[at]
    names = sorted(epoch.ap_per_class, key=lambda name: (-(epoch.ap_per_class[name] or 0.0), name))
    return Bars(
        tuple(Bar(printable(name), epoch.ap_per_class[name], _course(view, name)) for name in names),
        f"epoch {epoch.epoch + 1}",
    )


def _course(view: RunView, name: str) -> Floats:
    values = [epoch.ap_per_class.get(name) for epoch in view.epochs]
    return _floats(values)


def _floats(values: Sequence[float | None]) -> Floats:
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite and isn't drawn
        return np.array(values, dtype=np.float64).astype(np.float32)


def class_plot(view: RunView, look: Look) -> Plot:
    """AP of each class over the epochs; where there are many, of the best and the worst."""
    look = by_epoch(view, look)
    latest = view.epochs[-1].ap_per_class if view.epochs else {}
    names = sorted(latest, key=lambda name: (-(latest[name] or 0.0), name))
    if len(names) > _MOST_CLASS_CURVES:
        names = names[: _MOST_CLASS_CURVES // 2] + names[-_MOST_CLASS_CURVES // 2 :]
    lines = [
        epoch_line(
            view, look, printable(name)[:_LONGEST_NAME], lambda epoch, name=name: epoch.ap_per_class.get(name),  # type: ignore[misc]
            CLASS_INKS[index], index,
        )
        for index, name in enumerate(names)
    ]
    return replace(_plot(view, look, [line for line in lines if np.isfinite(line.y).any()]), unit_range=True)


def speed_plot(view: RunView, look: Look) -> Plot:
    """Images trained on a second; steps a second where nobody knows how many images a step takes."""
    images = view.started.num_train_images if view.started else 0
    a_step = images / Scale(view, look.kind).steps_an_epoch if Scale(view, look.kind).steps_an_epoch else 0.0
    name = "images/s" if a_step else "steps/s"
    calm = calm_line(view, look, "step_s", "val", name)
    lines = [_inverse(calm, a_step or 1.0)]
    if look.share:
        lines.insert(0, _inverse(raw_line(view, look, "step_s", "raw"), a_step or 1.0))
    return _plot(view, look, [line for line in lines if np.isfinite(line.y).any()])


def _inverse(line: Line, factor: float) -> Line:
    """A rate out of seconds."""

    def turned(values: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0, np.float32(factor) / values, np.float32(np.nan))

    low = None if line.high is None else turned(line.high)
    high = None if line.low is None else turned(line.low)
    value = None if line.value is None else factor / line.value if line.value > 0 else float("nan")
    return replace(line, y=turned(line.y), low=low, high=high, value=value)


def waiting_plot(view: RunView, look: Look) -> Plot:
    """Share of a step's time spent waiting for data."""
    if not look.share:
        look = replace(look, smoothing=1)  # a share of single steps jumps between 0 and 1
    data, step = calm_line(view, look, "data_s", "part-4", "waiting"), calm_line(view, look, "step_s", "part-4")
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.where(step.y > 0, np.clip(data.y / step.y, 0, 1), np.float32(np.nan))
    line = _read(replace(data, y=y, value=None), look)
    return replace(_plot(view, look, [line] if np.isfinite(y).any() else []), unit_range=True)


def memory_plot(view: RunView, look: Look) -> Plot:
    """The most memory that the worker held so far, in GB, epoch after epoch."""
    look = by_epoch(view, look)
    line = epoch_line(view, look, "GB", lambda epoch: epoch.memory_bytes / 1e9 or None, "part-3")
    return _plot(view, look, [line] if np.isfinite(line.y).any() else [])


@dataclass(frozen=True, slots=True)
class ChartKind:
    """One of the charts of a run.

    Attributes:
        title: What it shows.
        draw: Makes its drawing.
        is_by_epoch: Whether it has a point an epoch; its x axis then never counts steps.
        has_log: Whether its y axis may be logarithmic.
        has_calm: Whether smoothing changes it.
        nothing: What is said where there is nothing to draw yet.
    """

    title: str
    draw: Callable[[RunView, Look], Drawing]
    is_by_epoch: bool = False
    has_log: bool = False
    has_calm: bool = False
    nothing: str = "no step yet"


CHARTS = (
    ChartKind("Loss", loss_plot, has_log=True, has_calm=True),
    ChartKind("AP", precision_plot, is_by_epoch=True, nothing="no epoch measured yet"),
    ChartKind("AP of each class", class_drawing, is_by_epoch=True, nothing="no epoch measured yet"),
    ChartKind("Learning rate", rate_plot, has_log=True),
    ChartKind("Images a second", speed_plot, has_calm=True),
    ChartKind("Share of the time waiting for data", waiting_plot, has_calm=True),
    ChartKind("Peak memory", memory_plot, is_by_epoch=True, nothing="not written down yet, or by an older version"),
)

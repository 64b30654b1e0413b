"""Curves as SVG for the page: lines only, in a unit square that the page stretches; words are for the template.

Strokes keep their width however the square is stretched (`vector-effect`), and a dot is a line of no length with
round ends, so that charts are crisp at any size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

# Beyond this many points a line is drawn through the least and greatest of each column.
_COLUMNS = 400
_NICE = (1, 2, 2.5, 5, 10)
# Okabe and Ito's colours, apart for every eye; the page knows them as --c0 to --c6. Beyond them lines are dashed.
NUM_COLOURS = 7


@dataclass(frozen=True, slots=True)
class Line:
    """One series.

    Attributes:
        name: Whose; shown in the legend and when pointed at.
        path: SVG path in a 1000 x 1000 square.
        css: Classes: colour, and what kind of line.
        values: What is told at each of the chart's stops when pointed at; "" for nothing.
    """

    name: str
    path: str
    css: str
    values: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where it is, in percent, and what it says."""

    at: float
    words: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart as the template draws it."""

    title: str
    lines: Sequence[Line]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    stops: Sequence[float] = ()
    """Percent of the width where values are told, one for each epoch."""
    marks: Sequence[Tick] = field(default=())
    """Upright lines, such as the best epoch."""


@dataclass(frozen=True, slots=True)
class Data:
    """A series to draw: None where nothing was measured.

    Attributes:
        name: Whose.
        xs: Where.
        ys: What.
        css: Colour and kind.
        told: Whether its values are told when pointed at.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    css: str
    told: bool = True


def chart(
    title: str, series: Sequence[Data], *, x_end: float, y_end: float | None = None, mark: float | None = None,
    num_ticks: int = 4,
) -> Chart | None:
    """Lay series out; None when there is nothing to draw.

    Args:
        title: What the chart shows.
        series: The lines, first ones at the back.
        x_end: Epochs that the axis shows, from 0.
        y_end: Where the upright axis ends; None for what the series need, extremes left out.
        mark: The best epoch.
        num_ticks: About how many marks the upright axis has.
    """
    known = [value for one in series for value in one.ys if value is not None and math.isfinite(value)]
    if not known or x_end <= 0:
        return None
    ticks = nice_ticks(y_end if y_end is not None else _reach(series, known), num_ticks)
    top = y_end if y_end is not None else ticks[-1]
    stops = sorted({x for one in series if one.told for x in one.xs})
    return Chart(
        title, [_line(one, x_end, top, stops) for one in series],
        [Tick(100 * x / x_end, f"{x:g}") for x in nice_ticks(x_end, 6, whole=True) if x <= x_end],
        [Tick(100 * y / top, f"{y:g}") for y in ticks if y <= top * 1.0001],
        [round(100 * x / x_end, 2) for x in stops],
        [Tick(100 * mark / x_end, f"best, epoch {mark:g}")] if mark else [],
    )


def nice_ticks(end: float, count: int, *, whole: bool = False) -> list[float]:
    """Round numbers from 0 to at least `end`, about `count` steps."""
    raw = max(end, 1e-12) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(nice * power for nice in _NICE if nice * power >= raw * 0.999)
    if whole:
        step = max(1.0, math.ceil(step))
    return [index * step for index in range(math.ceil(end / step - 1e-9) + 1)]


def _reach(series: Sequence[Data], known: Sequence[float]) -> float:
    """How high the axis goes: all of the epochs' values, and what 98 of 100 steps stay below."""
    told = [value for one in series if one.told for value in one.ys if value is not None and math.isfinite(value)]
    usual = sorted(known)[min(len(known) - 1, int(0.98 * len(known)))]
    return max([usual, *told]) or 1.0


def _line(data: Data, x_end: float, top: float, stops: Sequence[float]) -> Line:
    known = [
        (1000 * x / x_end, None if y is None or not math.isfinite(y) else 1000 * (1 - min(y, 1.05 * top) / top))
        for x, y in zip(data.xs, data.ys, strict=True)
    ]
    at = dict(zip(data.xs, data.ys, strict=True)) if data.told else {}
    told = ["" if (value := at.get(stop)) is None else f"{value:.3g}" for stop in stops] if data.told else []
    return Line(data.name, _path(_thinned(known)), data.css, told)


def _thinned(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """At most two points a column, its highest and lowest, so that no spike is lost; few points stay as they are."""
    if len(points) <= 2 * _COLUMNS:
        return list(points)
    kept: list[tuple[float, float | None]] = []
    for column in range(_COLUMNS):
        start, end = (round(index * len(points) / _COLUMNS) for index in (column, column + 1))
        known = [(x, y) for x, y in points[start:end] if y is not None]
        if known:
            extremes = {min(known, key=lambda point: point[1]), max(known, key=lambda point: point[1])}
            kept.extend(sorted(extremes))
    return kept


def _path(points: Sequence[tuple[float, float | None]]) -> str:
    """A path with gaps where nothing is known; a point alone becomes a dot."""
    parts: list[str] = []
    pen_down = False
    for index, (x, y) in enumerate(points):
        if y is None:
            pen_down = False
            continue
        alone = not pen_down and (index + 1 == len(points) or points[index + 1][1] is None)
        parts.append(f"{'L' if pen_down else 'M'}{x:.1f} {y:.1f}{'h0' if alone else ''}")
        pen_down = True
    return "".join(parts)


def dots(path: str) -> str:
    """The points of a path as dots of their own."""
    return "".join(f"M{point}h0" for point in re.split("[ML]", path.replace("h0", ""))[1:])

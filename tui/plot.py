"""Draws curves into a grid of characters: Braille lines, axes, and each curve's name at its end.

Pure: arrays in, a `Canvas` out; knows neither Textual nor colours, only the names of inks. The cost
grows with the cells, not with the points: every curve is first reduced to its lowest and highest
value in each column of dots. Values that aren't finite leave a gap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tui.words import figure, short_count

Curve = NDArray[np.float32]
_Doubles = NDArray[np.float64]

# Bits of the Braille dots, by row and column in the cell (Unicode chapter 21.1).
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint32)
_BRAILLE = 0x2800
_GUTTER = 7
# Share of the width that the names beside the curves may take; else they go above the plot.
_MOST_FOR_NAMES = 0.33
# One row in so many may hold names above the plot.
_ROWS_PER_LEGEND_ROW = 4
_LEGEND_GAP = 2

GRID = "grid"
TICK = "tick"
BLANK = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One curve.

    Attributes:
        name: Written at the end of the curve; "" for none.
        x: Ascending.
        y: Same length; NaN leaves a gap.
        ink: Name of the colour.
        points: Whether each point is marked, where there is room.
        minor: Whether its name alone will do, without its last value, where there is little room.
    """

    name: str
    x: Curve
    y: Curve
    ink: str
    points: bool = False
    minor: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves that share their axes.

    Attributes:
        lines: Later ones lie on top.
        log: Whether the y axis is logarithmic.
        unit_range: Values lie in [0, 1] and the axis begins at 0.
        best: A point to mark with a star.
    """

    lines: tuple[Line, ...] = ()
    log: bool = False
    unit_range: bool = False
    best: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Canvas:
    """Characters and, for each, the index of its ink in `inks`; (height, width) each."""

    chars: NDArray[np.str_]
    ink_of: NDArray[np.int16]
    inks: tuple[str, ...]

    def runs(self, row: int) -> list[tuple[str, str]]:
        """A row as stretches of one ink: (text, ink)."""
        chars, inks = self.chars[row], self.ink_of[row]
        cuts = [0, *(np.flatnonzero(np.diff(inks)) + 1).tolist(), len(chars)]
        return [
            ("".join(chars[start:end]), self.inks[inks[start]])
            for start, end in pairwise(cuts)
            if end > start
        ]


def smooth(x: Curve, y: Curve, most_points: int = 240) -> tuple[Curve, Curve]:
    """A calm version of a noisy curve: means of stretches, then a bell-shaped running mean.

    Args:
        x: Ascending.
        y: Same length; NaN is left out of the means.
        most_points: How many points come back at most.
    """
    if len(x) < 3:
        return x, y
    edges = np.unique(np.linspace(0, len(x), min(most_points, len(x)) + 1).astype(int))
    known = np.isfinite(y)
    weights = np.add.reduceat(known.astype(np.float64), edges[:-1])
    sums = np.add.reduceat(np.where(known, y, 0).astype(np.float64), edges[:-1])
    middles = np.add.reduceat(x.astype(np.float64), edges[:-1]) / np.diff(edges)
    sigma = max(0.8, len(weights) / 60)
    reach = np.arange(-math.ceil(3 * sigma), math.ceil(3 * sigma) + 1)
    bell = np.exp(-0.5 * (reach / sigma) ** 2)
    mass = _convolve(weights, bell)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(weights > 0, _convolve(sums, bell) / mass, np.nan)
    return middles.astype(np.float32), means.astype(np.float32)


def _convolve(values: _Doubles, bell: _Doubles) -> _Doubles:
    half = len(bell) // 2
    return np.convolve(values, bell)[half : half + len(values)]


# --- axes ---


@dataclass(frozen=True, slots=True)
class _Axis:
    """A range of values and the ticks on it."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def share(self, values: NDArray[np.floating]) -> _Doubles:
        """Where values lie on the axis: 0 at its low end, 1 at its high end; NaN stays NaN."""
        wide = values.astype(np.float64)
        if self.log:
            with np.errstate(invalid="ignore", divide="ignore"):
                return (np.log10(wide) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (wide - self.low) / (self.high - self.low)


def nice_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that cuts a span into at most that many parts."""
    raw = span / max(1, most)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def _linear_axis(low: float, high: float, most_ticks: int, *, whole: bool = False) -> _Axis:
    if not high > low:
        low, high = low - 0.5, low + 0.5
    step = nice_step(high - low, most_ticks)
    if whole:
        step = max(1.0, step)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return _Axis(low, high, tuple(index * step for index in range(first, last + 1)))


def _log_axis(low: float, high: float, most_ticks: int) -> _Axis:
    low, high = low / 1.05, high * 1.05
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [factor * 10.0**decade for decade in decades for factor in factors]
        inside = tuple(tick for tick in ticks if low <= tick <= high)
        if len(inside) <= most_ticks:
            break
    return _Axis(low, high, inside[:: max(1, math.ceil(len(inside) / max(1, most_ticks)))], log=True)


def _y_axis(plot: Plot, rows: int) -> _Axis:
    most_ticks = max(3, rows // 3)
    known = [line.y[np.isfinite(line.y)] for line in plot.lines]
    values = np.concatenate([*known, np.empty(0, np.float32)])
    if plot.unit_range:
        top = float(values.max()) * 1.08 if len(values) else 0.1
        step = nice_step(max(top, 0.01), 4)
        return _linear_axis(0.0, min(1.0, step * math.ceil(top / step) or step), most_ticks)
    if plot.log:
        values = values[values > 0]
    if not len(values):
        return _linear_axis(0.0, 1.0, most_ticks)
    # The first steps of a run may be far above the rest; a few of them may leave the picture.
    low, high = (float(value) for value in np.quantile(values, (0.001 if plot.log else 0, 0.995)))
    high *= 1.04
    if plot.log:
        return _log_axis(low, max(high, low * 1.5), most_ticks)
    return _linear_axis(0.0 if 0 < low < 0.5 * high else low, max(high, low), most_ticks)


def _x_axis(plot: Plot, columns: int) -> _Axis:
    ends = [(float(line.x[0]), float(line.x[-1])) for line in plot.lines if len(line.x)]
    low = min((end[0] for end in ends), default=0.0)
    high = max((end[1] for end in ends), default=1.0)
    if high <= low:
        return _Axis(low - 1, low + 1, (low,))
    # Steps and epochs are whole; there is no epoch 1.5.
    return _linear_axis(low, high, max(3, columns // 9), whole=True)


# --- curves into dots ---


def _spans(line: Line, x_axis: _Axis, y_axis: _Axis, columns: int) -> tuple[_Doubles, _Doubles]:
    """The lowest and highest share of the curve in each column of dots; NaN where it isn't."""
    low, high = np.full(columns, np.nan), np.full(columns, np.nan)
    if not len(line.x):
        return low, high
    column = np.clip(np.round(x_axis.share(line.x) * (columns - 1)), 0, columns - 1).astype(int)
    share = y_axis.share(line.y)
    share = np.where(np.isfinite(share), np.clip(share, 0.0, 1.0), np.nan)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(column)) + 1))
    hit = column[starts]
    low[hit], high[hit] = np.fmin.reduceat(share, starts), np.fmax.reduceat(share, starts)
    _bridge(low, high, hit)
    return low, high


def _bridge(low: _Doubles, high: _Doubles, hit: NDArray[np.int_]) -> None:
    """Fill the columns between two points of a sparse curve, then join neighbours; in place."""
    middle = (low[hit] + high[hit]) / 2
    empty = np.ones(len(low), dtype=bool)
    empty[hit] = False
    empty[: hit[0]] = empty[hit[-1] :] = False
    between = np.interp(np.flatnonzero(empty), hit, middle)  # NaN next to a gap stays NaN
    low[empty] = high[empty] = between
    with np.errstate(invalid="ignore"):
        rising = low[1:] > high[:-1]
        falling = high[1:] < low[:-1]
    upward = (high[:-1] + low[1:]) / 2
    downward = (low[:-1] + high[1:]) / 2
    high[:-1] = np.where(rising, upward, high[:-1])
    low[:-1] = np.where(falling, downward, low[:-1])
    low[1:] = np.where(rising, upward, low[1:])
    high[1:] = np.where(falling, downward, high[1:])


def _cells(low: _Doubles, high: _Doubles, rows: int) -> NDArray[np.uint32]:
    """Braille bits of a curve: (rows, columns / 2)."""
    num_dots = rows * 4
    top = np.round((1 - high) * (num_dots - 1))
    bottom = np.round((1 - low) * (num_dots - 1))
    dot = np.arange(num_dots)[:, None]
    with np.errstate(invalid="ignore"):
        mask = (dot >= top) & (dot <= bottom)
    grouped = mask.reshape(rows, 4, -1, 2)
    bits: NDArray[np.uint32] = np.einsum("rdcs,ds->rc", grouped, _DOTS)
    return bits


# --- the whole picture ---


class _Sheet:
    """A canvas in the making; rows count from `top`, below what was written above the plot."""

    def __init__(self, width: int, height: int) -> None:
        self.chars: NDArray[np.str_] = np.full((height, width), " ", dtype="<U1")
        self.ink_of = np.zeros((height, width), dtype=np.int16)
        self.inks: list[str] = [BLANK]
        self.top = 0

    def ink(self, name: str) -> int:
        if name not in self.inks:
            self.inks.append(name)
        return self.inks.index(name)

    def write(self, row: int, column: int, text: str, ink: str) -> None:
        height, width = self.chars.shape
        row += self.top
        if not 0 <= row < height:
            return
        kept = text[max(0, -column) : max(0, width - column)]
        start = max(0, column)
        self.chars[row, start : start + len(kept)] = list(kept)
        self.ink_of[row, start : start + len(kept)] = self.ink(ink)

    def done(self) -> Canvas:
        return Canvas(self.chars, self.ink_of, tuple(self.inks))


def draw(plot: Plot, width: int, height: int) -> Canvas:
    """Draw a plot into a grid of characters; names stand at the ends of the curves, or above the plot.

    Args:
        plot: What to draw; without any values only the axes come out.
        width: Columns, in characters; below some 12 nothing is drawn.
        height: Rows, in characters; below 3 nothing is drawn.
    """
    sheet = _Sheet(max(0, width), max(0, height))
    names = _named_ends(plot)
    margin = max((len(text) + 2 for _, text, _ in names), default=1)
    has_margin = margin <= width * _MOST_FOR_NAMES
    margin = margin if has_margin else 1
    legend = [] if has_margin else _legend(plot, width - 2, height // _ROWS_PER_LEGEND_ROW)
    rows, columns = height - 1 - len(legend), width - _GUTTER - margin
    if rows < 2 or columns < 4:
        return sheet.done()
    _draw_legend(sheet, legend)
    y_axis, x_axis = _y_axis(plot, rows), _x_axis(plot, columns)
    _draw_grid(sheet, y_axis, rows, columns)
    _draw_x_axis(sheet, x_axis, rows, columns)
    frame = _Frame(x_axis, y_axis, rows, columns)
    for line in plot.lines:
        _draw_line(sheet, line, frame)
    for line in plot.lines:
        _draw_points(sheet, line, frame)
    if plot.best is not None:
        _mark(sheet, frame, plot.best, "★", "best")
    if has_margin:
        _draw_names(sheet, names, frame)
    return sheet.done()


@dataclass(frozen=True, slots=True)
class _Frame:
    """The plot's axes and its size in characters."""

    x_axis: _Axis
    y_axis: _Axis
    rows: int
    columns: int


def _row_of(share: float, rows: int) -> int:
    return round((1 - min(1.0, max(0.0, share))) * (rows * 4 - 1)) // 4


def _draw_grid(sheet: _Sheet, axis: _Axis, rows: int, columns: int) -> None:
    for tick in axis.ticks:
        row = _row_of(float(axis.share(np.array([tick]))[0]), rows)
        sheet.write(row, _GUTTER, "┈" * columns, GRID)
        sheet.write(row, 0, _tick_text(tick).rjust(_GUTTER - 1), TICK)


def _tick_text(tick: float) -> str:
    if tick and not 0.001 <= abs(tick) < 10_000:
        return f"{tick:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{tick:g}"


def _draw_x_axis(sheet: _Sheet, axis: _Axis, rows: int, columns: int) -> None:
    for tick in axis.ticks:
        text = short_count(tick)
        at = round(float(axis.share(np.array([tick]))[0]) * (columns - 1))
        start = max(0, min(columns - len(text), at - len(text) // 2))
        sheet.write(rows, _GUTTER + start, text, TICK)


def _draw_line(sheet: _Sheet, line: Line, frame: _Frame) -> None:
    bits = _cells(*_spans(line, frame.x_axis, frame.y_axis, frame.columns * 2), frame.rows)
    drawn = bits > 0
    area = slice(sheet.top, sheet.top + frame.rows), slice(_GUTTER, _GUTTER + frame.columns)
    # The cell belongs to the curve on top: mixed dots of two curves would belong to neither.
    sheet.chars[area][drawn] = (bits[drawn] + _BRAILLE).view("<U1")
    sheet.ink_of[area][drawn] = sheet.ink(line.ink)


def _draw_points(sheet: _Sheet, line: Line, frame: _Frame) -> None:
    if line.points and len(line.x) * 3 <= frame.columns:
        for x, y in zip(line.x.tolist(), line.y.tolist(), strict=True):
            _mark(sheet, frame, (x, y), "●", line.ink)


def _mark(sheet: _Sheet, frame: _Frame, point: tuple[float, float], sign: str, ink: str) -> None:
    """Put a sign on a point, if it lies in the picture."""
    x = float(frame.x_axis.share(np.array([point[0]]))[0])
    y = float(frame.y_axis.share(np.array([point[1]]))[0])
    if math.isfinite(y) and 0 <= x <= 1 and 0 <= y <= 1:
        sheet.write(_row_of(y, frame.rows), _GUTTER + round(x * (frame.columns - 1)), sign, ink)


def _named_ends(plot: Plot) -> list[tuple[float, str, str]]:
    """For each named curve its last value, the text beside it, and its ink."""
    ends = []
    for line in plot.lines:
        known = np.flatnonzero(np.isfinite(line.y))
        if line.name and len(known):
            value = float(line.y[known[-1]])
            ends.append((value, f"{figure(value)} {line.name}", line.ink))
    return ends


def _draw_names(sheet: _Sheet, names: Sequence[tuple[float, str, str]], frame: _Frame) -> None:
    """Write the names beside the ends of their curves, each on a row of its own."""
    placed = []
    for value, text, ink in names:
        share = float(frame.y_axis.share(np.array([value]))[0])
        placed.append((_row_of(share if math.isfinite(share) else 0.0, frame.rows), -share, text, ink))
    placed.sort(key=lambda place: (place[0], place[1]))
    taken = _spread([place[0] for place in placed], frame.rows)
    for row, (_, _, text, ink) in zip(taken, placed, strict=True):
        sheet.write(row, _GUTTER + frame.columns + 1, text, ink)


def _legend(plot: Plot, width: int, most_rows: int) -> list[list[tuple[str, str]]]:
    """Rows of names and their inks, the curve on top first; those that find no room are left out."""
    top_first = plot.lines[::-1]
    by_rank = sorted(top_first, key=lambda line: line.minor)
    rows: list[list[tuple[str, str]]] = []
    used, is_minor = 0, False
    for line in by_rank:
        known = np.flatnonzero(np.isfinite(line.y))
        if not line.name or not len(known):
            continue
        text = line.name if line.minor else f"{figure(float(line.y[known[-1]]))} {line.name}"
        if not rows or used + len(text) > width or line.minor != is_minor:
            rows.append([])
            used = 0
        is_minor = line.minor
        rows[-1].append((text, line.ink))
        used += len(text) + _LEGEND_GAP
    return rows[:most_rows]


def _draw_legend(sheet: _Sheet, rows: Sequence[Sequence[tuple[str, str]]]) -> None:
    for row, names in enumerate(rows):
        column = 1
        for text, ink in names:
            sheet.write(row, column, text, ink)
            column += len(text) + _LEGEND_GAP
    sheet.top = len(rows)


def _spread(wanted: Sequence[int], rows: int) -> list[int]:
    """Rows as near to the wanted ones as can be, ascending, each used once."""
    taken: list[int] = []
    for row in wanted:
        taken.append(max(row, taken[-1] + 1) if taken else row)
    limit = rows
    for index in range(len(taken) - 1, -1, -1):
        limit = min(taken[index], limit - 1)
        taken[index] = limit
    return taken

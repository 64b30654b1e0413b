"""Draws curves into a grid of characters: Braille lines, axes, and each curve's name at its end.

Pure: arrays in, a `Canvas` out; knows neither Textual nor colours, only the names of inks. The cost
grows with the cells and the points it is given; long curves come as blocks (`tui/samples.py`).
Values that aren't finite leave a gap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tui.axes import Axis, XKind, linear_axis, log_axis, nice_step, x_axis, x_text, y_text
from tui.canvas import Area, Canvas, Sheet, row_of
from tui.dots import BRAILLE, braille
from tui.smoothing import Curve
from tui.words import figure

_GUTTER = 7
# Share of the width that the names beside the curves may take; else they go above the plot.
_MOST_FOR_NAMES = 0.33
# One row in so many may hold names above the plot.
_ROWS_PER_LEGEND_ROW = 4
# Columns from the right edge within which a curve's end is beside its name.
_NEAR_NAMES = 3
_LEGEND_GAP = 2
_LETTERS_A_CURVE = 2
_MORE_LETTERS = "abcdefghijklmnopqrstuvwxyz"

GRID = "grid"
TICK = "tick"
CURSOR = "cursor"


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
        low: Lowest value around each point, for points that stand for several values; None for `y`.
        high: Highest value around each point.
        dash: Index of its style in `dots.DASHES`; 0 is unbroken.
        value: Written beside its name; None for its last value.
        value_x: Where that value is, for the cursor's mark; None for at the cursor.
        end_sign: One character at its last point, for curves that end far from their names.
        letter: One character on the curve here and there, and before its name above the plot.
    """

    name: str
    x: Curve
    y: Curve
    ink: str
    points: bool = False
    minor: bool = False
    low: Curve | None = None
    high: Curve | None = None
    dash: int = 0
    value: float | None = None
    value_x: float | None = None
    end_sign: str = ""
    letter: str = ""

    @property
    def shown_value(self) -> float:
        """What is written beside its name; NaN when it has no value at all."""
        if self.value is not None:
            return self.value
        known = np.flatnonzero(np.isfinite(self.y))
        return float(self.y[known[-1]]) if len(known) else math.nan


@dataclass(frozen=True, slots=True)
class PlotMark:
    """Something that happened, below the curves.

    Attributes:
        x: Where.
        sign: One character.
        ink: Name of the colour.
        is_tall: Whether a line goes up from it.
    """

    x: float
    sign: str
    ink: str
    is_tall: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves that share their axes.

    Attributes:
        lines: Later ones lie on top.
        log: Whether the y axis is logarithmic.
        unit_range: Values lie in [0, 1] and the axis begins at 0.
        best: A point to mark with a star.
        kind: What the x axis counts.
        window: The part of the x axis to show; None for all.
        cursor: Where values are read; None for nowhere.
        marks: What happened when; later ones lie on top.
    """

    lines: tuple[Line, ...] = ()
    log: bool = False
    unit_range: bool = False
    best: tuple[float, float] | None = None
    kind: XKind = "step"
    window: tuple[float, float] | None = None
    cursor: float | None = None
    marks: tuple[PlotMark, ...] = ()

    @property
    def range(self) -> tuple[float, float]:
        """First and last x in sight."""
        if self.window is not None:
            return self.window
        ends = [(float(line.x[0]), float(line.x[-1])) for line in self.lines if len(line.x)]
        return min((end[0] for end in ends), default=0.0), max((end[1] for end in ends), default=1.0)


# --- what is in sight ---


def _in_sight(line: Line, limits: tuple[float, float]) -> Line:
    """The part of a curve between two limits, cut where it crosses them."""
    start = int(np.searchsorted(line.x, limits[0], "left"))
    end = int(np.searchsorted(line.x, limits[1], "right"))
    if start == 0 and end == len(line.x):
        return line
    ends = [limits[0]] if 0 < start < len(line.x) else [], [limits[1]] if 0 < end < len(line.x) else []
    x = np.concatenate([ends[0], line.x[start:end], ends[1]]).astype(np.float32)

    def cut(y: Curve) -> Curve:
        edges = [np.interp(edge, line.x, y) for edge in ends]
        return np.concatenate([edges[0], y[start:end], edges[1]]).astype(np.float32)

    low = None if line.low is None else cut(line.low)
    high = None if line.high is None else cut(line.high)
    return replace(line, x=x, y=cut(line.y), low=low, high=high)


def _y_axis(plot: Plot, rows: int) -> Axis:
    most_ticks = max(3, rows // 3)
    values = np.concatenate([*(line.y for line in plot.lines), np.empty(0, np.float32)])
    spread = np.concatenate([*(line.high for line in plot.lines if line.high is not None), np.empty(0, np.float32)])
    values, spread = values[np.isfinite(values)], spread[np.isfinite(spread)]
    if plot.unit_range:
        top = float(values.max()) * 1.08 if len(values) else 0.1
        step = nice_step(max(top, 0.01), 4)
        return linear_axis(0.0, min(1.0, step * math.ceil(top / step) or step), most_ticks)
    if plot.log:
        values, spread = values[values > 0], spread[spread > 0]
    if not len(values):
        return linear_axis(0.0, 1.0, most_ticks)
    # The first steps of a run may be far above the rest; a few of them may leave the picture.
    low, high = (float(value) for value in np.quantile(values, (0.001 if plot.log else 0, 0.995)))
    if len(spread):
        high = max(high, float(np.quantile(spread, 0.9)))
    high *= 1.04
    if plot.log:
        return log_axis(low, max(high, low * 1.5), most_ticks)
    return linear_axis(0.0 if 0 < low < 0.5 * high else low, max(high, low), most_ticks)


# --- the whole picture ---


def draw(plot: Plot, width: int, height: int) -> Canvas:
    """Draw a plot into a grid of characters; names stand at the ends of the curves, or above the plot.

    Args:
        plot: What to draw; without any values only the axes come out.
        width: Columns, in characters; below some 12 nothing is drawn.
        height: Rows, in characters; below 3 nothing is drawn.
    """
    sheet = Sheet(max(0, width), max(0, height))
    plot = replace(plot, lines=tuple(_in_sight(line, plot.range) for line in plot.lines), window=plot.range)
    names = _named_ends(plot)
    margin = max((len(text) + 2 for _, text, _ in names), default=1)
    has_margin = margin <= width * _MOST_FOR_NAMES
    margin = margin if has_margin else 1
    if not has_margin:
        plot = _lettered(plot)
    legend = [] if has_margin else _legend(plot, width - 2, height // _ROWS_PER_LEGEND_ROW)
    below = 2 if plot.marks and height > 6 else 1
    rows, columns = height - below - len(legend), width - _GUTTER - margin
    if rows < 2 or columns < 4:
        return sheet.done()
    _draw_legend(sheet, legend)
    across = x_axis(*plot.range, columns, plot.kind)
    area = Area(_GUTTER, sheet.top, columns, rows, across, _y_axis(plot, rows))
    _draw_grid(sheet, area)
    _draw_marks(sheet, plot, area, has_row=below > 1)
    _draw_cursor(sheet, plot, area)
    _draw_x_axis(sheet, plot, area, rows + below - 1)
    for line in plot.lines:
        _draw_line(sheet, line, area)
    for line in plot.lines:
        _draw_points(sheet, line, area, plot.cursor)
    _draw_letters(sheet, [line for line in plot.lines if line.letter], area, plot.range)
    if plot.best is not None:
        _mark(sheet, area, plot.best, "★", "best")
    if has_margin:
        _draw_names(sheet, names, area)
    return sheet.done(area)


def _draw_grid(sheet: Sheet, area: Area) -> None:
    for tick in area.y_axis.ticks:
        row = area.row_of(tick)
        sheet.write(row, area.left, "┈" * area.columns, GRID)
        sheet.write(row, 0, y_text(tick).rjust(_GUTTER - 1), TICK)


def _draw_x_axis(sheet: Sheet, plot: Plot, area: Area, row: int) -> None:
    free = 0
    for tick in area.x_axis.ticks:
        text = x_text(tick, plot.kind)
        at = round(area.x_axis.share_of(tick) * (area.columns - 1))
        start = max(0, min(area.columns - len(text), at - len(text) // 2))
        if start >= free:
            sheet.write(row, area.left + start, text, TICK)
            free = start + len(text) + 1


def _draw_marks(sheet: Sheet, plot: Plot, area: Area, *, has_row: bool) -> None:
    for mark in plot.marks:
        column = area.column_of(mark.x)
        if column is None:
            continue
        if mark.is_tall:
            for row in range(area.rows):
                sheet.write(row, area.left + column, "┊", GRID)
        sheet.write(area.rows if has_row else area.rows - 1, area.left + column, mark.sign, mark.ink)


def _draw_cursor(sheet: Sheet, plot: Plot, area: Area) -> None:
    column = None if plot.cursor is None else area.column_of(plot.cursor)
    if column is not None:
        for row in range(area.rows):
            sheet.write(row, area.left + column, "│", CURSOR)


def _draw_line(sheet: Sheet, line: Line, area: Area) -> None:
    low, high = line.y if line.low is None else line.low, line.y if line.high is None else line.high
    axes, size = (area.x_axis, area.y_axis), (area.rows, area.columns)
    bits = braille(line.x, low, high, axes=axes, size=size, dash=line.dash)
    drawn = bits > 0
    place = slice(area.top, area.top + area.rows), slice(area.left, area.left + area.columns)
    # The cell belongs to the curve on top: mixed dots of two curves would belong to neither.
    sheet.chars[place][drawn] = (bits[drawn] + BRAILLE).view("<U1")
    sheet.ink_of[place][drawn] = sheet.ink(line.ink)


def _draw_points(sheet: Sheet, line: Line, area: Area, cursor: float | None) -> None:
    if line.points and len(line.x) * 3 <= area.columns:
        for x, y in zip(line.x.tolist(), line.y.tolist(), strict=True):
            _mark(sheet, area, (x, y), "●", line.ink)
    if line.end_sign:
        known = np.flatnonzero(np.isfinite(line.y))
        for last in known[-1:].tolist():
            column = area.column_of(float(line.x[last]))
            if column is not None and column >= area.columns - _NEAR_NAMES:
                continue  # its name, which begins with the sign's letter, is right beside it
            _mark(sheet, area, (float(line.x[last]), float(line.y[last])), line.end_sign, f"{line.ink}!")
    if cursor is not None and line.name and line.value is not None:
        x = cursor if line.value_x is None else line.value_x
        _mark(sheet, area, (x, line.value), "◆", line.ink)


def _draw_letters(sheet: Sheet, lines: Sequence[Line], area: Area, limits: tuple[float, float]) -> None:
    """Put each curve's letter on it, in columns of its own, so that none covers another."""
    num_places = len(lines) * _LETTERS_A_CURVE
    for place in range(num_places):
        line = lines[place % len(lines)]
        x = limits[0] + (limits[1] - limits[0]) * (place + 0.5) / num_places
        known = np.isfinite(line.y)
        at, values = line.x[known], line.y[known]
        if len(at) and at[0] <= x <= at[-1]:
            _mark(sheet, area, (x, float(np.interp(x, at, values))), line.letter, f"{line.ink}!")


def _mark(sheet: Sheet, area: Area, point: tuple[float, float], sign: str, ink: str) -> None:
    """Put a sign on a point, if it lies in the picture."""
    column, share = area.column_of(point[0]), area.y_axis.share_of(point[1])
    if column is not None and 0 <= share <= 1:
        sheet.write(row_of(share, area.rows), area.left + column, sign, ink)


# --- the curves' names ---


def _label(line: Line) -> str:
    return f"{figure(line.shown_value)} {line.name}"


def _is_named(line: Line) -> bool:
    return bool(line.name) and bool(np.isfinite(line.y).any())


def _named_ends(plot: Plot) -> list[tuple[float, str, str]]:
    """For each named curve its value, the text beside it, and its ink."""
    return [(line.shown_value, _label(line), line.ink) for line in plot.lines if _is_named(line)]


def _draw_names(sheet: Sheet, names: Sequence[tuple[float, str, str]], area: Area) -> None:
    """Write the names beside the ends of their curves, each on a row of its own."""
    placed = [(area.row_of(value), -area.y_axis.share_of(value), text, ink) for value, text, ink in names]
    placed.sort(key=lambda place: (place[0], place[1]))
    taken = _spread([place[0] for place in placed], area.rows)
    for row, (_, _, text, ink) in zip(taken, placed, strict=True):
        sheet.write(row, area.left + area.columns + 1, text, ink)


def _lettered(plot: Plot) -> Plot:
    """With a letter for each of several curves whose names stand above the plot: colours may be none, or unseen."""
    if sum(_is_named(line) for line in plot.lines) < 2:
        return plot
    taken = {line.end_sign for line in plot.lines}
    lines = []
    for line in plot.lines:
        letter = line.end_sign
        if not letter and _is_named(line):
            letter = next((char for char in (*line.name.lower(), *_MORE_LETTERS)
                           if char.isalpha() and char not in taken), "")  # fmt: skip
            taken.add(letter)
        lines.append(replace(line, letter=letter))
    return replace(plot, lines=tuple(lines))


def _legend(plot: Plot, width: int, most_rows: int) -> list[list[tuple[str, str]]]:
    """Rows of names and their inks, the curve on top first; those that find no room are left out."""
    by_rank = sorted(enumerate(plot.lines), key=lambda place: (place[1].minor, -place[0]))
    rows: list[list[tuple[str, str]]] = []
    used, is_minor = 0, False
    for _, line in by_rank:
        if not _is_named(line):
            continue
        text = line.name if line.minor and plot.cursor is None else _label(line)
        text = f"{line.letter} {text}" if line.letter and not line.end_sign else text
        if not rows or used + len(text) > width or line.minor != is_minor:
            rows.append([])
            used = 0
        is_minor = line.minor
        rows[-1].append((text, line.ink))
        used += len(text) + _LEGEND_GAP
    return rows[:most_rows]


def _draw_legend(sheet: Sheet, rows: Sequence[Sequence[tuple[str, str]]]) -> None:
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

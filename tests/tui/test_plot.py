from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tui.axes import XKind, nice_step
from tui.canvas import Canvas
from tui.plot import Line, Plot, PlotMark, draw
from tui.smoothing import Curve, smooth


def curve(*values: float) -> Curve:
    return np.array(values, dtype=np.float32)


def text_of(canvas: Canvas) -> list[str]:
    return ["".join(row) for row in canvas.chars]


def cells_of(canvas: Canvas, ink: str) -> list[tuple[int, int]]:
    if ink not in canvas.inks:
        return []
    rows, columns = np.nonzero(canvas.ink_of == canvas.inks.index(ink))
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (5, 2), (10, 3), (12, 3), (40, 10), (300, 100)])
def test_every_size_is_drawn_or_left_blank(size: tuple[int, int]) -> None:
    line = Line("total", curve(0, 1, 2), curve(3, 2, 1), "total", points=True)
    for plot in (Plot(), Plot((line,)), Plot((line,), log=True, best=(1, 2)), Plot((line,), unit_range=True)):
        assert draw(plot, *size).chars.shape == (size[1], size[0])


def test_a_falling_curve_falls() -> None:
    canvas = draw(Plot((Line("", curve(0, 10), curve(1, 0), "total"),)), 40, 11)
    cells = cells_of(canvas, "total")
    assert cells[0][0] == 0
    assert cells[-1][0] == 9
    columns = [column for _, column in cells]
    assert set(range(min(columns), max(columns) + 1)) == set(columns)


def test_what_is_not_finite_leaves_a_gap() -> None:
    y = curve(1, 1, np.nan, np.inf, 1, 1)
    canvas = draw(Plot((Line("", curve(0, 1, 2, 3, 4, 5), y, "total"),)), 60, 8)
    columns = sorted({column for _, column in cells_of(canvas, "total")})
    assert max(np.diff(columns)) > 20


@pytest.mark.parametrize(
    "y", [curve(np.nan, np.nan), curve(0, 0), curve(-1, -2), curve(1e30, 1e-30), curve(5, 5)],
    ids=["nothing", "zero", "negative", "far apart", "flat"],
)  # fmt: skip
@pytest.mark.parametrize("log", [False, True])
def test_odd_values_are_survived(y: Curve, log: bool) -> None:
    draw(Plot((Line("a", curve(0, 1), y, "total"),), log=log), 60, 12)


def test_names_stand_beside_the_ends_each_on_its_own_row() -> None:
    x = curve(0, 1)
    lines = tuple(Line(name, x, curve(3, 1), name) for name in ("alpha", "beta", "gamma"))
    rows = text_of(draw(Plot(lines), 80, 12))
    found = [index for index, row in enumerate(rows) for name in ("alpha", "beta", "gamma") if name in row]
    assert len(set(found)) == 3


def test_names_go_above_a_narrow_plot_and_hide_nothing() -> None:
    x = curve(0, 10)
    part = Line("rpn_box_reg", x, curve(5, 5), "part-1", minor=True)
    lines = (part, Line("validation", x, curve(9, 9), "val"), Line("total", x, curve(8, 8), "total"))
    canvas = draw(Plot(lines), 44, 14)
    rows = text_of(canvas)
    assert rows[0].split() == ["t", "8.000", "total", "v", "9.000", "validation"]
    assert rows[1].split() == ["r", "rpn_box_reg"]
    assert max(column for _, column in cells_of(canvas, "val")) == 42


def test_letters_tell_curves_apart_whose_names_stand_above() -> None:
    x = curve(0, 10)
    names = ("classifier", "cost", "total", "t")
    lines = tuple(Line(name, x, curve(index, index + 1), name) for index, name in enumerate(names))
    canvas = draw(Plot(lines), 30, 16)
    rows = text_of(canvas)
    for name, letter in zip(names, ("c", "o", "t", "a"), strict=True):
        cells = [(row, column) for row, column in cells_of(canvas, f"{name}!")]
        assert [rows[row][column] for row, column in cells] == [letter] * 2
        assert any(f"{letter} " in row and name in row for row in rows[:4])
    alone = draw(Plot(lines[:1]), 14, 16)
    assert cells_of(alone, "classifier!") == []  # there is nothing to tell it from


def test_a_low_plot_keeps_its_rows_for_the_curves() -> None:
    rows = text_of(draw(Plot((Line("rpn_box_reg", curve(0, 1), curve(3, 1), "part-1"),)), 30, 3))
    assert "rpn_box_reg" not in "".join(rows)


@pytest.mark.parametrize("last", [1, 2, 3, 4, 30])
def test_the_axis_counts_in_whole_epochs(last: int) -> None:
    x = np.arange(1, last + 1, dtype=np.float32)
    ticks = text_of(draw(Plot((Line("", x, np.full_like(x, 0.5), "ap"),), unit_range=True), 80, 12))[-1].split()
    assert ticks
    assert all(tick.isdigit() and 1 <= int(tick) <= last for tick in ticks)


def test_few_points_are_marked_and_the_best_has_a_star() -> None:
    line = Line("AP", curve(1, 2, 3), curve(0.1, 0.3, 0.2), "ap", points=True)
    rows = text_of(draw(Plot((line,), unit_range=True, best=(2, 0.3)), 60, 12))
    assert sum(row.count("●") for row in rows) == 2
    assert sum(row.count("★") for row in rows) == 1


def test_a_million_points_keep_their_extremes() -> None:
    x = np.arange(1_000_000, dtype=np.float32)
    y = np.ones(1_000_000, dtype=np.float32)
    y[500_000:503_000] = 2
    y[700_000] = 0
    canvas = draw(Plot((Line("", x, y, "total"),)), 100, 20)
    rows = {row for row, _ in cells_of(canvas, "total")}
    assert {min(rows), max(rows)} <= {0, 1, 18}


def test_rows_come_in_stretches_of_one_ink() -> None:
    canvas = draw(Plot((Line("", curve(0, 1), curve(1, 0), "total"),)), 40, 8)
    for row in range(8):
        runs = canvas.runs(row)
        assert "".join(text for text, _ in runs) == text_of(canvas)[row]
        assert all(first[1] != second[1] for first, second in pairwise(runs))


def test_smoothing_calms_and_keeps_the_level() -> None:
    rng = np.random.default_rng(0)
    x = np.arange(5000, dtype=np.float32)
    y = (2 + rng.normal(0, 0.5, 5000)).astype(np.float32)
    calm_x, calm = smooth(x, y, 100)
    assert len(calm_x) == len(calm) <= 100
    assert np.std(calm) < 0.1
    assert np.all(np.abs(calm - 2) < 0.3)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
def test_smoothing_few_points(count: int) -> None:
    x = np.arange(count, dtype=np.float32)
    assert len(smooth(x, x)[0]) == count


def test_smoothing_keeps_gaps() -> None:
    x = np.arange(100, dtype=np.float32)
    y = np.ones(100, dtype=np.float32)
    y[40:60] = np.nan
    assert np.isnan(smooth(x, y)[1]).sum() == 20


@pytest.mark.parametrize(("span", "most", "step"), [(10, 5, 2), (1, 4, 0.5), (0.03, 3, 0.01), (7, 100, 0.1)])
def test_nice_steps(span: float, most: int, step: float) -> None:
    assert nice_step(span, most) == pytest.approx(step)


def test_a_window_cuts_curves_where_it_crosses_them() -> None:
    line = Line("", curve(0, 100), curve(0, 100), "total")
    canvas = draw(Plot((line,), window=(40, 60)), 60, 12)
    rows = {row for row, _ in cells_of(canvas, "total")}
    assert canvas.area is not None
    assert canvas.area.y_axis.low == pytest.approx(40)
    assert min(rows) <= 1  # the axis ends a little above the highest value
    assert max(rows) == 10
    assert draw(Plot((line,), window=(300, 400)), 60, 12).area is not None


def test_the_cursor_shows_values_beside_the_names() -> None:
    line = Line("total", curve(0, 100), curve(5, 5), "total", value=3.25)
    canvas = draw(Plot((line,), cursor=50), 60, 12)
    text = "\n".join(text_of(canvas))
    assert "3.250 total" in text
    assert canvas.area is not None
    column = canvas.area.left + (canvas.area.column_of(50) or 0)
    assert {row[column] for row in text_of(canvas)[:4]} == {"│"}
    assert canvas.area.x_at(column) == pytest.approx(50, abs=2)


def test_marks_stand_below_the_curves() -> None:
    line = Line("", curve(0, 100), curve(5, 9), "total")
    marks = (PlotMark(0, "▪", "muted"), PlotMark(50, "↺", "warning", is_tall=True), PlotMark(101, "!", "warning"))
    rows = text_of(draw(Plot((line,), marks=marks), 60, 12))
    assert rows[10].split() == ["▪", "↺"]
    assert sum("┊" in row for row in rows) > 5


@pytest.mark.parametrize("dash", range(8))
def test_styles_of_lines_differ(dash: int) -> None:
    canvas = draw(Plot((Line("", curve(0, 100), curve(5, 5), "total", dash=dash),)), 90, 8)
    covered = len(cells_of(canvas, "total"))
    assert covered < 82 or dash in {0, 2, 3, 5, 7}
    assert covered > 20


@pytest.mark.parametrize(
    ("low", "high", "kind", "ticks"),
    [
        (0, 7200, "time", {"0", "15m", "1h", "1h30", "2h"}), (0, 40, "time", {"0", "5s", "10s"}),
        (0, 12, "epoch", {"2", "12"}), (3, 4, "epoch", {"3", "3.5", "4"}), (1, 9, "step", {"1", "5", "9"}),
        (0, 3e5, "time", {"1d", "12h"} - {"1d"}),
    ],
)  # fmt: skip
def test_x_axes_count_in_their_units(low: float, high: float, kind: XKind, ticks: set[str]) -> None:
    line = Line("", curve(low, high), curve(1, 2), "total")
    found = text_of(draw(Plot((line,), kind=kind), 110, 8))[-1].split()
    assert ticks <= set(found)

"""Curves as SVG paths."""

from __future__ import annotations

import pytest

from engine.report.chart import Data, chart, dots, nice_ticks


@pytest.mark.parametrize(
    ("end", "count", "whole", "ticks"),
    [
        pytest.param(1.0, 4, False, [0, 0.25, 0.5, 0.75, 1], id="one"),
        pytest.param(0.0047, 4, False, [0, 0.002, 0.004, 0.006], id="small"),
        pytest.param(3, 6, True, [0, 1, 2, 3], id="few epochs"),
        pytest.param(50, 6, True, [0, 10, 20, 30, 40, 50], id="epochs"),
        pytest.param(0, 4, False, [0], id="nothing"),
    ],
)
def test_ticks_are_round(end: float, count: int, whole: bool, ticks: list[float]) -> None:
    assert nice_ticks(end, count, whole=whole) == pytest.approx(ticks)


def test_nothing_known_is_no_chart() -> None:
    assert chart("Loss", [Data("a", [1.0], [None], "c0")], x_end=3) is None
    assert chart("Loss", [], x_end=3) is None


def test_gaps_stay_gaps_and_lonely_points_are_dots() -> None:
    made = chart("AP", [Data("a", [1, 2, 3, 4], [0.5, None, 1.0, 0.0], "c0")], x_end=4, y_end=1)
    assert made is not None
    [line] = made.lines
    assert line.path == "M250.0 500.0h0M750.0 0.0L1000.0 1000.0"
    assert dots(line.path) == "M250.0 500.0h0M750.0 0.0h0M1000.0 1000.0h0"
    assert line.values == ["0.5", "", "1", "0"]


def test_many_steps_keep_their_spikes() -> None:
    losses: list[float | None] = [1.0] * 100_000
    losses[54_321] = 3.0
    xs = [index / 1000 for index in range(len(losses))]
    made = chart("Loss", [Data("each step", xs, losses, "c0 faint", told=False)], x_end=100, y_end=3)
    assert made is not None
    path = made.lines[0].path
    assert len(path) < 20_000
    assert "543.2 0.0" in path


def test_a_huge_step_does_not_flatten_the_rest() -> None:
    losses: list[float | None] = [2.0] * 200
    losses[5] = 1e6
    xs = [index / 100 for index in range(200)]
    made = chart("Loss", [Data("each step", xs, losses, "c0", told=False)], x_end=2)
    assert made is not None
    assert made.y_ticks[-1].words == "2"

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.tui.build import Course, events_of
from tui.look import Look, Scale, by_epoch, moved_to
from tui.view import RunView, apply_all

WHOLE = (0.0, 100.0)


@pytest.fixture(scope="module")
def view() -> RunView:
    """12 epochs of 120 steps at 0.42 s, 9 s between epochs."""
    return apply_all(RunView("0004-desk"), events_of(Course()))


def test_zooming_keeps_the_place_and_stays_inside() -> None:
    look = Look().zoomed(WHOLE, 1, around=25)
    assert look.window == pytest.approx((10, 70))
    assert Look(window=(80, 100)).zoomed(WHOLE, -1, around=100).window == pytest.approx((100 - 20 / 0.6, 100))
    assert Look(window=(10, 90)).zoomed(WHOLE, -1).window is None


def test_zooming_ends_somewhere() -> None:
    look = Look()
    for _ in range(100):
        look = look.zoomed(WHOLE, 1)
    assert look.window is not None
    assert look.window[1] - look.window[0] == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("share", "window"), [(0.25, (25, 45)), (-0.25, (15, 35)), (9, (80, 100)), (-9, (0, 20))],
    ids=["right", "left", "to the end", "to the start"],
)  # fmt: skip
def test_panning(share: float, window: tuple[float, float]) -> None:
    assert Look(window=(20, 40)).panned(WHOLE, share).window == pytest.approx(window)
    assert Look().panned(WHOLE, share).window is None


def test_the_cursor_is_brought_into_sight() -> None:
    assert Look(window=(20, 40)).showing(30, WHOLE).window == (20, 40)
    assert Look(window=(20, 40)).showing(60, WHOLE).window == (50, 70)


def test_scales(view: RunView) -> None:
    assert Scale(view, "step").whole() == (1, 1440)
    assert Scale(view, "epoch").whole() == pytest.approx((1 / 120, 12))
    assert Scale(view, "time").whole() == pytest.approx((0.42, 12 * 120 * 0.42 + 11 * 9 + 6))
    assert Scale(view, "epoch").at_step(180) == 1.5
    assert Scale(view, "epoch").steps_at(1.5) == 180
    assert Scale(view, "time").steps_at(120 * 0.42 + 9 + 0.42) == 121
    assert Scale(view, "step").words(1204) == "step 1,204"
    assert Scale(view, "epoch").words(3.406) == "epoch 3.41"
    assert Scale(view, "time").words(5400) == "after 1h30"


def test_the_same_place_on_another_axis(view: RunView) -> None:
    look = Look(window=(120, 240), cursor=180)
    epochs = moved_to(view, look, "epoch")
    assert epochs.window == pytest.approx((1, 2))
    assert epochs.cursor == pytest.approx(1.5)
    back = moved_to(view, moved_to(view, epochs, "time"), "step")
    assert back.window == pytest.approx((120, 240), abs=1)
    assert back.cursor == pytest.approx(180, abs=1)
    assert by_epoch(view, look) == epochs
    assert by_epoch(view, moved_to(view, look, "time")).kind == "time"


def test_rows_in_a_window(view: RunView) -> None:
    assert Scale(view, "step").rows_in(None) == (0, 1440)
    assert Scale(view, "step").rows_in((101, 201)) == (99, 202)
    assert Scale(view, "epoch").rows_in((0, 99)) == (0, 1440)


def test_nothing_is_known_of_an_empty_run() -> None:
    empty = RunView("0001-desk")
    for kind in ("step", "epoch", "time"):
        scale = Scale(empty, kind)
        assert scale.whole() == (0, 1)
        assert math.isfinite(scale.at_step(3))
        assert math.isfinite(scale.steps_at(3))
        assert len(scale.at_rows(np.empty(0, np.int64))) == 0
        moved_to(empty, Look(window=(0, 1), cursor=0.5), kind)

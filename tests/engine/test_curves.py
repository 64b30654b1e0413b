"""The loss-curve picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from engine.events import Event, EventLog
from engine.report.curves import draw_loss_curve, read_curves
from engine.rundir import RunDir
from tests.builders import measured, started, stepped

WHOLE: list[Event] = [started(), *(stepped(step) for step in range(5)), measured(0)]


def write(tmp_path: Path, events: list[Event], name: str = "0001-a") -> RunDir:
    run_dir = RunDir(tmp_path / name)
    run_dir.path.mkdir()
    with EventLog(run_dir.events) as log:
        for event in events:
            log.append(event)
    return run_dir


def test_series_count_epochs_from_their_ends() -> None:
    curves = read_curves(WHOLE)
    assert curves.step_epochs == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert [event.epoch for event in curves.epochs] == [0]


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(WHOLE, id="whole"),
        pytest.param(WHOLE[:3], id="no epoch yet"),
        pytest.param([*WHOLE[:-1], measured(0, ap=None, ap50=None, val_loss=None, best=False)], id="nothing measured"),
        pytest.param([started(), stepped(0, loss=None), stepped(1)], id="a loss that isn't a number"),
        pytest.param([stepped(0)], id="no start"),
    ],
)
def test_a_picture_is_drawn(tmp_path: Path, events: list[Event]) -> None:
    run_dir = write(tmp_path, events, "0001-$not-math$")
    assert draw_loss_curve(run_dir)
    with Image.open(run_dir.loss_curve) as picture:
        assert picture.size == (1200, 960)


@pytest.mark.parametrize("events", [[], [started()]], ids=["no events", "no step"])
def test_nothing_is_drawn_before_the_first_step(tmp_path: Path, events: list[Event]) -> None:
    run_dir = write(tmp_path, events)
    assert not draw_loss_curve(run_dir)
    assert not run_dir.report.exists()

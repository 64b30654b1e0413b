from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as replace_fields

from engine.events import CheckpointEvent, EpochEvent, MessageEvent, RecoveryEvent, RunEnded, RunStarted
from tests.tui.build import CLASS_NAMES, Course, events_of
from tui.bars import Bars, draw_bars
from tui.curves import CHARTS, class_bars, class_plot, loss_plot, memory_plot, precision_plot, speed_plot, waiting_plot
from tui.happenings import happenings, near, plot_marks
from tui.look import Look
from tui.plot import Plot, draw
from tui.view import RunView, apply, apply_all


@pytest.fixture(scope="module")
def view() -> RunView:
    return apply_all(RunView("0004-desk"), events_of(Course()))


def names(plot: Plot) -> list[str]:
    return [line.name for line in plot.lines if line.name]


def test_losses_all_or_some(view: RunView) -> None:
    parts = ["classifier", "box_reg", "objectness", "rpn_box_reg"]
    assert names(loss_plot(view, Look())) == [*parts, "validation", "total"]
    assert names(loss_plot(view, Look(shown="main"))) == ["validation", "total"]
    assert names(loss_plot(view, Look(shown="loss_objectness"))) == ["objectness"]
    assert names(loss_plot(view, Look(shown="of another run"))) == [*parts, "validation", "total"]


def test_smoothing_calms_and_raw_has_its_noise(view: RunView) -> None:
    wobbles = []
    for smoothing in range(4):
        total = loss_plot(view, Look(smoothing=smoothing)).lines[-1]
        assert total.name == "total"
        on_grid = np.interp(np.arange(100, 1400, 7), total.x, total.y)
        wobbles.append(float(np.abs(np.diff(on_grid, 2)).mean()))
    assert wobbles == sorted(wobbles, reverse=True)
    assert wobbles[0] > 5 * wobbles[3]
    assert loss_plot(view, Look(smoothing=0)).lines[0].name == "classifier"
    assert loss_plot(view, Look()).lines[0].name == ""


def test_the_cursor_reads_the_row_it_is_on(view: RunView) -> None:
    plot = loss_plot(view, Look(smoothing=0, cursor=701))
    total = plot.lines[-1]
    assert total.value == pytest.approx(float(view.steps.column("loss")[700]))
    validation = next(line for line in plot.lines if line.name == "validation")
    assert validation.value == pytest.approx(view.epochs[5].val_loss)
    assert precision_plot(view, Look(cursor=701)).lines[-1].value == pytest.approx(view.epochs[5].ap)


def test_a_window_takes_the_rows_in_sight_alone(view: RunView) -> None:
    for smoothing in (0, 2):
        total = loss_plot(view, Look(smoothing=smoothing, window=(500, 620))).lines[-1]
        assert total.x[0] >= 400
        assert total.x[-1] <= 720
        canvas = draw(loss_plot(view, Look(smoothing=smoothing, window=(500, 620))), 100, 20)
        assert canvas.area is not None
        assert canvas.area.x_at(canvas.area.left) == 500
        assert canvas.area.x_at(canvas.area.left + canvas.area.columns - 1) == 620


def test_every_chart_of_every_run_is_drawn(view: RunView) -> None:
    broken = apply(RunView("0001-odd"), EpochEvent(
        epoch=0, step=0, elapsed_s=1e300, train_loss=None, val_loss=None, val_losses={}, ap=None, ap50=None, ap75=None,
        ar100=None, ap_per_class={"a": None}, best=False,
    ))  # fmt: skip
    for run in (view, RunView("0001-empty"), broken, apply_all(RunView("0001-one"), list(events_of(Course()))[:2])):
        for chart in CHARTS:
            for look in (Look(), Look(log=True, kind="epoch"), Look(smoothing=0, kind="time", cursor=3, window=(1, 5))):
                for curves in (True, False):
                    drawing = chart.draw(run, replace(look, class_curves=curves))
                    size = (80, 20)
                    canvas = draw_bars(drawing, *size) if isinstance(drawing, Bars) else draw(drawing, *size)
                    assert canvas.chars.shape == (20, 80)


def test_speed_waiting_and_memory(view: RunView) -> None:
    speed = speed_plot(view, Look()).lines[-1]
    assert speed.name == "images/s"
    assert speed.y[-1] == pytest.approx(4 / 0.42, rel=0.05)  # 480 images in 120 steps
    assert waiting_plot(view, Look()).lines[0].y[-1] == pytest.approx(0.03 / 0.42, rel=0.05)
    assert not memory_plot(view, Look()).lines
    weighed = replace(view, epochs=tuple(replace_fields(epoch, memory_bytes=3 * 10**9) for epoch in view.epochs))
    assert memory_plot(weighed, Look()).lines[0].y.tolist() == [3.0] * 12


def test_classes_as_bars_tell_the_cursors_epoch(view: RunView) -> None:
    bars = class_bars(view, Look())
    assert [bar.name for bar in bars.bars] == ["laptop", "mug", "keyboard"]
    assert bars.words == "epoch 12"
    assert class_bars(view, Look(cursor=245)).words == "epoch 2"
    text = ["".join(row) for row in draw_bars(bars, 60, 5).chars]
    assert "laptop" in text[0]
    assert "0.442" in text[0]
    assert "▇" in text[0]


def test_many_classes_show_both_ends(view: RunView) -> None:
    values = {f"class-{index:02d}": 1 - index / 50 for index in range(40)}
    crowd = replace(view, epochs=(replace_fields(view.epochs[-1], ap_per_class=values),))
    text = ["".join(row) for row in draw_bars(class_bars(crowd, Look()), 60, 7).chars]
    assert "class-00" in text[0]
    assert "… 34 more between" in text[3]
    assert "class-39" in text[6]
    assert names(class_plot(crowd, Look())) == [*(f"class-0{index}" for index in range(4)), *(
        f"class-{index}" for index in range(36, 40))]  # fmt: skip
    dashes = [line.dash for line in class_plot(crowd, Look()).lines]
    assert len(set(dashes)) == 8


def test_classes_of_a_run_are_told_apart_by_their_lines(view: RunView) -> None:
    plot = class_plot(view, Look())
    assert set(names(plot)) == set(CLASS_NAMES)
    assert len({line.dash for line in plot.lines}) == 3


@pytest.fixture
def eventful(view: RunView) -> RunView:
    events = [
        CheckpointEvent(kind="last", path="checkpoints/last.pt", epoch=11, step=1439),
        RecoveryEvent(kind="out of memory", text="halved the \x1b[31mbatch", epoch=3, step=400),
        MessageEvent(level="warning", text="the disk fills up"),
        MessageEvent(level="note", text="nobody need know"),
        RunStarted(
            attempt=2, device="cpu", num_train_images=480, num_val_images=120, num_epochs=30, num_steps=3600,
            class_names=CLASS_NAMES, first_step=1440,
        ),
        RunEnded(outcome="failed", reason="the loss became infinite", cause="diverged"),
    ]  # fmt: skip
    return apply_all(replace(view, journal=(), journal_steps=()), events)


def test_what_happened_is_marked_where_it_happened(eventful: RunView) -> None:
    found = [(one.num_done, one.kind) for one in happenings(eventful)]
    assert found == [(1440, "checkpoint"), (400, "recovery"), (1440, "warning"), (1440, "resume"), (1440, "error")]
    assert "\x1b" not in "".join(one.words for one in happenings(eventful))
    marks = plot_marks(eventful, Look(kind="epoch"))
    assert [(round(mark.x, 2), mark.sign) for mark in marks][-2:] == [(3.33, "↺"), (12, "✘")]
    plain = "\n".join("".join(row) for row in draw(loss_plot(eventful, Look()), 100, 20).chars)
    assert "↺" in plain
    assert "✘" in plain
    assert "▪" not in plain  # the failure lies on top of it


def test_the_cursor_finds_what_happened_there(eventful: RunView) -> None:
    assert [one.kind for one in near(eventful, Look(cursor=400), 80)] == ["recovery"]
    assert near(eventful, Look(cursor=1440), 80)[0].kind == "error"
    assert near(eventful, Look(cursor=700), 80) == []
    assert near(eventful, Look(), 80) == []

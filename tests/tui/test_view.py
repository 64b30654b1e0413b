from __future__ import annotations

from dataclasses import replace

import pytest
from numpy.testing import assert_array_equal

from engine.events import (
    EpochEvent,
    Event,
    MessageEvent,
    PhaseEvent,
    PreviewEvent,
    RunEnded,
    RunStarted,
    StepEvent,
)
from engine.progress import fold
from engine.runqueue import QueueRow, State
from engine.standing import Board, Reason, Standing
from tests.tui.build import EVENING, Course, events_of
from tui.columns import why_words
from tui.feed import Fleet
from tui.questions import reasons_for
from tui.scene import Scene
from tui.view import RunView, apply, apply_all, forget_events


def step(number: int, loss: float | None = 1.0, time: float = 0.0) -> StepEvent:
    return StepEvent(
        time=time, step=number, epoch=0, elapsed_s=number + 1.0, loss=loss, losses={"loss_box_reg": loss}, lr=0.1,
        step_s=1,
    )  # fmt: skip


def started(attempt: int = 1, first_step: int = 0) -> RunStarted:
    return RunStarted(
        time=0, attempt=attempt, device="cpu", num_train_images=1, num_val_images=1, num_epochs=2, num_steps=20,
        class_names=("mug",), first_step=first_step,
    )  # fmt: skip


def epoch(number: int, last_step: int) -> EpochEvent:
    return EpochEvent(
        time=0, epoch=number, step=last_step, elapsed_s=1, train_loss=1, val_loss=2, val_losses={}, ap=0.1, ap50=0.2,
        ap75=0.1, ar100=0.1, ap_per_class={}, best=True,
    )  # fmt: skip


def row(state: State, attempt: int = 1, reason: str = "", cause: str = "") -> QueueRow:
    return QueueRow("0001-a", 1, "a.toml", "", state, attempt, reason, cause, 0.0, 0.0, None)


def view_of(*events: Event, state: State | None = None) -> RunView:
    return apply_all(RunView("0001-a", row=row(state) if state else None), events)


def test_apply_leaves_its_input_alone() -> None:
    before = RunView("0001-a")
    after = apply(before, step(0))
    assert before == RunView("0001-a")
    assert after.steps.length == 1


def test_many_at_once_mean_the_same_as_one_by_one() -> None:
    events = list(events_of(Course(epochs=3)))
    whole = apply_all(RunView("0001-a"), events)
    one_by_one = RunView("0001-a")
    for event in events:
        one_by_one = apply(one_by_one, event)
    assert whole.epochs == one_by_one.epochs
    assert whole.previews == one_by_one.previews
    for name in whole.steps.names:
        assert_array_equal(whole.steps.column(name), one_by_one.steps.column(name))
    assert replace(whole.progress, step_s=None) == replace(one_by_one.progress, step_s=None)


def test_progress_is_that_of_engine_status() -> None:
    events = list(events_of(Course(epochs=4, steps_an_epoch=300)))
    assert apply_all(RunView("0001-a"), events).progress.step_s == pytest.approx(fold(events).step_s, rel=1e-3)


def test_a_missing_loss_is_a_gap() -> None:
    view = view_of(step(0, 2.0), step(1, None), step(2, 1.0))
    assert_array_equal(view.steps.column("loss"), [2.0, float("nan"), 1.0])


def test_steps_out_of_order_do_no_harm() -> None:
    view = view_of(step(5), step(3), step(4), step(4))
    assert_array_equal(view.steps.column("step"), [3, 4])


def test_a_resumed_run_takes_its_last_steps_again() -> None:
    view = view_of(started(), *(step(number) for number in range(10)), epoch(0, 9), started(2, first_step=6))
    assert_array_equal(view.steps.column("step"), range(6))
    assert view.epochs == ()
    assert view.journal[-1] == started(2, first_step=6)


def test_a_replaced_log_starts_over_but_keeps_the_row() -> None:
    view = view_of(step(0), state="running")
    assert forget_events(view) == RunView("0001-a", row=row("running"))


def test_an_epoch_measured_again_replaces_the_old_one() -> None:
    again = epoch(0, 11)
    assert view_of(epoch(0, 9), epoch(1, 19), again).epochs == (again,)


def test_previews_are_kept_by_epoch() -> None:
    events = [PreviewEvent(time=0, epoch=number, previews=()) for number in (0, 1, 1)]
    assert [event.epoch for event in view_of(*events).previews] == [0, 1]


def test_the_journal_has_an_end() -> None:
    events = [MessageEvent(time=number, level="note", text=str(number)) for number in range(500)]
    journal = view_of(*events).journal
    assert len(journal) == 200
    assert journal[-1] == events[-1]


def test_the_phase_ends_with_the_next_step() -> None:
    evaluating = PhaseEvent(time=0, phase="evaluating", epoch=0)
    assert view_of(evaluating).phase == evaluating
    assert view_of(evaluating, step(0)).phase is None


@pytest.mark.parametrize(
    ("events", "worker_alive", "state"),
    [
        pytest.param([], False, "queued", id="never begun"),
        pytest.param([started()], True, "running", id="worker lives"),
        pytest.param([started()], False, "unknown", id="worker gone"),
        pytest.param([started(), RunEnded(time=0, outcome="finished", reason="")], False, "finished", id="finished"),
        pytest.param([started(), RunEnded(time=0, outcome="stopped", reason="")], False, "queued", id="stopped"),
    ],
)
def test_without_a_queue_the_events_tell_the_state(events: list[Event], worker_alive: bool, state: str) -> None:
    assert apply_all(RunView("0001-a", worker_alive=worker_alive), events).state == state


def test_the_queue_has_the_last_word() -> None:
    assert view_of(started(), state="cancelled").state == "cancelled"
    view = replace(view_of(started()), row=row("failed", reason="no room", cause="disk full"))
    assert (view.reason, view.cause) == ("no room", "disk full")


def test_a_run_without_its_worker_says_so() -> None:
    running = replace(view_of(started(), state="running"), worker_alive=False)
    assert running.is_orphaned
    assert not replace(running, worker_alive=True).is_orphaned
    claimed_again = replace(running, row=row("running", attempt=2))
    assert claimed_again.is_starting
    assert not claimed_again.is_orphaned


def test_time_goes_on_while_a_worker_works() -> None:
    view = replace(view_of(started(), step(9, time=100.0), state="running"), worker_alive=True)
    assert view.elapsed_s(130.0) == 40
    assert view.eta_s(103.0) == pytest.approx(10 * 1 - 3)
    assert view.eta_s(10_000.0) == 0
    ended = apply(view, RunEnded(time=101, outcome="finished", reason="", elapsed_s=12))
    assert ended.eta_s(103.0) is None


def test_a_whole_course_is_read() -> None:
    view = apply_all(RunView("0001-a"), events_of(Course(epochs=2, start=EVENING)))
    assert view.steps.length == 240
    assert view.loss_parts == ("loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg")
    assert len(view.epochs) == len(view.previews) == 2


@pytest.mark.parametrize(
    ("attempt", "worker_alive", "state"),
    [
        pytest.param(2, False, "queued", id="saved when its supervisor died"),
        pytest.param(2, True, "running", id="just ending"),
        pytest.param(1, False, "running", id="an earlier attempt's word"),
    ],
)
def test_a_last_word_nobody_recorded(attempt: int, worker_alive: bool, state: str) -> None:
    ended = RunEnded(time=0, outcome="stopped", reason="stopped on request", attempt=attempt)
    view = apply_all(RunView("0001-a", row=row("running", attempt=2)), [started(), ended])
    assert replace(view, worker_alive=worker_alive).state == state


@pytest.mark.parametrize(
    ("asked", "state"),
    [("stop", "held"), ("stop after epoch", "held"), ("cancel", "cancelled"), ("put back", "queued")],
)
def test_a_run_that_did_as_asked_before_the_queue_says_so(asked: str, state: str) -> None:
    told = "stopped on request after step 4 of 156, everything saved"
    asked_row = replace(row("stopping", attempt=1), asked=asked)
    ended = RunEnded(time=0, outcome="stopped", reason=told, attempt=1)
    view = replace(apply_all(RunView("0001-a", row=asked_row), [started(), ended]), worker_alive=False)
    standing = Standing(asked_row, None, (Reason("is asked to save and stop"),))
    assert view.state == state
    assert why_words(view, standing) == (told, "muted")
    assert reasons_for(view, Scene(Fleet(), (view,), None, (), 0.0, board=Board((standing,)))) == [Reason(told)]


def test_what_stood_before_a_change_is_not_told_after_it() -> None:
    view = RunView("0001-a", row=row("cancelled", reason="cancelled on request"))
    standing = Standing(row("queued", reason="to be tried again"), 1, (Reason("to be tried again"),))
    scene = Scene(Fleet(), (view,), None, (), 0.0, board=Board((standing,)))
    assert why_words(view, standing) == ("cancelled on request", "muted")
    assert reasons_for(view, scene)[0].words == "cancelled on request"


def test_a_reason_begins_with_its_words() -> None:
    told = "T201 the loss diverged at step 5 (fix: lower optimizer.lr (try a tenth))"
    view = RunView("0001-a", row=row("failed", reason=told, cause="diverged"))
    assert view.reason == "the loss diverged at step 5 (T201); lower optimizer.lr (try a tenth)"

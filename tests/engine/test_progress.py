"""Progress folded from events: where a run stands and how long it still takes."""

from __future__ import annotations

import pytest

from engine.events import MessageEvent, PhaseEvent, PreviewEvent, RunEnded
from engine.progress import RunProgress, advance, fold
from tests.builders import measured, started, stepped


def test_nothing_is_known_before_the_first_event() -> None:
    progress = fold([])
    assert progress == RunProgress()
    assert (progress.fraction, progress.eta_s) == (0.0, None)


def test_a_run_from_start_to_end() -> None:
    first = [started(), PhaseEvent(phase="training", epoch=0), *(stepped(step) for step in range(5))]
    progress = fold(first)
    assert (progress.epoch, progress.num_epochs, progress.step, progress.num_steps) == (1, 2, 5, 10)
    assert (progress.phase, progress.fraction) == ("training", 0.5)
    progress = fold([PhaseEvent(phase="evaluating", epoch=0), measured(0, ap=0.3, ap50=0.4)], progress)
    assert (progress.phase, progress.best_ap, progress.best_ap50, progress.best_epoch) == ("evaluating", 0.3, 0.4, 1)
    progress = fold([*(stepped(step) for step in range(5, 10)), measured(1, ap=0.2, ap50=0.5, best=False)], progress)
    assert (progress.ap, progress.best_ap, progress.best_ap50, progress.best_epoch) == (0.2, 0.3, 0.4, 1)
    ended = RunEnded(outcome="finished", reason="", elapsed_s=12.0)
    progress = advance(progress, ended)
    assert (progress.ended, progress.phase, progress.elapsed_s, progress.fraction) == (ended, "", 12.0, 1.0)
    assert progress.last_time == ended.time


def test_the_time_left_counts_steps_and_evaluations() -> None:
    progress = fold([started(), *(stepped(step, step_s=2.0) for step in range(5))])
    assert progress.eta_s == pytest.approx(5 * 2.0)  # no evaluation has told its length yet
    progress = advance(progress, measured(0, evaluate_s=3.0))
    assert progress.eta_s == pytest.approx(5 * 2.0 + 3.0)
    progress = fold([stepped(step, step_s=2.0) for step in range(5, 10)], progress)
    assert progress.eta_s == pytest.approx(3.0)
    assert advance(progress, measured(1, evaluate_s=3.0)).eta_s == 0


def test_the_time_left_follows_the_latest_speed() -> None:
    later = [stepped(step, step_s=1.0) for step in range(1, 120)]
    slow_start = fold([started(num_steps=1000), stepped(0, step_s=60.0), *later])
    assert slow_start.step_s == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([started()], id="no step yet"),
        pytest.param([stepped(0)], id="no start yet"),
        pytest.param([started(), stepped(0), RunEnded(outcome="stopped", reason="")], id="ended"),
    ],
)
def test_the_time_left_is_unknown(events: list[object]) -> None:
    assert fold(events).eta_s is None  # type: ignore[arg-type]


def test_a_resumed_run_goes_on_where_it_was() -> None:
    ended = RunEnded(outcome="stopped", reason="asked")
    stopped = fold([started(), *(stepped(step) for step in range(7)), measured(0), ended])
    resumed = advance(stopped, started(attempt=2, first_step=7))
    assert (resumed.ended, resumed.step, resumed.best_ap) == (None, 7, 0.1)
    assert resumed.eta_s == pytest.approx(3 * 2.0 + 3.0)


def test_a_message_stays_until_the_next_start() -> None:
    progress = fold([started(), MessageEvent(level="warning", text="careful"), stepped(0)])
    assert progress.message == "careful"
    assert advance(progress, started(attempt=2)).message == ""


def test_an_epoch_in_which_nothing_could_be_measured() -> None:
    progress = fold([started(), measured(0, ap=None, ap50=None), measured(1, ap=0.1, ap50=None)])
    assert (progress.best_ap, progress.best_ap50) == (0.1, None)


def test_other_events_change_only_the_time() -> None:
    before = fold([started(), stepped(0)])
    event = PreviewEvent(epoch=0, previews=(), time=9.0)
    after = advance(before, event)
    assert (after.last_time, after.step) == (9.0, before.step)


def test_an_empty_run_has_no_share_done() -> None:
    assert fold([started(num_steps=0)]).fraction == 0.0

"""Trackers are told what a run tells, once, and can't harm it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.events import EventLog, RunEnded, rewind
from engine.rundir import RunDir
from engine.runqueue import RunQueue
from engine.tracking.facts import RunFacts, read_wishes
from engine.tracking.follow import follow
from tests.engine.report.nights import append_events, tracked_run, training_events

# As `tracked_run` makes it.
NUM_EPOCHS, STEPS = 3, 5


class Diary:
    """A tracker that writes down what it is told."""

    name = "diary"

    def __init__(self, *, keeps: bool, fails_at: int | None = None) -> None:
        self.keeps, self._fails_at = keeps, fails_at
        self.begun: list[str] = []
        self.told: list[tuple[int, dict[str, float]]] = []
        self.pictures: list[tuple[int, str]] = []
        self.ended: list[RunEnded | None] = []

    @property
    def steps(self) -> list[int]:
        return [step for step, values in self.told if "train/loss" in values]

    def begin(self, facts: RunFacts, known_as: str) -> str:  # noqa: ARG002
        self.begun.append(known_as)
        if not self.keeps:
            self.told.clear()
        return known_as or "number 7"

    def values(self, step: int, values: dict[str, float], when: float) -> None:  # noqa: ARG002
        if step == self._fails_at:
            raise ConnectionError("the server is gone")
        self.told.append((step, values))

    def picture(self, step: int, name: str, path: Path, when: float) -> None:  # noqa: ARG002
        self.pictures.append((step, name))

    def flush(self) -> None:
        pass

    def end(self, ended: RunEnded | None) -> None:
        self.ended.append(ended)


@pytest.fixture
def run_dir(tmp_path: Path, queue: RunQueue) -> RunDir:
    return tracked_run(queue, tmp_path)


def test_everything_is_told(run_dir: RunDir) -> None:
    diary = Diary(keeps=True)
    assert follow(run_dir, [diary]) == []
    assert diary.steps == list(range(1, NUM_EPOCHS * STEPS + 1))
    epochs = [(step, values) for step, values in diary.told if "val/ap" in values]
    assert [step for step, _ in epochs] == [5, 10, 15]
    assert epochs[-1][1]["class_ap/mug"] == pytest.approx(epochs[-1][1]["val/ap"])
    assert diary.pictures == [(15, "previews/IMG_1")]
    assert [ended.outcome for ended in diary.ended if ended] == ["finished"]


def test_nothing_is_told_twice_to_a_tracker_that_keeps(run_dir: RunDir) -> None:
    first, second = Diary(keeps=True), Diary(keeps=True)
    follow(run_dir, [first])
    with EventLog(run_dir.events) as log:
        log.append(training_events(NUM_EPOCHS + 1, STEPS)[-3])
    follow(run_dir, [second])
    assert (first.begun, second.begun) == ([""], ["number 7"])
    assert second.steps == [NUM_EPOCHS * STEPS + STEPS]
    assert second.pictures == []


@pytest.mark.parametrize("keeps", [True, False])
def test_a_run_that_went_back(run_dir: RunDir, keeps: bool) -> None:
    """Steps are told by the live follower while the log is cut back and written on."""
    diary, looks = Diary(keeps=keeps), 0

    def is_live() -> bool:
        nonlocal looks
        looks += 1
        if looks == 2:
            rewind(run_dir.events, run_dir.events.read_bytes().index(b'{"event":"step","step":4,'))
            append_events(run_dir, training_events(NUM_EPOCHS + 1, STEPS)[-8:])
        return looks < 3

    follow(run_dir, [diary], is_live=is_live, poll_s=0)
    assert len(diary.steps) == len(set(diary.steps))
    assert diary.steps[-1] == (NUM_EPOCHS + 1) * STEPS
    assert (15 in diary.steps) == keeps  # what went back is told no more where everything is told anew


def test_a_tracker_that_fails_is_left_out_and_the_others_go_on(
    run_dir: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, sound = Diary(keeps=True, fails_at=3), Diary(keeps=False)
    troubles = follow(run_dir, [broken, sound])
    assert troubles == ["diary isn't told any more: ConnectionError: the server is gone"]
    assert troubles[0] in capsys.readouterr().err
    assert broken.steps == [1, 2]
    assert len(sound.steps) == NUM_EPOCHS * STEPS


def test_wishes_are_read_from_the_run(run_dir: RunDir) -> None:
    wishes = read_wishes(run_dir)
    assert (wishes.tensorboard, wishes.mlflow, wishes.wandb, wishes.project) == (True, "", "", "desks")
    run_dir.resolved.write_text("rubbish")
    assert not read_wishes(run_dir).any

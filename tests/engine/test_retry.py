"""Failed runs tried again, and runs whose supervisor and worker are gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import control
from engine.events import EventLog, RunEnded
from engine.queuereader import read_queue, settle_orphans
from engine.rundir import SUPERVISOR_LOCK, RunDir
from engine.runqueue import RunQueue
from engine.verdict import judge_exit
from tests.builders import new_run


@pytest.fixture
def queue(tmp_path: Path) -> RunQueue:
    queue = RunQueue(tmp_path)
    queue.enqueue([new_run("first"), new_run("second")])
    return queue


def test_a_failed_run_is_queued_again_with_a_new_attempt(queue: RunQueue) -> None:
    row = queue.claim()
    assert row is not None
    queue.finish(row, "failed", "killed", "killed by signal 9")
    [change] = control.retry(queue, queue.rows_in("failed"))
    assert (change.run, change.words, change.problem) == (row.run, "is queued again", None)
    again = queue.claim()
    assert again is not None
    assert (again.run, again.attempt, again.reason, again.cause) == (row.run, 2, "", "")


def test_only_what_failed_is_retried(queue: RunQueue) -> None:
    [change] = control.retry(queue, [queue.row("0001-first")])
    assert change.problem is not None
    assert (change.problem.code, change.problem.found.partition(";")[0]) == ("Q107", 'the run is "queued"')


def test_a_former_attempts_failure_is_not_this_ones(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    with EventLog(run_dir.events) as events:
        events.append(RunEnded(outcome="failed", reason="diverged long ago", cause="diverged", attempt=1))
    verdict = judge_exit(run_dir, 2, -9)
    assert (verdict.state, verdict.cause) == ("failed", "killed by signal 9")
    assert "diverged" not in verdict.reason


def test_a_run_that_nobody_works_on_is_shown_as_interrupted(queue: RunQueue, tmp_path: Path) -> None:
    row = queue.claim()
    assert row is not None
    shown = settle_orphans(read_queue(tmp_path).rows, tmp_path)
    assert shown[row.run].state == "queued"
    assert "interrupted" in shown[row.run].reason
    assert queue.row(row.run).state == "running"  # looking changed nothing


def test_a_run_in_flight_is_shown_as_running(queue: RunQueue, tmp_path: Path) -> None:
    row = queue.claim()
    assert row is not None
    rows = read_queue(tmp_path).rows
    assert settle_orphans(rows, tmp_path)[row.run].state == "queued"
    # The lock of another process can't be had here; what the reader asks is.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.queuereader.is_locked", lambda path: path.name == SUPERVISOR_LOCK)
        assert settle_orphans(rows, tmp_path)[row.run].state == "running"
        patch.setattr("engine.queuereader.is_locked", lambda path: path.name == "worker.lock")
        assert settle_orphans(rows, tmp_path)[row.run].state == "running"


def test_a_run_that_finished_unrecorded_is_shown_as_finished(queue: RunQueue, tmp_path: Path) -> None:
    row = queue.claim()
    assert row is not None
    with EventLog(RunDir(tmp_path / row.run).events) as events:
        events.append(RunEnded(outcome="finished", reason="stopped early", attempt=row.attempt))
    shown = settle_orphans(read_queue(tmp_path).rows, tmp_path)[row.run]
    assert (shown.state, shown.reason) == ("finished", "stopped early")

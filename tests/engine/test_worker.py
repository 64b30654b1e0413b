"""Real workers: trained in processes of their own, killed, orphaned, and gone on with."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from engine.errors import DataError, Diverged, EngineError
from engine.events import RunEnded
from engine.executors import WHOLE_MACHINE, Place
from engine.executors.local import LocalExecution, LocalExecutor
from engine.rundir import FileLock, RunDir, is_locked
from engine.runqueue import QueueRow, RunQueue
from engine.supervisor import Observer, StopRequest, supervise, supervisor_lock
from engine.worker import explain_failure
from tests.builders import (
    enqueue_recipe,
    events_of,
    fill_run_dir,
    load_recipe,
    process_environment,
    start_engine,
    steps_of,
    wait_for,
    write_recipe,
)

QUICK_RUN = {"previews": {"num_images": 0}}


class _Watched(LocalExecutor):
    """Starts real workers and remembers them."""

    def __init__(self) -> None:
        super().__init__()
        self.executions: dict[str, LocalExecution] = {}

    def start(self, run_dir: RunDir, attempt: int, place: Place = WHOLE_MACHINE) -> LocalExecution:
        execution = super().start(run_dir, attempt, place)
        self.executions[run_dir.run_id] = execution
        return execution


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in process_environment().items():
        monkeypatch.setenv(name, value)


def test_a_killed_worker_fails_its_run_and_the_queue_goes_on(
    queue: RunQueue, tmp_path: Path, dataset: Path, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.attempts.MAX_DEATHS", 1)
    for name, epochs in (("first", 1), ("middle", 1000), ("third", 1)):
        recipe = load_recipe(write_recipe(tmp_path, dataset, name, training={"epochs": epochs}, **QUICK_RUN))
        enqueue_recipe(queue, recipe)
    executor = _Watched()
    middle = RunDir(queue.runs_dir / "0002-middle")
    seconds: dict[str, float] = {}

    def kill_the_middle_one() -> None:
        if middle.run_id in executor.executions and steps_of(middle) and middle.run_id not in seconds:
            os.kill(executor.executions[middle.run_id].pid, signal.SIGKILL)
            seconds[middle.run_id] = time.monotonic()

    lock = supervisor_lock(queue.runs_dir)
    assert lock.acquire()
    supervise(queue, executor, lock, StopRequest(), Observer(on_tick=kill_the_middle_one))
    rows = queue.rows()
    assert [row.state for row in rows] == ["finished", "failed", "finished"]
    assert rows[1].cause == "killed by signal 9"
    assert "killed by signal 9 (SIGKILL)" in rows[1].reason
    third = RunDir(queue.runs_dir / "0003-third")
    assert len(steps_of(third)) == 3
    assert all(RunDir(queue.runs_dir / row.run).loss_curve.stat().st_size > 5000 for row in (rows[0], rows[2]))
    # The limit between two runs; it takes about four seconds on an idle machine.
    begun = steps_of(third)[0].time - (time.time() - time.monotonic())
    assert begun - seconds[middle.run_id] < 60


def test_a_worker_whose_supervisor_is_killed_saves_and_the_next_one_goes_on(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path, dataset, training={"epochs": 25}, **QUICK_RUN)
    engine = start_engine(tmp_path, "run", "--no-rehearsal", str(recipe))
    run_dir = RunDir(tmp_path / "runs" / "0001-tiny")
    wait_for(lambda: len(steps_of(run_dir)) >= 2, 100, lambda: engine.output)
    engine.process.kill()
    engine.wait()
    wait_for(lambda: not is_locked(run_dir.worker_lock), 20, run_dir.worker_log.read_text)
    [ended] = [event for event in events_of(run_dir) if isinstance(event, RunEnded)]
    assert (ended.outcome, "everything saved" in ended.reason) == ("stopped", True)
    before = [(event.step, event.loss) for event in steps_of(run_dir)]
    assert 2 <= len(before) < 75

    again = start_engine(tmp_path, "run")
    assert again.wait() == 0, again.output
    assert "interrupted with its supervisor" in again.output
    after = [(event.step, event.loss) for event in steps_of(run_dir)]
    assert [step for step, _ in after] == list(range(75))
    assert after[: len(before)] == before
    assert _only_row(tmp_path / "runs").attempt == 2


def _only_row(runs_dir: Path) -> QueueRow:
    queue = RunQueue(runs_dir)
    [row] = queue.rows()
    queue.close()
    return row


@pytest.mark.slow
def test_a_second_worker_on_the_same_run_is_turned_away(tmp_path: Path, environment: None) -> None:
    run_dir = RunDir(tmp_path)
    lock = FileLock(run_dir.worker_lock)
    assert lock.acquire()
    execution = LocalExecutor().start(run_dir, 1)
    code: int | None = None

    def ended() -> bool:
        nonlocal code
        code = execution.poll()
        return code is not None

    wait_for(ended, 60)
    lock.release()
    assert code == 73
    assert not run_dir.events.exists()


@pytest.mark.parametrize(
    ("error", "cause", "words"),
    [
        pytest.param(Diverged(()), "diverged", "", id="diverged"),
        pytest.param(DataError.of("D109", "a.jpg", "broken", "replace it"), "data error", "a.jpg", id="data"),
        pytest.param(EngineError(()), "error", "", id="any other of ours"),
        pytest.param(MemoryError(), "out of memory", "training.batch_size", id="out of memory"),
        pytest.param(torch.OutOfMemoryError("CUDA"), "out of memory", "training.batch_size", id="GPU out of memory"),
        pytest.param(
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory",
            "training.batch_size", id="CPU allocator",
        ),
        pytest.param(OSError(errno.ENOSPC, "No space left"), "disk full", "free some space", id="disk full"),
        pytest.param(OSError(errno.EACCES, "denied"), "error", "PermissionError", id="another OS error"),
        pytest.param(ValueError("first line\nsecond"), "error", "ValueError: first line (", id="unforeseen"),
        pytest.param(ValueError(), "error", "worker.log", id="unforeseen and wordless"),
    ],
)
def test_a_failure_is_explained(error: Exception, cause: str, words: str) -> None:
    found = explain_failure(error)
    assert found[0] == cause
    assert words in found[1]


def test_a_worker_started_ahead_trains_as_one_started_for_its_run(
    tmp_path: Path, dataset: Path, environment: None
) -> None:
    recipe = load_recipe(write_recipe(tmp_path, dataset, training={"epochs": 1}, **QUICK_RUN))
    afresh, ahead = (fill_run_dir(RunDir(tmp_path / name), recipe) for name in ("0001-tiny", "0002-tiny"))
    executor = LocalExecutor()
    executor.prepare(ahead)
    standby = executor._standby
    assert standby is not None
    told: dict[str, int] = {}
    for run_dir in (ahead, afresh):
        execution = executor.start(run_dir, 1)
        if run_dir is ahead:
            assert execution.pid == standby.pid

        def ended(run_dir: RunDir = run_dir, execution: LocalExecution = execution) -> bool:
            code = execution.poll()
            told.update({} if code is None else {run_dir.run_id: code})
            return code is not None

        wait_for(ended, 100, run_dir.worker_log.read_text)
    assert told == {"0001-tiny": 0, "0002-tiny": 0}
    assert [event.loss for event in steps_of(ahead)] == [event.loss for event in steps_of(afresh)]
    assert "memory allocator" in ahead.worker_log.read_text()
    assert not is_locked(ahead.worker_lock)

"""The supervisor with made-up workers: order, ends, stops, and what an earlier supervisor left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import pytest

from engine import supervisor
from engine.events import Event, EventLog, RunEnded
from engine.executors import WHOLE_MACHINE, Place
from engine.executors.local import Leftover, LocalExecutor
from engine.rundir import EXIT_FAILED, EXIT_FINISHED, EXIT_STOPPED, RunDir, is_locked
from engine.runqueue import Choose, QueueRow, RunQueue
from engine.supervisor import Observer, StopRequest, supervise, supervisor_lock
from tests.builders import new_run, process_environment, started

FINISHED = RunEnded(outcome="finished", reason="", attempt=1)
DIVERGED = RunEnded(outcome="failed", reason="the loss is no longer a number", cause="diverged", attempt=1)
STOPPED = RunEnded(outcome="stopped", reason="stopped on request after step 3 of 9", attempt=1)


def write(run_dir: RunDir, *events: Event) -> None:
    with EventLog(run_dir.events) as log:
        for event in events:
            log.append(event)


@dataclass
class FakeExecution:
    """A worker that ends at its second look unless it is made to wait."""

    run_dir: RunDir
    attempt: int
    code: int
    waits: bool = False
    looks: int = 0
    asked: list[str] = field(default_factory=list)

    def poll(self) -> int | None:
        self.looks += 1
        if "kill" in self.asked:
            return -9
        if "stop" in self.asked and not self.waits:
            write(self.run_dir, started(attempt=self.attempt), msgspec.structs.replace(STOPPED, attempt=self.attempt))
            return EXIT_STOPPED
        return None if self.waits or self.looks < 2 else self.code

    def stop(self) -> None:
        self.asked.append("stop")

    def kill(self) -> None:
        self.asked.append("kill")


class FakeExecutor:
    """Starts fake workers; `plan` says by run what to write and with which code to end."""

    def __init__(self, plan: dict[str, tuple[tuple[Event, ...], int]] | None = None, *, waits: bool = False) -> None:
        self.plan, self.waits = plan or {}, waits
        self.executions: list[FakeExecution] = []
        self.places: list[Place] = []
        self.adoptable: dict[str, FakeExecution] = {}

    def start(self, run_dir: RunDir, attempt: int, place: Place = WHOLE_MACHINE) -> FakeExecution:
        self.places.append(place)
        planned, code = self.plan.get(run_dir.run_id, ((FINISHED,), EXIT_FINISHED))
        events = [
            msgspec.structs.replace(event, attempt=attempt) if isinstance(event, RunEnded) else event
            for event in planned
        ]
        write(run_dir, *((started(attempt=attempt), *events) if not self.waits else ()))
        self.executions.append(FakeExecution(run_dir, attempt, code, self.waits))
        return self.executions[-1]

    def adopt(self, run_dir: RunDir) -> FakeExecution | None:
        return self.adoptable.get(run_dir.run_id)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_POLL_S", 0.005)
    monkeypatch.setattr(supervisor, "_IDLE_POLL_S", 0.005)


@pytest.fixture(autouse=True)
def curves(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs whose curves were drawn, without the seconds that drawing takes."""
    drawn: list[str] = []

    def draw(run_dir: RunDir) -> list[object]:
        drawn.append(run_dir.run_id)
        return []

    monkeypatch.setattr(supervisor, "_draw_curves", draw)
    return drawn


def work(
    queue: RunQueue, executor: FakeExecutor, *, stop: StopRequest | None = None,
    on_tick: Callable[[], None] = lambda: None,
) -> tuple[list[QueueRow], list[str]]:
    """Supervise to the end; tells how runs ended and what was noted."""
    lock = supervisor_lock(queue.runs_dir)
    assert lock.acquire()
    ended: list[QueueRow] = []
    notes: list[str] = []
    observer = Observer(on_tick=on_tick, on_end=ended.append, on_note=notes.append)
    supervise(queue, executor, lock, stop or StopRequest(), observer)
    return ended, notes


def enqueue(queue: RunQueue, *names: str) -> None:
    queue.enqueue([new_run(name) for name in names])


def states(queue: RunQueue) -> list[str]:
    return [row.state for row in queue.rows()]


def test_an_empty_queue_ends_at_once_and_frees_the_lock(queue: RunQueue) -> None:
    assert work(queue, FakeExecutor()) == ([], [])
    lock = supervisor_lock(queue.runs_dir)
    assert lock.acquire()
    lock.release()


def test_runs_are_executed_in_order_and_their_curves_drawn(queue: RunQueue, curves: list[str]) -> None:
    enqueue(queue, "b", "a", "c")
    executor = FakeExecutor()
    ended, _ = work(queue, executor)
    assert [row.run for row in ended] == ["0001-b", "0002-a", "0003-c"] == curves
    assert [execution.attempt for execution in executor.executions] == [1, 1, 1]
    assert states(queue) == ["finished"] * 3


def test_a_failing_run_is_recorded_and_the_next_one_goes_on(queue: RunQueue) -> None:
    enqueue(queue, "a", "b", "c")
    ended, _ = work(queue, FakeExecutor({"0001-a": ((DIVERGED,), EXIT_FAILED), "0002-b": ((), -9)}))
    assert states(queue) == ["failed", "failed", "finished"]
    assert (ended[0].reason, ended[0].cause, ended[0].attempt) == ("the loss is no longer a number", "diverged", 1)
    assert ended[-2].cause == "killed by signal 9"


def test_a_run_added_meanwhile_is_executed_too(queue: RunQueue) -> None:
    enqueue(queue, "a")
    other = RunQueue(queue.runs_dir)

    def add() -> None:
        if len(other.rows()) == 1:
            enqueue(other, "late")

    work(queue, FakeExecutor(), on_tick=add)
    assert states(queue) == ["finished", "finished"]
    other.close()


def test_a_run_added_while_the_supervisor_finds_nothing_left_is_executed_too(
    queue: RunQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = queue.claim

    def claim_just_too_early(choose: Choose) -> QueueRow | None:
        row = claim(choose)
        if row is None and not queue.rows():
            enqueue(queue, "late")
        return row

    monkeypatch.setattr(queue, "claim", claim_just_too_early)
    work(queue, FakeExecutor())
    assert states(queue) == ["finished"]


def test_a_worker_that_cant_be_started_fails_its_run_only(queue: RunQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real curves too: the folder is gone for them as well
    monkeypatch.setattr(supervisor, "_POLL_S", 0.005)
    monkeypatch.setattr(supervisor, "_IDLE_POLL_S", 0.005)
    enqueue(queue, "a", "b")
    (queue.runs_dir / "0001-a").rmdir()

    class Refusing(FakeExecutor):
        def start(self, run_dir: RunDir, attempt: int, place: Place = WHOLE_MACHINE) -> FakeExecution:
            run_dir.worker_log.touch()
            return super().start(run_dir, attempt, place)

    work(queue, Refusing())
    assert states(queue) == ["failed", "finished"]
    assert "can't be started" in queue.rows()[0].reason


# --- stopping ---


def test_one_ctrl_c_saves_and_stops_and_leaves_the_rest_queued(queue: RunQueue) -> None:
    enqueue(queue, "a", "b")
    stop = StopRequest()
    executor = FakeExecutor(waits=True)

    def tick() -> None:
        if stop.level == 0:
            stop.raise_level()
        elif executor.executions[0].asked:
            assert queue.row("0001-a").state == "stopping"
            executor.executions[0].waits = False

    work(queue, executor, stop=stop, on_tick=tick)
    assert executor.executions[0].asked == ["stop"]
    assert states(queue) == ["queued", "queued"]
    assert queue.rows()[0].reason == STOPPED.reason


def test_a_second_ctrl_c_stops_at_once_and_the_run_can_go_on(queue: RunQueue) -> None:
    enqueue(queue, "a")
    stop = StopRequest()
    executor = FakeExecutor(waits=True)
    work(queue, executor, stop=stop, on_tick=stop.raise_level)
    assert executor.executions[0].asked[-1] == "kill"
    [row] = queue.rows()
    assert (row.state, row.reason) == ("queued", "stopped at once; goes on from its last checkpoint")
    ended, _ = work(queue, FakeExecutor())
    assert (ended[0].state, ended[0].attempt) == ("finished", 2)


def test_two_ctrl_c_between_two_looks_are_two(queue: RunQueue) -> None:
    enqueue(queue, "a")
    stop = StopRequest()
    executor = FakeExecutor(waits=True)

    def tick() -> None:
        stop.level = 2

    work(queue, executor, stop=stop, on_tick=tick)
    assert executor.executions[0].asked == ["kill"]


def test_a_stop_before_anything_was_claimed_starts_nothing(queue: RunQueue) -> None:
    enqueue(queue, "a")
    executor = FakeExecutor()
    work(queue, executor, stop=StopRequest(1))
    assert executor.executions == []
    assert states(queue) == ["queued"]


# --- what an earlier supervisor left ---


@pytest.mark.parametrize(
    ("events", "stopping", "state"),
    [
        pytest.param((), False, "finished", id="killed before its first word: executed again"),
        pytest.param((started(),), True, "finished", id="killed while stopping: executed again"),
        pytest.param((started(), STOPPED), False, "finished", id="saved by its lifeline: executed again"),
        pytest.param((started(), DIVERGED), False, "failed", id="had failed"),
        pytest.param((started(), FINISHED), False, "finished", id="had finished"),
    ],
)
def test_runs_in_flight_are_settled(queue: RunQueue, events: tuple[Event, ...], stopping: bool, state: str) -> None:
    enqueue(queue, "a")
    row = queue.claim()
    assert row is not None
    if stopping:
        queue.mark_stopping(row)
    write(RunDir(queue.runs_dir / "0001-a"), *events)
    executor = FakeExecutor()
    _, notes = work(queue, executor)
    assert states(queue) == [state]
    executed_again = not any(event in (FINISHED, DIVERGED) for event in events)
    assert [execution.attempt for execution in executor.executions] == ([2] if executed_again else [])
    assert len(notes) == executed_again


_HOLD = """
import sys, time
from pathlib import Path
from engine.rundir import FileLock
lock = FileLock(Path(sys.argv[1])); assert lock.acquire()
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


def test_a_worker_that_outlived_its_supervisor_is_waited_for(queue: RunQueue) -> None:
    enqueue(queue, "a")
    queue.claim()
    lock_path = RunDir(queue.runs_dir / "0001-a").worker_lock
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(lock_path), "0.5"], stdout=subprocess.PIPE, env=process_environment()
    )
    assert process.stdout is not None
    process.stdout.readline()

    class Watching(FakeExecutor):
        def start(self, run_dir: RunDir, attempt: int, place: Place = WHOLE_MACHINE) -> FakeExecution:
            assert not is_locked(run_dir.worker_lock)
            return super().start(run_dir, attempt, place)

        def adopt(self, run_dir: RunDir) -> Leftover | None:  # type: ignore[override]
            return LocalExecutor().adopt(run_dir)

    _, notes = work(queue, Watching())
    process.wait()
    process.stdout.close()
    assert states(queue) == ["finished"]
    assert "outlived" in notes[0]

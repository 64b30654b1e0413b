"""The supervisor with made-up workers: order, ends, stops, and what an earlier supervisor left."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import msgspec
import pytest

from engine import control, supervisor
from engine.events import Event, EventLog, RunEnded
from engine.executors import UNSEEN, WHOLE_MACHINE, Place
from engine.executors.local import Leftover, LocalExecutor
from engine.queuefile import QueueUnavailable
from engine.rundir import EXIT_FAILED, EXIT_FINISHED, EXIT_STOPPED, RunDir, is_locked, write_bytes_atomic
from engine.runqueue import Asked, Choose, QueueRow, RunQueue
from engine.steward import FirstComeSteward, Parking
from engine.supervisor import Observer, StopRequest, supervise, supervisor_lock
from engine.verdict import MAX_DEATHS
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
        self.ahead: list[tuple[str, Place]] = []
        self.num_discarded = 0

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

    def prepare(self, run_dir: RunDir, place: Place = WHOLE_MACHINE) -> None:
        self.ahead.append((run_dir.run_id, place))

    def discard(self) -> None:
        self.num_discarded += 1

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


@pytest.mark.parametrize("events", [(started(),), (started(), FINISHED)], ids=["no word", "finished"])
def test_what_an_executor_adopts_is_judged_once_nothing_of_it_lives(queue: RunQueue, events: tuple[Event, ...]) -> None:
    enqueue(queue, "a", "b")
    queue.claim()
    run_dir = RunDir(queue.runs_dir / "0001-a")
    write(run_dir, *events)
    executor = FakeExecutor()
    executor.adoptable["0001-a"] = leftover = FakeExecution(run_dir, 1, UNSEEN, waits=True)

    def tick() -> None:
        assert not executor.executions or not leftover.waits, "started while a leftover may hold the memory"
        leftover.waits = leftover.looks < 10

    work(queue, executor, on_tick=tick)
    assert states(queue) == ["finished", "finished"]
    assert [execution.attempt for execution in executor.executions] == ([1] if FINISHED in events else [2, 1])


def test_leftovers_of_a_lost_queue_are_waited_for_too(queue: RunQueue) -> None:
    """The queue was rebuilt and calls the run queued; its worker may still be ending."""
    enqueue(queue, "a")
    run_dir = RunDir(queue.runs_dir / "0001-a")
    run_dir.execution.write_text("{}")
    executor = FakeExecutor()
    executor.adoptable["0001-a"] = leftover = FakeExecution(run_dir, 1, UNSEEN, waits=True)
    order: list[str] = []

    def tick() -> None:
        order.extend(["started"] if executor.executions else [])
        if leftover.looks > 5:
            leftover.waits = False
            order.append("gone")

    work(queue, executor, on_tick=tick)
    assert states(queue) == ["finished"]
    assert order[0] == "gone"


# --- workers that keep dying ---


def test_a_worker_that_keeps_dying_is_tried_so_often_then_the_next_run_starts(queue: RunQueue) -> None:
    enqueue(queue, "a", "b")
    ended, _ = work(queue, FakeExecutor({"0001-a": ((), -11)}))
    assert states(queue) == ["failed", "finished"]
    assert [row.attempt for row in ended] == [*range(1, MAX_DEATHS + 1), 1]
    assert {row.state for row in ended[: MAX_DEATHS - 1]} == {"queued"}
    assert ended[MAX_DEATHS - 1].cause == "killed by signal 11"
    assert f"{MAX_DEATHS} times in a row" in ended[MAX_DEATHS - 1].reason


def test_a_worker_that_dies_but_gets_further_is_started_again_and_again(queue: RunQueue) -> None:
    enqueue(queue, "a")
    checkpoint = RunDir(queue.runs_dir / "0001-a").last_checkpoint

    class GettingFurther(FakeExecutor):
        def start(self, run_dir: RunDir, attempt: int, place: Place = WHOLE_MACHINE) -> FakeExecution:
            self.plan["0001-a"] = ((), -9) if attempt < 3 * MAX_DEATHS else ((FINISHED,), EXIT_FINISHED)
            execution = super().start(run_dir, attempt, place)
            if attempt % (MAX_DEATHS - 1) == 0:
                write_bytes_atomic(checkpoint, b"further")
            return execution

    work(queue, GettingFurther())
    assert states(queue) == ["finished"]


def test_a_named_failure_isnt_tried_again_unless_the_recipe_says_so(queue: RunQueue) -> None:
    queue.enqueue([new_run("a"), replace(new_run("b"), retries=2)])
    executor = FakeExecutor(dict.fromkeys(("0001-a", "0002-b"), ((DIVERGED,), EXIT_FAILED)))
    work(queue, executor)
    assert states(queue) == ["failed", "failed"]
    assert [execution.run_dir.run_id for execution in executor.executions] == ["0001-a", *["0002-b"] * 3]


def test_a_machine_that_refuses_processes_for_now_is_asked_again(queue: RunQueue) -> None:
    enqueue(queue, "a")

    class Refusing(FakeExecutor):
        def start(self, run_dir: RunDir, attempt: int, place: Place = WHOLE_MACHINE) -> FakeExecution:
            if attempt < 3:
                raise OSError(errno.EAGAIN, "no more processes")
            return super().start(run_dir, attempt, place)

    ended, _ = work(queue, Refusing())
    assert states(queue) == ["finished"]
    assert "no more processes" in ended[0].reason


# --- several at once ---


def test_as_many_runs_as_places_go_side_by_side(queue: RunQueue) -> None:
    enqueue(queue, *"abcde")
    places = (Place("cuda:0", 2), Place("cuda:1", 2))
    executor = FakeExecutor()
    most = 0

    def tick() -> None:
        nonlocal most
        at_work = queue.rows_in("running")
        most = max(most, len(at_work))
        assert len({row.device for row in at_work}) == len(at_work)

    lock = supervisor_lock(queue.runs_dir)
    assert lock.acquire()
    supervise(queue, executor, lock, StopRequest(), Observer(on_tick=tick), places=places)
    assert states(queue) == ["finished"] * 5
    assert most == 2
    assert set(executor.places) == set(places)
    assert {row.device for row in queue.rows()} == {""}


def test_a_stop_reaches_all_of_them(queue: RunQueue) -> None:
    enqueue(queue, *"abc")
    executor, stop = FakeExecutor(waits=True), StopRequest()

    def tick() -> None:
        if len(executor.executions) == 2:
            stop.level = 1
            for execution in executor.executions:
                execution.waits = not execution.asked

    lock = supervisor_lock(queue.runs_dir)
    assert lock.acquire()
    supervise(queue, executor, lock, stop, Observer(on_tick=tick), places=(Place("cpu", 1), Place("cpu", 1)))
    assert [execution.asked for execution in executor.executions] == [["stop"], ["stop"]]
    assert states(queue) == ["queued"] * 3


# --- what others ask ---


@pytest.mark.parametrize(
    ("how", "asked", "state"),
    [
        ("stop", "stop", "held"), ("put back", "stop", "finished"), ("kill", "kill", "held"),
        ("cancel", "stop", "cancelled"),
    ],
)
def test_a_request_in_the_queue_reaches_its_run_only(queue: RunQueue, how: Asked, asked: str, state: str) -> None:
    enqueue(queue, "a", "b")
    executor = FakeExecutor(waits=True)

    def tick() -> None:
        first, *others = executor.executions
        first.waits = not first.asked
        for execution in others:
            if execution.waits:
                execution.waits = False
                write(execution.run_dir, msgspec.structs.replace(FINISHED, attempt=execution.attempt))
        for row in queue.rows_in("running"):
            if (row.run, row.attempt, row.asked) == ("0001-a", 1, ""):
                queue.change(row, row.state, asked=how)  # as `control` does, from another process

    work(queue, executor, on_tick=tick)
    assert executor.executions[0].asked == [asked]
    assert all(not execution.asked for execution in executor.executions[1:])
    assert states(queue) == [state, "finished"]


class Parking1(FirstComeSteward):
    """Parks the first attempt of a run, once."""

    def park(self, row: QueueRow) -> Parking | None:
        return Parking("it is morning", not_before=1.0) if row.attempt == 1 and row.run == "0001-a" else None


def test_a_run_that_has_to_make_room_is_saved_and_parked(queue: RunQueue) -> None:
    enqueue(queue, "a")
    executor = FakeExecutor(waits=True)
    seen: list[tuple[str, str, float | None]] = []

    def tick() -> None:
        for execution in executor.executions:
            if execution.attempt == 1:
                execution.waits = not execution.asked
            elif execution.waits:
                execution.waits = False
                write(execution.run_dir, msgspec.structs.replace(FINISHED, attempt=2))

    def end(row: QueueRow) -> None:
        seen.append((row.state, row.reason, row.not_before))

    lock = supervisor_lock(queue.runs_dir)
    assert lock.acquire()
    supervise(queue, executor, lock, StopRequest(), Observer(on_tick=tick, on_end=end), steward=Parking1())
    assert seen[0] == ("queued", "it is morning", 1.0)
    assert states(queue) == ["finished"]


# --- a queue that can't be written ---


def test_an_end_that_cant_be_recorded_for_now_is_recorded_later(
    queue: RunQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_UNAVAILABLE_POLL_S", 0.005)
    enqueue(queue, "a", "b")
    finish, refusals = queue.finish, 5

    def full_disk(*arguments: object) -> QueueRow:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise QueueUnavailable.of("Q101", "queue.db", "the disk is full", "free some space")
        return finish(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(queue, "finish", full_disk)
    executor = FakeExecutor()
    _, notes = work(queue, executor)
    assert states(queue) == ["finished", "finished"]
    assert len(executor.executions) == 2
    assert sum("the disk is full" in note for note in notes) == 1


def test_a_stop_while_nothing_can_be_recorded_still_ends(queue: RunQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_UNAVAILABLE_POLL_S", 0.005)
    enqueue(queue, "a")
    stop = StopRequest()

    def full_disk(*_: object) -> QueueRow:
        stop.level = 1
        raise QueueUnavailable.of("Q101", "queue.db", "the disk is full", "free some space")

    with monkeypatch.context() as patch:
        patch.setattr(queue, "finish", full_disk)
        work(queue, FakeExecutor(), stop=stop)
    work(queue, FakeExecutor())  # the next one reads what the worker said
    assert states(queue) == ["finished"]
    assert queue.rows()[0].attempt == 1


def test_a_run_that_somebody_else_settled_is_let_go(queue: RunQueue) -> None:
    enqueue(queue, "a", "b")
    other = RunQueue(queue.runs_dir)

    def meddle() -> None:
        for row in other.rows_in("running"):
            if row.run == "0001-a":
                other.finish(row, "cancelled", "by somebody else")

    _, notes = work(queue, FakeExecutor(), on_tick=meddle)
    other.close()
    assert states(queue) == ["cancelled", "finished"]
    assert any("another process" in note for note in notes)


# --- ahead of a run ---


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look ahead as soon as a run is at work."""
    monkeypatch.setattr(supervisor, "_LOOK_AHEAD_AFTER_S", 0.0)


class _Slow(FakeExecutor):
    """Its workers end once their successors have been made ready for, or after many looks."""

    def start(self, run_dir: RunDir, attempt: int, place: Place = WHOLE_MACHINE) -> FakeExecution:
        execution = super().start(run_dir, attempt, place)
        execution.looks = -10
        return execution


def test_the_next_run_is_made_ready_for_and_the_last_one_has_none(queue: RunQueue, at_once: None) -> None:
    enqueue(queue, "a", "b", "c")
    executor = _Slow()
    work(queue, executor)
    assert list(dict.fromkeys(executor.ahead)) == [("0002-b", WHOLE_MACHINE), ("0003-c", WHOLE_MACHINE)]
    assert executor.num_discarded > 1  # while the last one was at work, and at the end


def test_nothing_is_made_ready_while_a_run_begins(queue: RunQueue) -> None:
    enqueue(queue, "a", "b")
    executor = _Slow()
    work(queue, executor)
    assert executor.ahead == []


@pytest.mark.parametrize("why", ["paused", "later", "held"])
def test_nothing_is_made_ready_for_what_may_not_start(queue: RunQueue, at_once: None, why: str) -> None:
    enqueue(queue, "a", "b")
    executor = _Slow()
    told: list[str] = []

    def tick() -> None:
        if not told and queue.rows()[0].state == "running":
            told.append(why)
            executor.ahead.clear()
            if why == "paused":
                queue.pause("for now")
            elif why == "held":
                control.hold(queue, queue.rows_in("queued"))
            else:
                queue._db.execute("UPDATE runs SET not_before = ? WHERE state = 'queued'", (time.time() + 1000,))
        elif queue.rows()[0].state != "running":
            stop.level = 1

    stop = StopRequest()
    work(queue, executor, stop=stop, on_tick=tick)
    assert told
    assert executor.ahead == []
    assert queue.first_due() is None


def test_what_was_made_ready_goes_when_the_queue_stops(queue: RunQueue, at_once: None) -> None:
    enqueue(queue, "a", "b")
    executor, stop = FakeExecutor(waits=True), StopRequest()
    order: list[str] = []

    def tick() -> None:
        if executor.ahead and not stop.level:
            stop.level = 1
            executor.num_discarded = 0
            executor.ahead.clear()
        elif stop.level:
            order.append("discarded" if executor.num_discarded else "not yet")
            executor.executions[0].waits = not executor.num_discarded

    work(queue, executor, stop=stop, on_tick=tick)
    assert order[-1] == "discarded"
    assert executor.ahead == []

"""The steward: the end of the night, hours in a row, the disk; and with a supervisor and made-up workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import supervisor
from engine.events import EventLog
from engine.executors import WHOLE_MACHINE, Place
from engine.night import NightSteward
from engine.rundir import EXIT_FINISHED, EXIT_STOPPED, RunDir
from engine.runqueue import NewRun, QueueRow, RunQueue
from engine.steward import Parking
from engine.supervisor import Observer, StopRequest, supervise, supervisor_lock
from tests.builders import measured, new_run, started, stepped

MB = 10**6
STATE = 100 * MB
LEAST = 3 * STATE + 200 * MB


class Clocks:
    """A wall clock and one of hours worked; a suspended or set clock moves the first only."""

    def __init__(self) -> None:
        self.now, self.worked_s, self.free = 1_800_000_000.0, 0.0, 10**12

    def pass_s(self, seconds: float) -> None:
        self.now += seconds
        self.worked_s += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def make_steward(queue: RunQueue, clocks: Clocks, until_s: float | None = None, places: int = 1) -> NightSteward:
    return NightSteward(
        queue, until=None if until_s is None else clocks.now + until_s, num_places=places,
        estimate=lambda _: STATE, wall=lambda: clocks.now, worked=lambda: clocks.worked_s,
        free_bytes=lambda _: clocks.free,
    )


def claim(queue: RunQueue, steward: NightSteward, at_work: list[QueueRow] | None = None) -> QueueRow | None:
    return queue.claim(lambda due: steward.choose(due, at_work or [], WHOLE_MACHINE))


def sure(row: QueueRow | None) -> QueueRow:
    assert row is not None
    return row


def progressed(queue: RunQueue, row: QueueRow, left_steps: int) -> None:
    """Write events of a run whose steps take 2 s and which has so many left; its evaluations take none."""
    with EventLog(RunDir(queue.runs_dir / row.run).events) as log:
        log.append(started(attempt=row.attempt, num_epochs=1, num_steps=left_steps + 1))
        log.append(stepped(0, epoch=0))
        log.append(measured(0, evaluate_s=0.0))


@pytest.fixture
def abc(queue: RunQueue) -> RunQueue:
    queue.enqueue([new_run(name) for name in "abc"])
    return queue


# --- without limits ---


def test_without_limits_the_first_run_starts_and_nothing_is_parked(abc: RunQueue, clocks: Clocks) -> None:
    steward = make_steward(abc, clocks)
    row = sure(claim(abc, steward))
    assert row.run == "0001-a"
    clocks.pass_s(1e6)
    assert steward.park(row) is None
    assert not steward.is_over()
    assert abc.until() is None


# --- the end of the night ---


def test_when_time_is_up_nothing_starts_and_all_is_saved(abc: RunQueue, clocks: Clocks) -> None:
    steward = make_steward(abc, clocks, until_s=3600)
    assert abc.until() == clocks.now + 3600
    row = sure(claim(abc, steward))
    assert steward.park(row) is None
    clocks.pass_s(3599)
    assert steward.park(row) is None
    assert claim(abc, steward) is None  # a second isn't worth a start
    clocks.pass_s(1)
    parking = steward.park(row)
    assert parking is not None
    assert parking.reason.startswith("saved when time was up at")
    assert parking.not_before is None  # the next `engine run` goes on at once
    assert not steward.is_over()
    abc.park(row, parking.reason, parking.not_before, parking.cause)
    assert steward.is_over()


def test_a_clock_set_back_gives_no_run_more_hours_but_a_later_end(abc: RunQueue, clocks: Clocks) -> None:
    steward = make_steward(abc, clocks, until_s=3600)
    row = sure(claim(abc, steward))
    clocks.pass_s(3000)
    clocks.now -= 86_400
    assert steward.park(row) is None
    assert not steward.is_over()


def test_a_run_that_wont_be_done_makes_room_for_one_that_will_and_has_what_is_left(
    abc: RunQueue, clocks: Clocks
) -> None:
    steward = make_steward(abc, clocks, until_s=3600)
    row = sure(claim(abc, steward))
    progressed(abc, row, left_steps=10_000)
    assert steward.park(row) is None  # of the others nothing is known, so nothing is gained
    short = abc.row("0002-b")
    abc.change(short, "queued", attempt=1)
    progressed(abc, abc.row("0002-b"), left_steps=100)
    clocks.pass_s(31)
    parking = steward.park(row)
    assert parking is not None
    assert "others that will be go first" in parking.reason
    row = abc.park(row, parking.reason, parking.not_before, parking.cause)
    assert (row.state, row.cause) == ("queued", "parked")
    assert sure(claim(abc, steward)).run == "0002-b"
    assert sure(claim(abc, steward)).run == "0003-c"  # unknown, so before the one that won't be done
    assert sure(claim(abc, steward)).run == "0001-a"


# --- hours in a row ---


def test_a_run_has_so_many_hours_and_goes_on_a_day_after_it_began(queue: RunQueue, clocks: Clocks) -> None:
    queue.enqueue([NewRun("a", "", "a", lambda _: None, max_hours=2.0)])
    steward = make_steward(queue, clocks)
    row = sure(claim(queue, steward))
    begun = clocks.now
    assert steward.park(row) is None
    clocks.pass_s(7199)
    assert steward.park(row) is None
    clocks.pass_s(1)
    assert steward.park(row) == Parking("had its 2 hours and makes room for others", begun + 86_400)


def test_a_suspended_machine_uses_up_no_hours(queue: RunQueue, clocks: Clocks) -> None:
    queue.enqueue([NewRun("a", "", "a", lambda _: None, max_hours=2.0)])
    steward = make_steward(queue, clocks)
    row = sure(claim(queue, steward))
    assert steward.park(row) is None
    clocks.now += 50_000  # the lid was closed
    assert steward.park(row) is None


def test_each_attempt_has_its_own_hours(queue: RunQueue, clocks: Clocks) -> None:
    queue.enqueue([NewRun("a", "", "a", lambda _: None, max_hours=1.0)])
    steward = make_steward(queue, clocks)
    row = sure(claim(queue, steward))
    steward.park(row)
    clocks.pass_s(4000)
    assert steward.park(row) is not None
    queue.park(row, "had its hour")
    again = sure(claim(queue, steward))
    assert steward.park(again) is None


# --- the disk ---


def test_a_run_without_room_waits_and_says_so_while_another_that_fits_goes_on(
    queue: RunQueue, clocks: Clocks
) -> None:
    queue.enqueue([new_run("large"), new_run("small")])
    sizes = {"0001-large": 1000 * MB, "0002-small": 10 * MB}
    steward = NightSteward(
        queue, estimate=lambda run_dir: sizes[run_dir.run_id], wall=lambda: clocks.now, worked=lambda: clocks.worked_s,
        free_bytes=lambda _: clocks.free,
    )
    clocks.free = 500 * MB
    assert sure(claim(queue, steward)).run == "0002-small"
    waiting = queue.row("0001-large")
    assert (waiting.state, waiting.cause) == ("queued", "no space")
    assert waiting.reason == "no space: it needs 6.2 GB free where runs are kept, 500 MB was"
    assert claim(queue, steward) is None
    assert not queue.close_when_empty(lambda: pytest.fail("it waits for space"))
    clocks.free = 7000 * MB
    row = sure(claim(queue, steward))
    assert (row.run, row.reason, row.cause) == ("0001-large", "", "")


def test_a_run_is_parked_before_the_disk_is_full_and_one_at_a_time(abc: RunQueue, clocks: Clocks) -> None:
    steward = make_steward(abc, clocks, places=2)
    first, second = sure(claim(abc, steward)), sure(claim(abc, steward))
    clocks.free = LEAST + STATE  # the other one has to be able to save as well
    assert steward.park(first) is None
    clocks.free -= 1
    parking = steward.park(first)
    assert parking is not None
    assert parking.cause == "no space"
    assert steward.park(second) is None
    abc.park(first, parking.reason, parking.not_before, parking.cause)
    clocks.pass_s(61)
    assert steward.park(second) is None  # alone it has enough
    clocks.free = LEAST - 1
    assert steward.park(second) is not None


def test_a_run_that_is_started_isnt_parked_at_once(abc: RunQueue, clocks: Clocks) -> None:
    steward = make_steward(abc, clocks)
    for clocks.free in range(0, 2000 * MB, 50 * MB):
        row = claim(abc, steward)
        if row is not None:
            assert steward.park(row) is None
            return
    pytest.fail("never started")


def test_a_checkpoint_that_is_there_tells_the_size(abc: RunQueue, clocks: Clocks) -> None:
    steward = make_steward(abc, clocks)
    row = sure(claim(abc, steward))
    path = RunDir(abc.runs_dir / row.run).last_checkpoint
    path.parent.mkdir()
    path.write_bytes(b"\0" * 1000)
    clocks.free = 200 * MB + 3000
    assert steward.park(row) is None
    clocks.free -= 1
    assert steward.park(row) is not None


def test_a_drive_that_doesnt_tell_refuses_nobody(abc: RunQueue) -> None:
    def no_answer(_: Path) -> int:
        raise OSError("unknown")

    steward = NightSteward(abc, free_bytes=no_answer)
    row = sure(claim(abc, steward))
    assert steward.park(row) is None


# --- with the supervisor ---


class Worker:
    """Ends by itself after so many looks, or once it is asked."""

    def __init__(self, looks: int) -> None:
        self.looks, self.asked = looks, False

    def poll(self) -> int | None:
        self.looks -= 1
        if self.asked:
            return EXIT_STOPPED
        return EXIT_FINISHED if self.looks <= 0 else None

    def stop(self) -> None:
        self.asked = True

    def kill(self) -> None:
        self.asked = True


def test_a_night_ends_on_time_and_the_next_goes_on(
    abc: RunQueue, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_POLL_S", 0.002)
    monkeypatch.setattr(supervisor, "_IDLE_POLL_S", 0.002)
    monkeypatch.setattr(supervisor, "_draw_curves", lambda _: [])

    class Executor:
        def start(self, run_dir: RunDir, attempt: int, place: Place = WHOLE_MACHINE) -> Worker:  # noqa: ARG002
            return Worker(10_000)

        def prepare(self, run_dir: RunDir, place: Place = WHOLE_MACHINE) -> None:
            pass

        def discard(self) -> None:
            pass

        def adopt(self, run_dir: RunDir) -> None:  # noqa: ARG002
            return None

    steward = make_steward(abc, clocks, until_s=3600)
    stop = StopRequest()
    ended: list[QueueRow] = []

    def on_tick() -> None:
        clocks.pass_s(60)
        if steward.is_over():
            stop.level = 1

    lock = supervisor_lock(abc.runs_dir)
    assert lock.acquire()
    supervise(abc, Executor(), lock, stop, Observer(on_tick=on_tick, on_end=ended.append), steward=steward)
    assert [(row.run, row.state, row.cause) for row in ended] == [("0001-a", "queued", "parked")]
    assert sure(abc.claim()).run == "0001-a"

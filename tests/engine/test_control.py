"""What a person may ask of runs and of the queue, and what becomes of it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import control
from engine.control import Change, Place, moved_to
from engine.errors import QueueError
from engine.events import EventLog, RunEnded
from engine.queuereader import read_queue, settle_orphans
from engine.rundir import SUPERVISOR_LOCK, FileLock, RunDir
from engine.runqueue import ALL_ASKED, Asked, NewRun, QueueRow, RunQueue, State
from tests.builders import new_run, process_environment, started


def make(run_dir: RunDir) -> None:
    run_dir.resolved.write_text(f'{{"of": "{run_dir.run_id}"}}')


@pytest.fixture
def runs(queue: RunQueue) -> list[QueueRow]:
    """Four queued runs: a, b, c, d."""
    return [row for row, _ in queue.enqueue([new_run(name, create=make) for name in "abcd"])]


@pytest.fixture
def supervised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else is at work on the queue."""
    monkeypatch.setattr("engine.control.is_locked", lambda path: path.name == SUPERVISOR_LOCK)


def claimed(queue: RunQueue) -> QueueRow:
    row = queue.claim()
    assert row is not None
    return row


def order(queue: RunQueue) -> str:
    return "".join(row.run[5:] for row in queue.rows_in("queued", "held"))


def only(changes: list[Change]) -> Change:
    [change] = changes
    return change


def code(change: Change) -> str:
    return "" if change.problem is None else change.problem.code


# --- hold and release ---


def test_a_held_run_isnt_started_until_it_is_released(queue: RunQueue, runs: list[QueueRow]) -> None:
    change = only(control.hold(queue, [runs[0]]))
    assert (change.run, code(change)) == ("0001-a", "")
    assert claimed(queue).run == "0002-b"
    assert queue.row("0001-a").reason == "held by hand"
    control.release(queue, [queue.row("0001-a")])
    assert (queue.row("0001-a").state, queue.row("0001-a").reason) == ("queued", "")
    assert claimed(queue).run == "0001-a"


def test_a_supervisor_may_end_while_runs_are_held(queue: RunQueue, runs: list[QueueRow]) -> None:
    control.hold(queue, runs)
    assert queue.close_when_empty(lambda: None)


def test_holding_twice_and_releasing_twice_is_fine(queue: RunQueue, runs: list[QueueRow]) -> None:
    control.hold(queue, [runs[0]])
    assert only(control.hold(queue, [queue.row("0001-a")])).words == "is held already"
    control.release(queue, [queue.row("0001-a")])
    assert only(control.release(queue, [queue.row("0001-a")])).words == "is queued already"


def test_release_lets_a_parked_and_a_postponed_run_start_at_once(queue: RunQueue, runs: list[QueueRow]) -> None:
    control.hold(queue, runs[1:])
    parked = queue.park(claimed(queue), "had its 8 hours", not_before=4e9)
    assert (parked.state, parked.cause, parked.not_before) == ("queued", "parked", 4e9)
    assert queue.claim() is None
    control.release(queue, [parked])
    assert claimed(queue).run == "0001-a"


@pytest.mark.parametrize("state", ["finished", "failed", "cancelled"])
@pytest.mark.parametrize("action", [control.hold, control.release, control.stop, control.cancel])
def test_what_is_over_can_neither_be_held_nor_stopped(
    queue: RunQueue, runs: list[QueueRow], state: State,
    action: Callable[[RunQueue, list[QueueRow]], list[Change]],
) -> None:
    row = queue.finish(claimed(queue), state)
    change = only(action(queue, [row]))
    assert code(change) == "Q108"
    assert queue.row(row.run) == row


def test_one_refusal_keeps_none_of_the_others_from_it(queue: RunQueue, runs: list[QueueRow]) -> None:
    done = queue.finish(claimed(queue), "finished")
    changes = control.hold(queue, [runs[1], done, runs[2]])
    assert [code(change) for change in changes] == ["", "Q108", ""]
    assert [row.state for row in queue.rows()] == ["finished", "held", "held", "queued"]


def test_a_row_that_changed_meanwhile_is_refused_and_the_others_go_on(queue: RunQueue, runs: list[QueueRow]) -> None:
    claimed(queue)  # 0001-a is at work now; `runs` still says queued
    changes = control.hold(queue, runs)
    assert [code(change) for change in changes] == ["Q104", "", "", ""]
    assert queue.row("0001-a").state == "running"


# --- stop, kill, cancel of runs at work ---


@pytest.mark.parametrize(
    ("asked", "state"),
    [("stop", "held"), ("stop after epoch", "held"), ("kill", "held"), ("put back", "queued"), ("cancel", "cancelled")],
)
def test_what_was_asked_decides_what_becomes_of_a_run(
    queue: RunQueue, runs: list[QueueRow], supervised: None, asked: Asked, state: State
) -> None:
    row = claimed(queue)
    changes = control.cancel(queue, [row]) if asked == "cancel" else control.stop(queue, [row], asked)
    assert code(only(changes)) == ""
    assert [(one.run, one.asked) for one in queue.requests()] == [(row.run, asked)]
    # The supervisor passes it on; its own row is older than the request.
    ended = queue.finish(queue.mark_stopping(row), "queued", "saved after step 7")
    assert (ended.state, ended.asked) == (state, "")
    assert "saved after step 7" in ended.reason
    assert (ended.ended_at is not None) == (state == "cancelled")
    assert queue.requests() == []
    assert claimed(queue).run == ("0001-a" if state == "queued" else "0002-b")


@pytest.mark.parametrize("asked", [asked for asked in ALL_ASKED if asked])
def test_a_run_that_finished_all_the_same_is_finished(
    queue: RunQueue, runs: list[QueueRow], supervised: None, asked: Asked
) -> None:
    row = claimed(queue)
    queue.change(row, "running", asked=asked)
    assert queue.finish(row, "finished", "done").state == "finished"


def test_a_failure_with_tries_left_isnt_tried_again_when_a_stop_was_asked(queue: RunQueue, supervised: None) -> None:
    queue.enqueue([NewRun("a", "", "a", make, retries=2)])
    row = claimed(queue)
    control.stop(queue, [row])
    ended = queue.fail(row, "the loss is no longer a number", "diverged")
    assert (ended.state, ended.retries_left, ended.cause) == ("held", 1, "diverged")


def test_a_stop_after_the_epoch_leaves_a_mark_that_release_and_the_next_start_take_away(
    queue: RunQueue, runs: list[QueueRow], supervised: None
) -> None:
    row = claimed(queue)
    mark = RunDir(queue.runs_dir / row.run).stop_after_epoch
    control.stop(queue, [row], "stop after epoch")
    assert mark.exists()
    assert only(control.release(queue, [queue.row(row.run)])).words == "goes on after this epoch"
    assert (mark.exists(), queue.row(row.run).asked) == (False, "")
    control.stop(queue, [queue.row(row.run)], "stop after epoch")
    queue.finish(row, "queued", "killed before it could")
    control.release(queue, queue.rows_in("held"))
    assert claimed(queue).run == row.run
    assert not mark.exists()


def test_a_waiting_run_is_cancelled_at_once_and_can_be_retried(queue: RunQueue, runs: list[QueueRow]) -> None:
    control.hold(queue, [runs[1]])
    changes = control.cancel(queue, [runs[0], queue.row("0002-b")])
    assert [code(change) for change in changes] == ["", ""]
    assert [row.state for row in queue.rows()] == ["cancelled", "cancelled", "queued", "queued"]
    control.retry(queue, queue.rows_in("cancelled"))
    assert order(queue) == "abcd"


@pytest.mark.parametrize(("asked", "state"), [("stop", "held"), ("put back", "queued"), ("kill", "held")])
def test_a_run_left_behind_is_settled_where_nobody_lives_to_hear(
    queue: RunQueue, runs: list[QueueRow], asked: Asked, state: State
) -> None:
    change = only(control.stop(queue, [claimed(queue)], asked))
    assert "left behind" in change.words
    assert queue.row(change.run).state == state


def test_a_run_left_behind_that_had_finished_is_finished(queue: RunQueue, runs: list[QueueRow]) -> None:
    row = claimed(queue)
    with EventLog(RunDir(queue.runs_dir / row.run).events) as events:
        events.append(started())
        events.append(RunEnded(outcome="finished", reason="", attempt=1))
    assert "is finished now" in only(control.cancel(queue, [row])).words


def test_a_run_left_behind_is_shown_as_what_was_asked(queue: RunQueue, runs: list[QueueRow], supervised: None) -> None:
    row = claimed(queue)
    control.stop(queue, [row])
    shown = settle_orphans(read_queue(queue.runs_dir).rows, queue.runs_dir)[row.run]
    assert (shown.state, shown.asked) == ("held", "")


# --- the order ---


@pytest.mark.parametrize(
    ("runs_moved", "place", "beside", "expected"),
    [
        ("d", "first", "", "dabc"), ("a", "last", "", "bcda"), ("d", "before", "b", "adbc"),
        ("a", "after", "c", "bcad"), ("cb", "first", "", "cbad"), ("dca", "after", "b", "bdca"),
        ("a", "first", "", "abcd"), ("abcd", "last", "", "abcd"), ("b", "before", "a", "bacd"),
        ("a", "before", "b", "abcd"),
    ],
)
def test_runs_are_moved(
    queue: RunQueue, runs: list[QueueRow], runs_moved: str, place: Place, beside: str, expected: str
) -> None:
    by_name = {row.run[5:]: row for row in runs}
    control.move(queue, [by_name[name] for name in runs_moved], place, by_name[beside] if beside else None)
    assert order(queue) == expected
    assert "".join(claimed(queue).run[5:] for _ in range(4)) == expected


def test_a_moved_run_takes_on_the_priority_that_its_place_needs(queue: RunQueue, runs: list[QueueRow]) -> None:
    control.set_priority(queue, runs[:2], 5)
    assert order(queue) == "abcd"
    control.move(queue, [queue.row("0004-d")], "first")
    assert (order(queue), queue.row("0004-d").priority) == ("dabc", 5)
    control.move(queue, [queue.row("0001-a")], "last")
    assert (order(queue), queue.row("0001-a").priority) == ("dbca", 0)
    control.move(queue, [queue.row("0004-d")], "after", queue.row("0003-c"))
    assert (order(queue), queue.row("0004-d").priority) == ("bcda", 0)


def test_new_runs_come_last_also_behind_moved_ones(queue: RunQueue, runs: list[QueueRow]) -> None:
    control.move(queue, [runs[0]], "last")
    queue.enqueue([new_run("e", create=make)])
    assert order(queue) == "bcdae"


def test_a_run_at_work_has_no_place(queue: RunQueue, runs: list[QueueRow]) -> None:
    row = claimed(queue)
    assert [code(change) for change in control.move(queue, [row, runs[3]], "first")] == ["Q108", ""]
    assert code(only(control.set_priority(queue, [row], 3))) == "Q108"
    with pytest.raises(QueueError, match="doesn't wait"):
        control.move(queue, [runs[1]], "before", row)
    with pytest.raises(QueueError, match="beside itself"):
        control.move(queue, [runs[1]], "before", runs[1])
    assert order(queue) == "dbc"


def _row(number: int, priority: int) -> QueueRow:
    return QueueRow(f"{number:04d}-a", number, "", "", "queued", 0, "", "", 0.0, None, None, priority=priority)


@given(
    priorities=st.lists(st.integers(-3, 3), min_size=1, max_size=8), data=st.data(),
    place=st.sampled_from(["first", "last", "before", "after"]),
)
def test_any_move_gives_an_order_that_the_queue_keeps(priorities: list[int], data: st.DataObject, place: Place) -> None:
    waiting = [_row(number, priority) for number, priority in enumerate(sorted(priorities, reverse=True))]
    moved = data.draw(st.lists(st.sampled_from(waiting), unique=True, max_size=len(waiting)))
    others = [row for row in waiting if row not in moved]
    beside = None
    if place in ("before", "after"):
        if not others:
            return
        beside = data.draw(st.sampled_from(others))
    after = moved_to(waiting, [row.run for row in moved], place, beside)
    assert sorted(row.run for row in after) == sorted(row.run for row in waiting)
    # The queue sorts by priority first: the order must be its own.
    assert all(first.priority >= second.priority for first, second in itertools.pairwise(after))
    names = [row.run for row in after]
    assert [name for name in names if name in {row.run for row in moved}] == [row.run for row in moved]
    assert [row for row in after if row in others] == others  # those that stay are untouched
    if moved and beside is None:
        assert names[: len(moved)] == [row.run for row in moved] or place == "last"
    if moved and beside is not None:
        at = names.index(beside.run)
        assert names[at + 1 if place == "after" else at - 1] == moved[0 if place == "after" else -1].run


# --- retry, remove ---


def test_a_retried_run_starts_afresh_in_what_is_counted(queue: RunQueue, runs: list[QueueRow]) -> None:
    row = claimed(queue)
    for _ in range(2):
        row = queue.interrupted(row, "killed by signal 9", "killed", limit=3)
        assert row.state == "queued"
        row = claimed(queue)
    row = queue.interrupted(row, "killed by signal 9", "killed", limit=3)
    assert (row.state, row.cause, row.interruptions) == ("failed", "killed", 3)
    assert "3 times in a row" in row.reason
    control.retry(queue, [row])
    again = queue.row(row.run)
    assert (again.state, again.interruptions, again.ended_at, again.figures) == ("queued", 0, None, "")


def test_a_removed_run_is_out_of_every_list_and_its_folder_is_kept(queue: RunQueue, runs: list[QueueRow]) -> None:
    row = queue.finish(claimed(queue), "finished")
    RunDir(queue.runs_dir / row.run).best_checkpoint.parent.mkdir()
    RunDir(queue.runs_dir / row.run).best_checkpoint.write_bytes(b"weights")
    change = only(control.remove(queue, [row]))
    kept = queue.runs_dir / "removed" / "0001-a"
    assert str(kept) in change.words
    assert RunDir(kept).best_checkpoint.read_bytes() == b"weights"
    assert [one.run for one in queue.rows()] == ["0002-b", "0003-c", "0004-d"]
    queue.close()
    (queue.runs_dir / "queue.db").write_bytes(b"rubbish")
    again = RunQueue(queue.runs_dir)
    assert [one.run for one in again.rows()] == ["0002-b", "0003-c", "0004-d"]
    again.close()


def test_a_removed_runs_number_isnt_used_again(queue: RunQueue, runs: list[QueueRow]) -> None:
    control.remove(queue, [runs[3]])
    assert [row.run for row, _ in queue.enqueue([new_run("e", create=make)])] == ["0005-e"]


def test_a_removed_run_comes_back_held_or_as_it_ended(queue: RunQueue, runs: list[QueueRow]) -> None:
    row = claimed(queue)
    with EventLog(RunDir(queue.runs_dir / row.run).events) as events:
        events.append(started())
        events.append(RunEnded(outcome="finished", reason="", attempt=1))
    control.remove(queue, [queue.finish(row, "finished"), runs[1]])
    changes = control.bring_back(queue, ["0001-a", "0002-b", "0009-x", "../0001-a", ""])
    assert [code(change) for change in changes] == ["", "", "Q110", "Q110", "Q110"]
    assert [(one.run, one.state) for one in queue.rows()[:2]] == [("0001-a", "finished"), ("0002-b", "held")]


def test_a_run_at_work_cant_be_removed(queue: RunQueue, runs: list[QueueRow]) -> None:
    row = claimed(queue)
    assert code(only(control.remove(queue, [row]))) == "Q108"
    assert (queue.runs_dir / row.run).is_dir()


def test_a_run_without_a_folder_can_be_removed(queue: RunQueue, runs: list[QueueRow]) -> None:
    RunDir(queue.runs_dir / "0001-a").resolved.unlink()
    (queue.runs_dir / "0001-a").rmdir()
    assert only(control.remove(queue, [runs[0]])).words == "is removed; it had no folder"


# --- the queue as a whole ---


def test_a_paused_queue_starts_nothing_and_keeps_its_supervisor(queue: RunQueue, runs: list[QueueRow]) -> None:
    control.pause(queue, "the GPU is needed")
    assert queue.claim() is None
    assert not queue.close_when_empty(lambda: pytest.fail("must not let go"))
    assert read_queue(queue.runs_dir).paused == "the GPU is needed"
    other = RunQueue(queue.runs_dir)
    assert other.is_paused()
    other.unpause()
    other.close()
    assert claimed(queue).run == "0001-a"


def test_pause_with_stop_puts_runs_at_work_back(queue: RunQueue, runs: list[QueueRow], supervised: None) -> None:
    row = claimed(queue)
    assert [change.run for change in control.pause(queue, put_back=True)] == [row.run]
    assert queue.finish(row, "queued", "saved").state == "queued"
    assert queue.claim() is None
    queue.unpause()
    assert claimed(queue).run == row.run


def test_until_is_kept_for_who_comes_after(queue: RunQueue) -> None:
    assert queue.until() is None
    queue.set_until(1234.5)
    assert read_queue(queue.runs_dir).until == 1234.5
    queue.set_until(None)
    assert queue.until() is None


def test_many_changes_are_one_transaction(queue: RunQueue, runs: list[QueueRow]) -> None:
    other = RunQueue(queue.runs_dir)
    with queue.together():
        control.hold(queue, runs[:2])
        assert other.row("0001-a").state == "queued"
    assert other.row("0001-a").state == "held"

    def fail_halfway() -> None:
        with queue.together():
            control.hold(queue, runs[2:])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert [row.state for row in other.rows()] == ["held", "held", "queued", "queued"]
    other.close()


def test_a_folder_that_isnt_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(QueueError, match="no runs folder"), control.opened(tmp_path / "nowhere"):
        pass
    assert not (tmp_path / "nowhere").exists()


# --- between processes ---

_FIGHT = """
import sys
from pathlib import Path
from engine import control
from engine.runqueue import RunQueue
queue = RunQueue(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
won = 0
for _ in range(30):
    if sys.argv[2] == "supervisor":
        row = queue.claim()
        if row is not None:
            won += 1
            queue.finish(row, "queued", "put back")
    else:
        rows = queue.rows()
        for action in (control.hold, control.release):
            won += sum(change.problem is None for change in action(queue, rows))
        control.move(queue, queue.rows()[:2], "last")
print(won)
"""


def test_processes_that_change_the_same_runs_at_once_leave_a_sound_queue(
    queue: RunQueue, runs: list[QueueRow]
) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _FIGHT, str(queue.runs_dir), role], env=process_environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for role in ("supervisor", "person", "person")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outputs = [process.communicate("go\n", timeout=100)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert all(int(output) > 0 for output in outputs[1:])
    rows = queue.rows()
    assert [row.run for row in rows] == [row.run for row in runs]
    assert {row.state for row in rows} <= {"queued", "held"}
    assert sorted(row.position for row in rows) == [1.0, 2.0, 3.0, 4.0]


def test_a_decision_is_noted_beside_the_run_as_long_as_it_holds(queue: RunQueue, runs: list[QueueRow]) -> None:
    note = RunDir(queue.runs_dir / "0001-a").decision
    control.hold(queue, [runs[0]])
    assert json.loads(note.read_text()) == {"state": "held", "reason": "held by hand"}
    control.release(queue, [queue.row("0001-a")])
    assert not note.exists()


def test_the_rows_a_person_saw_are_never_needed_to_be_fresh(queue: RunQueue, runs: list[QueueRow]) -> None:
    stale = replace(runs[0], state="held")
    assert code(only(control.release(queue, [stale]))) == "Q104"


def test_a_supervisor_that_lives_is_left_to_act(queue: RunQueue, runs: list[QueueRow]) -> None:
    row = claimed(queue)
    hold = (
        "import sys; from pathlib import Path; from engine.rundir import FileLock\n"
        "lock = FileLock(Path(sys.argv[1])); assert lock.acquire(5); print('held', flush=True); sys.stdin.readline()"
    )
    lock = queue.runs_dir / SUPERVISOR_LOCK
    other = subprocess.Popen([sys.executable, "-c", hold, str(lock)], env=process_environment(), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    assert only(control.stop(queue, [row])).words == "saves and stops"
    assert (queue.row(row.run).state, queue.row(row.run).asked) == ("running", "stop")
    other.communicate(b"\n", timeout=30)
    free = FileLock(lock)
    assert free.acquire(1)
    free.release()

"""The queue within one process: states, fences, twins, numbers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import QueueError
from engine.rundir import RunDir, list_run_dirs
from engine.runqueue import OVER, QueueRow, RunQueue, State
from tests.builders import new_run


def enqueue(queue: RunQueue, *names: str) -> list[QueueRow]:
    return [row for row, _ in queue.enqueue([new_run(name) for name in names])]


def claimed(queue: RunQueue) -> QueueRow:
    row = queue.claim()
    assert row is not None
    return row


def test_an_empty_queue(queue: RunQueue) -> None:
    assert queue.rows() == []
    assert queue.claim() is None
    assert queue.enqueue([]) == []


def test_runs_are_queued_in_order_with_folders_of_their_own(queue: RunQueue) -> None:
    seen: list[RunDir] = []
    runs = [new_run(name, create=seen.append) for name in ("b", "a")]
    rows = [row for row, is_new in queue.enqueue(runs) if is_new]
    assert [row.run for row in rows] == ["0001-b", "0002-a"]
    assert [run_dir.path for run_dir in seen] == [queue.runs_dir / "0001-b", queue.runs_dir / "0002-a"]
    assert all(run_dir.path.is_dir() for run_dir in seen)
    assert queue.rows() == rows
    assert (rows[0].state, rows[0].attempt, rows[0].recipe_path) == ("queued", 0, "b.toml")


def test_runs_are_claimed_by_number_and_then_none_is_left(queue: RunQueue) -> None:
    enqueue(queue, "b", "a")
    first = claimed(queue)
    assert (first.run, first.state, first.attempt) == ("0001-b", "running", 1)
    assert first.started_at is not None
    assert claimed(queue).run == "0002-a"
    assert queue.claim() is None


def test_the_queue_is_on_disk(queue: RunQueue) -> None:
    rows = enqueue(queue, "a")
    claimed(queue)
    other = RunQueue(queue.runs_dir)
    assert other.row(rows[0].run).state == "running"
    other.close()


@pytest.mark.parametrize("state", [*OVER, "queued"])
def test_the_end_of_an_attempt_is_recorded(queue: RunQueue, state: State) -> None:
    enqueue(queue, "a")
    ended = queue.finish(claimed(queue), state, "why", "cause")
    assert (ended.state, ended.reason, ended.cause) == (state, "why", "cause")
    assert (ended.ended_at is not None) == (state in OVER)
    assert ended == queue.row("0001-a")


def test_a_run_that_goes_on_has_a_new_attempt_and_its_first_start(queue: RunQueue) -> None:
    enqueue(queue, "a")
    first = claimed(queue)
    queue.finish(queue.mark_stopping(first), "queued", "stopped on request")
    second = claimed(queue)
    assert (second.attempt, second.started_at, second.ended_at) == (2, first.started_at, None)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda queue, row: queue.mark_stopping(row), id="mark_stopping"),
        pytest.param(lambda queue, row: queue.finish(row, "failed"), id="finish"),
    ],
)
@pytest.mark.parametrize("overtaken_by", ["its end", "a later attempt"])
def test_a_stale_row_changes_nothing(
    queue: RunQueue, change: Callable[[RunQueue, QueueRow], QueueRow], overtaken_by: str
) -> None:
    enqueue(queue, "a")
    stale = claimed(queue)
    queue.finish(stale, "finished" if overtaken_by == "its end" else "queued")
    if overtaken_by == "a later attempt":
        claimed(queue)  # "running" again, so that only the attempt tells them apart
    now = queue.row("0001-a")
    with pytest.raises(QueueError) as caught:
        change(queue, stale)
    assert caught.value.problems[0].code == "Q104"
    assert queue.row("0001-a") == now


def test_a_run_that_isnt_there(queue: RunQueue) -> None:
    with pytest.raises(QueueError, match="no run"):
        queue.row("0001-a")


# --- twins ---


@pytest.mark.parametrize("state", ["queued", "running", "stopping"])
def test_an_unfinished_twin_isnt_queued_again(queue: RunQueue, state: State) -> None:
    enqueue(queue, "a")
    if state != "queued":
        row = claimed(queue)
        if state == "stopping":
            queue.mark_stopping(row)
    [(row, is_new)] = queue.enqueue([new_run("renamed", "hash of a")])
    assert (row.run, row.state, is_new) == ("0001-a", state, False)
    assert len(list_run_dirs(queue.runs_dir)) == 1


@pytest.mark.parametrize("state", OVER)
def test_a_run_that_is_over_may_be_queued_again(queue: RunQueue, state: State) -> None:
    enqueue(queue, "a")
    queue.finish(claimed(queue), state)
    assert [row.run for row in enqueue(queue, "a")] == ["0002-a"]


def test_twins_in_one_go_become_one_run(queue: RunQueue) -> None:
    assert [row.run for row in enqueue(queue, "a", "a")] == ["0001-a", "0001-a"]
    assert len(queue.rows()) == 1


# --- all or none ---


def test_when_one_run_cant_be_made_none_is_queued(queue: RunQueue) -> None:
    enqueue(queue, "before")

    def fill(run_dir: RunDir) -> None:
        run_dir.resolved.write_text("{}")

    def fail(run_dir: RunDir) -> None:
        run_dir.recipe.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        queue.enqueue([new_run("good", create=fill), new_run("bad", create=fail), new_run("never")])
    assert [row.run for row in queue.rows()] == ["0001-before"]
    # A folder left behind would come back as a queued run when the queue is rebuilt.
    assert [run_dir.run_id for run_dir in list_run_dirs(queue.runs_dir)] == ["0001-before"]
    assert [row.run for row in enqueue(queue, "good")] == ["0002-good"]


# --- numbers ---


def test_a_number_isnt_used_again_while_its_folder_or_its_row_remains(queue: RunQueue) -> None:
    (queue.runs_dir / "0041-copied-here").mkdir()
    assert [row.run for row in enqueue(queue, "a")] == ["0042-a"]
    shutil.rmtree(queue.runs_dir / "0042-a")
    assert [row.run for row in enqueue(queue, "b")] == ["0043-b"]


# --- leaving ---


def test_the_supervisor_lets_go_only_when_nothing_is_queued(queue: RunQueue) -> None:
    let_go: list[str] = []
    enqueue(queue, "a")
    assert not queue.close_when_empty(lambda: let_go.append("too early"))
    claimed(queue)
    assert queue.close_when_empty(lambda: let_go.append("now"))
    assert let_go == ["now"]


def test_nobody_can_queue_a_run_while_the_supervisor_lets_go(queue: RunQueue) -> None:
    other = RunQueue(queue.runs_dir)
    other._db.execute("PRAGMA busy_timeout=50")
    refused: list[str] = []

    def let_go() -> None:
        with pytest.raises(Exception, match="locked"):
            other.enqueue([new_run("late")])
        refused.append("late")

    assert queue.close_when_empty(let_go)
    assert refused == ["late"]
    assert [row.run for row, _ in other.enqueue([new_run("late")])] == ["0001-late"]
    other.close()


# --- the file ---


def test_a_folder_that_cant_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(QueueError) as caught:
        RunQueue(tmp_path / "file" / "runs")
    assert caught.value.problems[0].code == "Q101"


def test_a_queue_of_a_newer_engine_is_refused_and_left_alone(queue: RunQueue) -> None:
    enqueue(queue, "a")
    queue._db.execute("PRAGMA user_version=3")
    with pytest.raises(QueueError) as caught:
        RunQueue(queue.runs_dir)
    assert caught.value.problems[0].code == "Q102"
    assert [row.run for row in queue.rows()] == ["0001-a"]


def test_the_queue_survives_a_power_cut_by_its_settings(queue: RunQueue) -> None:
    assert queue._db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert queue._db.execute("PRAGMA synchronous").fetchone() == (2,)

"""A damaged queue file is kept, and the queue is made again from what the runs themselves say."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.events import Event, EventLog, RunEnded
from engine.rundir import QUEUE_FILE, RunDir
from engine.runqueue import RunQueue
from tests.builders import new_run, started, stepped

FINISHED = RunEnded(outcome="finished", reason="")
ENDS: dict[str, tuple[list[Event], tuple[str, str, str, int]]] = {
    "never started": ([], ("queued", "found again after the queue file was damaged", "", 0)),
    "was running": ([started(), stepped(0)], ("queued", "found again after the queue file was damaged", "", 1)),
    "finished": ([started(), RunEnded(outcome="finished", reason="early")], ("finished", "early", "", 1)),
    "failed": (
        [started(), RunEnded(outcome="failed", reason="why", cause="diverged")],
        ("failed", "why", "diverged", 1),
    ),
    "stopped": (
        [started(), RunEnded(outcome="stopped", reason="asked")],
        ("queued", "found again after the queue file was damaged", "", 1),
    ),
    "stopped, then finished": (
        [started(), RunEnded(outcome="stopped", reason="asked"), started(attempt=2), FINISHED],
        ("finished", "", "", 2),
    ),
    "finished, then begun again": (
        [started(), FINISHED, started(attempt=2)],
        ("queued", "found again after the queue file was damaged", "", 2),
    ),
}


def _make_run(runs_dir: Path, run: str, events: list[Event]) -> None:
    run_dir = RunDir(runs_dir / run)
    run_dir.path.mkdir(parents=True)
    run_dir.resolved.write_text("{}")
    with EventLog(run_dir.events) as log:
        for event in events:
            log.append(event)


@pytest.mark.parametrize("name", ENDS)
def test_a_runs_state_is_found_again(tmp_path: Path, name: str) -> None:
    events, expected = ENDS[name]
    _make_run(tmp_path, "0007-a", events)
    (tmp_path / QUEUE_FILE).write_bytes(b"not a database at all" * 100)
    queue = RunQueue(tmp_path)
    [row] = queue.rows()
    assert (row.run, row.number) == ("0007-a", 7)
    assert (row.state, row.reason, row.cause, row.attempt) == expected
    queue.close()


def test_the_damaged_file_is_kept_and_told(queue: RunQueue) -> None:
    queue.enqueue([new_run("a", create=lambda run_dir: run_dir.resolved.write_text("{}")), new_run("b")])
    queue.close()
    path = queue.runs_dir / QUEUE_FILE
    damaged = b"\xff" * 200 + path.read_bytes()[200:]
    path.write_bytes(damaged)
    told: list[str] = []
    again = RunQueue(queue.runs_dir, on_rebuild=told.append)
    assert [row.run for row in again.rows()] == ["0001-a"]  # 0002-b never got its resolved recipe
    [kept] = queue.runs_dir.glob("queue.damaged-*.db")
    assert kept.read_bytes() == damaged
    [text] = told
    assert kept.name in text
    assert "1 run" in text
    again.enqueue([new_run("c")])
    assert [row.run for row in again.rows()] == ["0001-a", "0003-c"]
    again.close()


def test_a_queue_cut_short_is_rebuilt(queue: RunQueue) -> None:
    queue.enqueue([new_run("a", create=lambda run_dir: run_dir.resolved.write_text("{}"))])
    queue.close()
    path = queue.runs_dir / QUEUE_FILE
    path.write_bytes(path.read_bytes()[:5000])
    again = RunQueue(queue.runs_dir)
    assert [(row.run, row.state) for row in again.rows()] == [("0001-a", "queued")]
    again.close()


def test_a_file_of_another_program_isnt_written_to(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / QUEUE_FILE) as other:
        other.execute("CREATE TABLE jobs (id INTEGER)")
        other.execute("PRAGMA user_version=1")
    other.close()
    with pytest.raises(Exception, match="no such table"):
        RunQueue(tmp_path)

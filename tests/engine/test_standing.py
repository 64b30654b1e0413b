"""Where unfinished runs stand, and why they wait."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.events import EventLog, RunEnded
from engine.progress import RunProgress
from engine.queuereader import QueueReading
from engine.rundir import SUPERVISOR_LOCK, RunDir
from engine.runqueue import QueueRow, RunQueue, State
from engine.standing import Board, Left, explain_run, progress_of, read_queue_board, stand
from tests.builders import measured, new_run, started, stepped

NOW = 1_800_000_000.0


def row(number: int, state: State = "queued", **values: Any) -> QueueRow:
    usual: dict[str, Any] = {"position": float(number)}
    return replace(
        QueueRow(f"{number:04d}-r", number, "a.toml", f"h{number}", state, 0, "", "", 0.0, None, None), **usual | values
    )


def board(*rows: QueueRow, left: dict[int, float] | None = None, supervised: bool = True, **values: Any) -> Board:
    reading = QueueReading({one.run: one for one in rows}, **values)
    lefts = {f"{number:04d}-r": Left(seconds) for number, seconds in (left or {}).items()}
    return stand(reading, is_supervised=supervised, now=NOW, left=lefts)


def words(of: Board) -> list[list[str]]:
    return [[reason.words for reason in standing.why] for standing in of.standings]


def test_an_empty_queue() -> None:
    assert board() == Board(is_supervised=True)


def test_the_order_is_the_one_in_which_runs_are_claimed() -> None:
    found = board(
        row(1, "finished"), row(2, "held"), row(3, priority=1), row(4, "running"), row(5, position=0.5), row(6),
        row(7, "failed"),
    )
    assert [standing.row.number for standing in found.standings] == [4, 3, 5, 6, 2]
    assert [standing.turn for standing in found.standings] == [None, 1, 2, 3, None]
    assert found.counts == {"finished": 1, "held": 1, "queued": 3, "running": 1, "failed": 1}


def test_why_runs_wait() -> None:
    found = board(row(1, "running", asked="stop after epoch"), row(2), row(3), row(4, "held", reason="held by hand"))
    assert words(found) == [
        ["is asked to stop after this epoch"], ["after 0001-r"], ["after 2 runs"], ["held by hand"],
    ]
    assert [found.standings[3].why[0].fix, found.standings[1].why[0].fix] == [
        "`engine release 4` lets it go on", "`engine move 2 --first` puts it first",
    ]


def test_what_holds_for_all_is_said_first_and_marked() -> None:
    found = board(row(1), supervised=False, paused="the GPU is needed")
    [standing] = found.standings
    assert [(reason.words, reason.is_general) for reason in standing.why] == [
        ("the queue is paused (the GPU is needed)", True), ("nobody is at work on the queue", True), ("is next", False),
    ]


def test_a_run_that_waits_for_its_time_or_for_space_says_so() -> None:
    found = board(row(1, not_before=NOW + 600, cause="parked", reason="had its 8 hours"),
                  row(2, cause="no space", reason="no space: it needs 2.1 GB"), row(3, not_before=NOW - 5))
    first, second, third = words(found)
    assert first[0].startswith("not before ")
    assert first[1] == "had its 8 hours"
    assert second[0] == "no space: it needs 2.1 GB"
    assert third == ["after 2 runs"]


def test_ends_are_added_up() -> None:
    found = board(row(1, "running"), row(2), row(3), row(4, "held"), left={1: 100, 2: 50, 3: 25, 4: 10})
    assert [standing.done_at for standing in found.standings] == [NOW + 100, NOW + 150, NOW + 175, None]
    assert found.queue_done_at == NOW + 175


def test_nobody_knows_an_end_behind_an_unknown_one() -> None:
    found = board(row(1), row(2), left={2: 50})
    assert [standing.done_at for standing in found.standings] == [None, None]
    assert found.queue_done_at is None


def test_with_an_end_to_the_night_runs_stand_as_they_are_planned() -> None:
    found = board(row(1), row(2, priority=-1), row(3), left={1: 5000, 2: 100, 3: 50}, until=NOW + 3600)
    assert [standing.row.number for standing in found.standings] == [3, 2, 1]
    assert [standing.done_at for standing in found.standings] == [NOW + 50, NOW + 150, NOW + 5150]
    assert any(reason.words.startswith("should not be done by") for reason in found.standings[2].why)
    # Nobody works by that plan once the supervisor is gone.
    assert board(row(1), left={1: 5000}, until=NOW + 3600, supervised=False).until is None


@pytest.fixture
def runs(queue: RunQueue, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished, a running and a waiting run, somebody at work."""
    monkeypatch.setattr("engine.control.is_locked", lambda path: path.name == SUPERVISOR_LOCK)
    monkeypatch.setattr("engine.queuereader.is_locked", lambda path: path.name == SUPERVISOR_LOCK)
    queue.enqueue([new_run(name) for name in "abc"])
    first = queue.claim()
    assert first is not None
    with EventLog(RunDir(queue.runs_dir / first.run).events) as log:
        for event in (started(), stepped(9), measured(1), RunEnded(outcome="finished", reason="", attempt=1)):
            log.append(event)
    queue.finish(first, "finished")
    second = queue.claim()
    assert second is not None
    with EventLog(RunDir(queue.runs_dir / second.run).events) as log:
        for event in (started(), *(stepped(step) for step in range(5)), measured(0)):
            log.append(event)
    return queue.runs_dir


def test_a_folder_is_read(runs: Path) -> None:
    found, trouble = read_queue_board(runs, NOW)
    assert trouble == ""
    assert found.is_supervised
    assert [(standing.row.run, standing.turn) for standing in found.standings] == [("0002-b", None), ("0003-c", 1)]
    assert found.standings[0].left_s == pytest.approx(5 * 2.0 + 3.0)
    assert found.progress["0002-b"].epoch == 1


def test_a_finished_run_is_told_without_its_events(runs: Path) -> None:
    queue = RunQueue(runs)
    finished = queue.row("0001-a")
    before = progress_of(finished, runs)
    assert (before.best_ap50, before.step, before.ended) == (0.2, 10, None)
    RunDir(runs / "0001-a").events.unlink()
    assert progress_of(finished, runs) == before
    assert progress_of(replace(finished, figures="{"), runs) == RunProgress()  # of an older file, and no events
    queue.close()


def test_a_folder_that_isnt_there(tmp_path: Path) -> None:
    assert read_queue_board(tmp_path / "nowhere", NOW) == (Board(), "")


@pytest.mark.parametrize(
    ("of", "told"),
    [
        (row(1, "failed", cause="diverged", reason="the loss exploded"),
         ["failed (diverged): the loss exploded", "`engine retry 1`", "`engine logs 1`"]),
        (row(1, "cancelled", reason="cancelled on request"), ["cancelled on request", "`engine retry 1`"]),
        (row(1, "finished", reason="stopped early"), ["finished: stopped early", "`engine predict 1 IMAGES`"]),
        (row(1, "running", attempt=2), ["is at work", "`engine stop 1`", "attempt 2"]),
        (row(1, retries_left=2), ["is next", "tried again after a failure, 2 more times"]),
    ],
    ids=lambda value: value.state if isinstance(value, QueueRow) else "",
)
def test_a_run_is_explained_with_what_to_do(of: QueueRow, told: list[str]) -> None:
    reasons = explain_run(of, board(of), RunProgress())
    text = "\n".join(f"{reason.words}\n{reason.fix}" for reason in reasons)
    assert all(part in text for part in told), text

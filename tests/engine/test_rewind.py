"""Events rewound to what a checkpoint knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.events import EventLog, EventTail, rewind
from engine.rundir import RunDir
from tests.builders import started, stepped


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def write_steps(run_dir: RunDir, first: int, last: int) -> int:
    with EventLog(run_dir.events) as log:
        for step in range(first, last):
            log.append(stepped(step))
        return log.sync()


def test_steps_after_the_checkpoint_are_taken_back_and_kept_aside(run_dir: RunDir) -> None:
    saved_at = write_steps(run_dir, 0, 3)
    write_steps(run_dir, 3, 5)
    whole = run_dir.events.read_bytes()
    tail = EventTail(run_dir.events)
    assert len(tail.read()) == 5
    rewind(run_dir.events, saved_at)
    assert (run_dir.path / "events.before-1.jsonl").read_bytes() == whole
    write_steps(run_dir, 3, 4)
    steps = [event.step for event in tail.read_all()]  # type: ignore[union-attr]
    assert steps == [0, 1, 2, 3]
    assert tail.restarts == 1


def test_rewinding_twice_keeps_both(run_dir: RunDir) -> None:
    saved_at = write_steps(run_dir, 0, 1)
    for end in (3, 4):
        write_steps(run_dir, 1, end)
        rewind(run_dir.events, saved_at)
    assert [len(EventTail(run_dir.path / f"events.before-{n}.jsonl").read_all()) for n in (1, 2)] == [3, 4]
    assert len(EventTail(run_dir.events).read_all()) == 1


def test_nothing_to_take_back_changes_nothing(run_dir: RunDir) -> None:
    rewind(run_dir.events, 0)
    assert not run_dir.events.exists()
    saved_at = write_steps(run_dir, 0, 2)
    inode = run_dir.events.stat().st_ino
    rewind(run_dir.events, saved_at)
    assert run_dir.events.stat().st_ino == inode
    assert not list(run_dir.path.glob("events.before-*"))


def test_a_run_without_a_checkpoint_starts_its_log_anew(run_dir: RunDir) -> None:
    with EventLog(run_dir.events) as log:
        log.append(started())
    rewind(run_dir.events, 0)
    assert run_dir.events.read_bytes() == b""
    assert len(EventTail(run_dir.path / "events.before-1.jsonl").read_all()) == 1

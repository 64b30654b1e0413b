"""What a worker learns from how the attempt before it ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import attempt
from engine.attempt import Lesson, learn, leave_notes
from engine.events import EventLog, RunEnded
from engine.rundir import RunDir


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


@pytest.fixture
def kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's count of processes killed for want of memory."""
    count = tmp_path / "vmstat"
    count.write_text("pgmajfault 7\noom_kill 3\n")
    monkeypatch.setattr(attempt, "_VMSTAT", count)
    monkeypatch.setattr(attempt, "_CGROUPS", tmp_path / "nothing")
    return count


def test_a_first_attempt_learns_nothing(run_dir: RunDir) -> None:
    assert learn(run_dir, 1) == Lesson()


def test_a_kill_for_memory_without_a_word_is_recognised(run_dir: RunDir, kills: Path) -> None:
    leave_notes(run_dir, 1, 8)
    assert learn(run_dir, 2) == Lesson(killed_for_memory=False, micro_batch_size=8)
    kills.write_text("oom_kill 4\n")
    assert learn(run_dir, 2) == Lesson(killed_for_memory=True, micro_batch_size=8)


def test_a_worker_that_said_how_it_ended_was_not_killed(run_dir: RunDir, kills: Path) -> None:
    leave_notes(run_dir, 1, 8)
    kills.write_text("oom_kill 4\n")
    with EventLog(run_dir.events) as log:
        log.append(RunEnded(outcome="failed", reason="nothing moved", cause="stalled", attempt=1))
    assert learn(run_dir, 2) == Lesson(stalled=True, micro_batch_size=8, reason="nothing moved")


@pytest.mark.parametrize("content", [b"", b"{", b'{"attempt": "x"}', b"[1]"], ids=["empty", "torn", "type", "list"])
def test_damaged_notes_teach_nothing(run_dir: RunDir, content: bytes) -> None:
    run_dir.attempt_notes.write_bytes(content)
    assert learn(run_dir, 2) == Lesson()


def test_the_groups_own_count_comes_first(tmp_path: Path, kills: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "nothing" / "box"
    group.mkdir(parents=True)
    (group / "memory.events").write_text("low 0\noom 9\noom_kill 2\n")
    own = tmp_path / "cgroup"
    own.write_text("0::/box\n")
    monkeypatch.setattr(attempt, "_OWN_CGROUP", own)
    assert attempt.num_oom_kills() == 2

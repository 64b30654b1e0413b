"""What a worker's end means for its run: by its exit code, its last event and what a person asked for."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from engine.events import Event
from engine.rundir import EXIT_FAILED, EXIT_FINISHED, EXIT_LOCKED, EXIT_STOPPED, RunDir
from engine.supervisor import judge_exit
from tests.builders import started
from tests.engine.test_supervisor import DIVERGED, FINISHED, STOPPED, write

NEVER_STARTED: tuple[Event, ...] = ()
JUDGEMENTS = {
    "finished": ((started(), FINISHED), EXIT_FINISHED, 0, ("finished", "")),
    "finished although asked to stop": ((started(), FINISHED), EXIT_FINISHED, 1, ("finished", "")),
    "finished just before it was killed": ((started(), FINISHED), EXIT_FINISHED, 2, ("finished", "")),
    "stopped": ((started(), STOPPED), EXIT_STOPPED, 1, ("queued", "")),
    "stopped by its lifeline or a stranger": ((started(), STOPPED), EXIT_STOPPED, 0, ("queued", "")),
    "killed on purpose": ((started(),), -9, 2, ("queued", "")),
    "asked to stop before it could listen": (NEVER_STARTED, -15, 1, ("queued", "")),
    "failed": ((started(), DIVERGED), EXIT_FAILED, 0, ("failed", "diverged")),
    "failed while asked to stop": ((started(), DIVERGED), EXIT_FAILED, 1, ("failed", "diverged")),
    "failed before it began": ((DIVERGED,), EXIT_FAILED, 0, ("failed", "diverged")),
    "killed by a stranger": ((started(),), -9, 0, ("failed", "killed by signal 9")),
    "killed by a stranger while stopping": ((started(),), -9, 1, ("failed", "killed by signal 9")),
    "terminated by a stranger": (NEVER_STARTED, -15, 0, ("failed", "killed by signal 15")),
    "crashed": ((started(),), -11, 0, ("failed", "killed by signal 11")),
    "no such signal": ((started(),), -99, 0, ("failed", "killed by signal 99")),
    "said 0 without a word": ((started(),), 0, 0, ("failed", "exit code 0")),
    "broke while importing": (NEVER_STARTED, 1, 0, ("failed", "exit code 1")),
    "locked out": (NEVER_STARTED, EXIT_LOCKED, 0, ("failed", f"exit code {EXIT_LOCKED}")),
    "an earlier attempt's failure isn't this one's": (
        (started(), DIVERGED, started(attempt=2)), -9, 0, ("failed", "killed by signal 9"),
    ),
    "an earlier attempt's stop isn't this one's": (
        (started(), STOPPED, started(attempt=2)), -9, 0, ("failed", "killed by signal 9"),
    ),
}


@pytest.mark.parametrize("name", JUDGEMENTS)
def test_what_a_workers_end_means(tmp_path: Path, name: str) -> None:
    events, code, stop_level, (state, cause) = JUDGEMENTS[name]
    attempts = [event.attempt for event in events if hasattr(event, "attempt")]
    write(RunDir(tmp_path), *events)
    judged = judge_exit(RunDir(tmp_path), max(attempts, default=1), code, stop_level=stop_level)
    assert (judged[0], judged[2]) == (state, cause)
    assert judged[1] or state == "finished"


def test_a_kill_tells_how_to_need_less_memory(tmp_path: Path) -> None:
    _, reason, _ = judge_exit(RunDir(tmp_path), 1, -signal.SIGKILL)
    assert "signal 9 (SIGKILL)" in reason
    assert "training.batch_size" in reason


@pytest.mark.parametrize(
    ("log", "told"),
    [
        pytest.param(None, "it wrote no log", id="no log"),
        pytest.param(b"", "it printed nothing", id="empty log"),
        pytest.param(b"one\nImportError: no \x1b[31mtorch\n\n", "ImportError: no \\x1b[31mtorch", id="last line, safe"),
    ],
)
def test_a_wordless_end_is_told_by_the_logs_last_line(tmp_path: Path, log: bytes | None, told: str) -> None:
    if log is not None:
        RunDir(tmp_path).worker_log.write_bytes(log)
    assert judge_exit(RunDir(tmp_path), 1, 1)[1].endswith(told)

"""What a worker's end means for its run: by its exit code, its last event and what a person asked for."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from engine.events import Event, RunEnded
from engine.executors import UNSEEN
from engine.rundir import EXIT_FAILED, EXIT_FINISHED, EXIT_LOCKED, EXIT_STALLED, EXIT_STOPPED, RunDir
from engine.verdict import judge_exit
from tests.builders import started
from tests.engine.test_supervisor import DIVERGED, FINISHED, STOPPED, write

STALLED = RunEnded(outcome="failed", reason="nothing moved for 120 s", cause="stalled", attempt=1)
BROKEN_PIPE = RunEnded(outcome="failed", reason="BrokenPipeError", cause="error", attempt=1)
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
    "stalled": ((started(),), EXIT_STALLED, 0, ("failed", "stalled")),
    "stalled, and said so": ((started(), STALLED), EXIT_STALLED, 0, ("failed", "stalled")),
    "its guardian was killed": ((started(),), UNSEEN, 0, ("failed", "guardian killed")),
    "its guardian was killed and it saved": ((started(), STOPPED), UNSEEN, 0, ("queued", "")),
    "its guardian was killed once it had finished": ((started(), FINISHED), UNSEEN, 0, ("finished", "")),
    "its guardian was killed once it had failed": ((started(), DIVERGED), UNSEEN, 0, ("failed", "diverged")),
    "its output was cut off with its guardian": ((started(), BROKEN_PIPE), UNSEEN, 0, ("failed", "guardian killed")),
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
    verdict = judge_exit(RunDir(tmp_path), max(attempts, default=1), code, stop_level=stop_level)
    assert (verdict.state, verdict.cause) == (state, cause)
    assert verdict.reason or state == "finished"
    assert verdict.died == (state == "failed" and cause not in ("diverged", "error"))


def test_a_kill_tells_how_to_need_less_memory(tmp_path: Path) -> None:
    reason = judge_exit(RunDir(tmp_path), 1, -signal.SIGKILL).reason
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
    assert judge_exit(RunDir(tmp_path), 1, 1).reason.endswith(told)

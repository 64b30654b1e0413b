"""Supervisors started to stay: at work, through at once, or told with their last words."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from engine import launching
from engine.errors import QueueError
from engine.launching import launch
from engine.rundir import SUPERVISOR_LOCK, SUPERVISOR_LOG, is_locked, lock_holder
from engine.runqueue import RunQueue
from tests.builders import process_environment, wait_for
from tests.tui.build import enqueue


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in process_environment().items():
        monkeypatch.setenv(name, value)


def test_a_detached_supervisor_with_nothing_to_do_has_done_it(tmp_path: Path, environment: None) -> None:
    RunQueue(tmp_path / "runs").close()
    assert launch(tmp_path / "runs", []) > 0
    wait_for(lambda: not is_locked(tmp_path / "runs" / SUPERVISOR_LOCK), 30)
    log = tmp_path / "runs" / SUPERVISOR_LOG
    wait_for(lambda: "nothing was queued" in log.read_text(), 30)


def test_a_detached_supervisor_that_ends_at_once_is_told_with_its_last_words(
    tmp_path: Path, environment: None
) -> None:
    RunQueue(tmp_path / "runs").close()
    with pytest.raises(QueueError, match="Q141"):
        launch(tmp_path / "runs", ["--no-such-option"])


def test_a_failure_before_the_queue_is_taken_is_told(tmp_path: Path, environment: None) -> None:
    RunQueue(tmp_path / "runs").close()
    with pytest.raises(QueueError, match="no-such-device"):
        launch(tmp_path / "runs", ["--devices", "no-such-device"])


def test_a_folder_that_takes_no_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(QueueError, match="can't be started: No such file or directory"):
        launch(tmp_path / "missing")


def test_what_was_launched_is_in_a_session_of_its_own_and_no_zombie_remains(
    tmp_path: Path, environment: None
) -> None:
    queue = RunQueue(tmp_path / "runs")
    queue.pause("by hand")
    enqueue(queue, "waits")  # paused and with something to do, it stays
    queue.close()
    process = launch(tmp_path / "runs")
    assert lock_holder(tmp_path / "runs" / SUPERVISOR_LOCK) == process
    assert os.getsid(process) == process
    wait_for(lambda: "---" in (tmp_path / "runs" / SUPERVISOR_LOG).read_text(), 30)
    os.kill(process, signal.SIGHUP)  # hangs up nothing
    os.kill(process, signal.SIGTERM)
    wait_for(lambda: not psutil.pid_exists(process), 30)


def test_what_the_log_says_since_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n")
    assert launching._told_since(log, 4) == []
    log.write_text("old\none\n  two\nthree\nfour\x1b[2J\n")
    assert launching._told_since(log, 4) == ["one", "  two", "three", "four\x1b[2J"]
    assert launching._told_since(tmp_path / "missing", 0) == []

"""Starts a supervisor that outlives whoever starts it: `engine run --detach`, and a key of the dashboard.

The process belongs to no terminal and no parent: neither a closed terminal nor a dashboard that is left
ends it. What it says goes to the supervisor's log from its first word on, an import that fails included.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from engine.errors import QueueError, Where, printable
from engine.rundir import SUPERVISOR_LOCK, SUPERVISOR_LOG, is_locked, lock_holder

_PATIENCE_S = 60.0
_TOLD_BYTES = 2_000
_TOLD_LINES = 12

AT_WORK = "---"
"""How the line begins that a detached supervisor writes once the queue is its own."""


def launch(runs_dir: Path, options: Sequence[str] = ()) -> int:
    """Start a supervisor that outlives this terminal, and wait until it is at work.

    Args:
        runs_dir: The runs folder.
        options: What `engine resume` is given besides.

    Returns:
        The process that is at work: another one's where that was quicker.

    Raises:
        QueueError: It ended without having been at work.
    """
    command = [sys.executable, "-m", "engine.cli.main", "resume", "--runs", str(runs_dir.absolute()), "--into-log"]
    log_path = runs_dir / SUPERVISOR_LOG
    before = log_path.stat().st_size if log_path.is_file() else 0
    process = _begin([*command, *options], log_path)
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        if is_locked(runs_dir / SUPERVISOR_LOCK):
            break
        time.sleep(0.05)
    told = _told_since(log_path, before)
    # With 0 or 1 it may have been through the whole queue already.
    if process.poll() is not None and not (process.returncode in (0, 1) and _was_at_work(told, process)):
        raise QueueError.of(
            "Q141", Where(str(log_path)), f"the detached supervisor ended at once: {_words(told)}",
            "mend what it says, or run in the foreground",
        )
    # A child that is waited for by nobody would stay as a zombie for as long as a dashboard is open.
    threading.Thread(target=process.wait, name="supervisor-end", daemon=True).start()
    return lock_holder(runs_dir / SUPERVISOR_LOCK) or process.pid


def _begin(command: Sequence[str], log_path: Path) -> subprocess.Popen[bytes]:
    try:
        with log_path.open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    except OSError as error:
        raise QueueError.of(
            "Q141", Where(str(log_path)), f"the detached supervisor can't be started: {error.strerror}",
            "mend what it says, or run in the foreground",
        ) from error


def _was_at_work(told: Sequence[str], process: subprocess.Popen[bytes]) -> bool:
    return any(line.startswith(AT_WORK) and line.endswith(f"process {process.pid}") for line in told)


def _told_since(path: Path, offset: int) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(offset, path.stat().st_size - _TOLD_BYTES))
            return file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return []


def _words(told: Sequence[str]) -> str:
    return printable(" ".join(line.strip() for line in told[-_TOLD_LINES:])) or "it said nothing"

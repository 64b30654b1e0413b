"""How a supervisor outlives its terminal: a log of its own, and a process that no hang-up reaches."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from engine.errors import QueueError, Where, printable
from engine.rundir import SUPERVISOR_LOCK, SUPERVISOR_LOG, is_locked

_LOG_BYTES = 1_000_000
_START_PATIENCE_S = 60.0
_TOLD_BYTES = 2_000


class SupervisorLog:
    """`supervisor.log` in the runs folder; the one before it is kept as `supervisor.1.log`.

    Args:
        runs_dir: The runs folder.
        most_bytes: Size from which a new one is begun.
    """

    def __init__(self, runs_dir: Path, most_bytes: int = _LOG_BYTES) -> None:
        self.path = runs_dir.absolute() / SUPERVISOR_LOG
        self._most_bytes = most_bytes
        self.is_used = False

    def take_over(self) -> None:
        """Let everything that this process prints from now on go into the log.

        Should the disk refuse it, what is printed is lost and the queue goes on.
        """
        try:
            self._turn_over_if_full()
            target = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError:
            target = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(target, descriptor)
        os.close(target)
        self.is_used = True

    def look(self) -> None:
        """Begin a new log when this one is full; to be called now and then."""
        with contextlib.suppress(OSError):
            if self.is_used and os.fstat(1).st_size > self._most_bytes:
                self.take_over()

    def _turn_over_if_full(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_size > self._most_bytes:
                self.path.replace(self.path.with_name(f"{self.path.stem}.1{self.path.suffix}"))


def become_detached(log: SupervisorLog) -> None:
    """Print into the log and hear no hang-up; for a process that was launched to stay."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    log.take_over()
    print(time.strftime("--- %Y-%m-%d %H:%M:%S"), "process", os.getpid(), flush=True)  # noqa: T201 - the log's heading


def launch(runs_dir: Path, options: Sequence[str]) -> int:
    """Start a supervisor that outlives this terminal, and wait until it is at work.

    Args:
        runs_dir: The runs folder.
        options: What `engine resume` is given besides.

    Returns:
        Its process id.

    Raises:
        QueueError: It ended without having been at work.
    """
    command = [sys.executable, "-m", "engine.cli.main", "resume", "--runs", str(runs_dir.absolute()), "--into-log"]
    log_path = runs_dir / SUPERVISOR_LOG
    before = log_path.stat().st_size if log_path.exists() else 0
    process = subprocess.Popen(
        [*command, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + _START_PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        if is_locked(runs_dir / SUPERVISOR_LOCK):
            break
        time.sleep(0.05)
    if process.poll() not in (None, 0, 1):  # 0 and 1: it has been through the whole queue already
        raise QueueError.of(
            "Q141", Where(str(log_path)), f"the detached supervisor ended at once: {_told_since(log_path, before)}",
            "mend what it says, or run in the foreground",
        )
    process.returncode = process.returncode if process.returncode is not None else 0  # it is nobody's child to wait for
    return process.pid


def _told_since(path: Path, offset: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(offset, path.stat().st_size - _TOLD_BYTES))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return printable(" ".join(line.strip() for line in lines[-3:])) or "it said nothing"

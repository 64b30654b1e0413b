"""How a supervisor outlives its terminal: a log of its own, and ears that no hang-up reaches."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from engine.launching import AT_WORK
from engine.rundir import SUPERVISOR_LOG

_LOG_BYTES = 1_000_000


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
    print(AT_WORK, time.strftime("%Y-%m-%d %H:%M:%S"), "process", os.getpid(), flush=True)  # noqa: T201 - the log's heading

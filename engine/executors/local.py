"""Runs executed as processes of this machine.

Each worker leads a session of its own, so that a terminal's Ctrl-C reaches only the supervisor. Its
standard input is a lifeline: when the supervisor dies, however it dies, the pipe closes and the
worker saves and ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from engine.rundir import RunDir

# How long libgomp's threads spin while they wait for each other before they sleep. With the default, company on the
# machine at times slows a training several times over; alone this makes no difference (tests/bench/omp_wait.py;
# docs/decisions.md has the figures). A person's own setting wins.
_WORKER_ENVIRONMENT = {"GOMP_SPINCOUNT": "10000"}


class LocalExecution:
    """A worker process and the session it leads."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """The worker's exit code once it has ended, -N when signal N killed it; None before."""
        code = self._process.poll()
        if code is not None:
            # Loader processes of a killed worker would linger for seconds.
            self._signal_group(signal.SIGKILL)
            if self._process.stdin is not None:
                self._process.stdin.close()
        return code

    def stop(self) -> None:
        """Ask the worker to save and end. Returns at once."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the worker and everything it started, at once."""
        self._signal_group(signal.SIGKILL)
        self._process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


class LocalExecutor:
    """Starts workers with the Python that runs this."""

    def __init__(self, command: Sequence[str] = (sys.executable, "-m", "engine.worker")) -> None:
        self._command = tuple(command)

    def start(self, run_dir: RunDir, attempt: int) -> LocalExecution:
        """Begin executing a run; what it prints goes to the run's worker.log.

        Raises:
            OSError: The worker can't be started.
        """
        with run_dir.worker_log.open("ab") as output:
            process = subprocess.Popen(
                [*self._command, str(run_dir.path), "--attempt", str(attempt)],
                stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True,
                env={**_WORKER_ENVIRONMENT, **os.environ, "PYTHONUNBUFFERED": "1"},
            )
        return LocalExecution(process)

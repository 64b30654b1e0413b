"""How a process is put under a guardian (`engine/guardian.py`), which itself is never imported."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.rundir import RunDir

_GUARDIAN = Path(__file__).with_name("guardian.py")
# Orders on a guardian's standard input.
STOP, KILL, _BEGIN = b"s", b"k", b"r"
# Seconds for saving once the supervisor or the guardian is dead; killing may take one more, and 5 are promised.
GRACE_S = 3.5


def guardian_command(
    run_dir: RunDir | None, command: Sequence[str], variables: Mapping[str, str], grace_s: float = GRACE_S
) -> list[str]:
    """The command line that runs a command under a guardian; its output goes to the run's worker.log.

    Args:
        run_dir: The run; None for a worker that waits for one.
        command: The worker's command line.
        variables: Environment variables for the worker alone.
        grace_s: Seconds for saving once the supervisor is dead.
    """
    return _command(("", "", "") if run_dir is None else _logs(run_dir), command, grace_s, variables)


def begin_order(run_dir: RunDir, words: str) -> bytes:
    """The order that gives a waiting worker its run.

    Args:
        run_dir: The run, whose worker.log takes the output from now on.
        words: A line for the worker's standard input.
    """
    parts = [*(os.fsencode(log) for log in _logs(run_dir)), words.encode()]
    return _BEGIN + b" ".join(part.hex().encode() for part in parts) + b"\n"


def _logs(run_dir: RunDir) -> tuple[Path, Path, Path]:
    return run_dir.worker_log, run_dir.worker_log_first, run_dir.worker_log_before


def _command(
    logs: Sequence[Path | str], command: Sequence[str], grace_s: float, variables: Mapping[str, str]
) -> list[str]:
    assigned = [f"{name}={value}" for name, value in variables.items()]
    return [sys.executable, "-I", "-S", str(_GUARDIAN), str(grace_s), *map(str, logs), *assigned, "--", *command]


class GuardedProcess:
    """A process beside the queue, such as one that draws; it ends with this one, whatever kills that.

    Args:
        log: Where its output goes, added to what is there; beside it lie `.first` and `.before` where it is very much.
        command: Its command line.
        grace_s: Seconds it has to end by itself once this process is dead.

    Raises:
        OSError: It can't be started.
    """

    def __init__(self, log: Path, command: Sequence[str], grace_s: float = 0.0) -> None:
        logs = (log, log.with_name(f"{log.stem}.first{log.suffix}"), log.with_name(f"{log.stem}.before{log.suffix}"))
        self._guardian = subprocess.Popen(
            _command(logs, command, grace_s, {}), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )

    def ended(self) -> bool:
        """Whether it has ended."""
        if self._guardian.poll() is None:
            return False
        self.wait()
        return True

    def stop(self) -> None:
        """Ask it to end by itself."""
        self._order(STOP)

    def kill(self) -> None:
        """End it and all that it started."""
        self._order(KILL)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; False when it takes longer."""
        try:
            self._guardian.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()
        return True

    def _order(self, order: bytes) -> None:
        if self._guardian.stdin is not None and not self._guardian.stdin.closed:
            with contextlib.suppress(OSError):
                self._guardian.stdin.write(order)
                self._guardian.stdin.flush()

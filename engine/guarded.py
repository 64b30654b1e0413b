"""How a process is put under a guardian (`engine/guardian.py`), which itself is never imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.rundir import RunDir

_GUARDIAN = Path(__file__).with_name("guardian.py")
# Orders on a guardian's standard input.
STOP, KILL = b"s", b"k"
# Seconds for saving once the supervisor or the guardian is dead; killing may take one more, and 5 are promised.
GRACE_S = 3.5


def guardian_command(run_dir: RunDir, command: Sequence[str], grace_s: float = GRACE_S) -> list[str]:
    """The command line that runs a command under a guardian; its output goes to the run's worker.log."""
    logs = (run_dir.worker_log, run_dir.worker_log_first, run_dir.worker_log_before)
    return [sys.executable, "-I", "-S", str(_GUARDIAN), str(grace_s), *map(str, logs), *command]


class GuardedProcess:
    """A process beside the queue, such as one that draws; it ends with this one, whatever kills that.

    Args:
        run_dir: The run it works for.
        command: Its command line.

    Raises:
        OSError: It can't be started.
    """

    def __init__(self, run_dir: RunDir, command: Sequence[str]) -> None:
        self._guardian = subprocess.Popen(
            guardian_command(run_dir, command, grace_s=0.0), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )

    def ended(self) -> bool:
        """Whether it has ended."""
        if self._guardian.poll() is None:
            return False
        self.wait()
        return True

    def wait(self) -> None:
        """Wait for its end."""
        self._guardian.wait()
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()

"""Processes beside a run, each under a guardian: what tells trackers of it, and how such processes are ended.

None of them can harm a run or the queue: one that can't be started is left out, one that doesn't end is killed.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence

from engine.guarded import GuardedProcess
from engine.rundir import RunDir
from engine.tracking.facts import read_wishes

# A tracker's server may be slow; the queue's end isn't held up longer than this.
_PATIENCE_S = 120.0
_GRACE_S = 3.0


def start_tracking(run_dir: RunDir) -> list[GuardedProcess]:
    """Have trackers told of a run at work; empty where its recipe asks for none."""
    if not read_wishes(run_dir).any:
        return []
    with contextlib.suppress(OSError):
        command = [sys.executable, "-m", "engine.tracking", str(run_dir.path)]
        return [GuardedProcess(run_dir.tracking_log, command, _GRACE_S)]
    return []


def end_all(processes: Sequence[GuardedProcess], patience_s: float = _PATIENCE_S) -> None:
    """Wait for processes to end, and kill those that don't within the time for all of them."""
    deadline = time.monotonic() + patience_s
    for process in processes:
        if not process.wait(max(0.0, deadline - time.monotonic())):
            process.kill()
            process.wait()

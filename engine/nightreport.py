"""The report at a queue's end: where it goes, and having it made without ever harming the queue.

The report itself is made by `engine.report` in a process of its own; here is only what the supervisor's process needs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.guarded import GuardedProcess
from engine.rundir import REPORTS_DIR, RunDir

# Ten runs take seconds; whatever takes longer than this isn't waited for.
_PATIENCE_S = 300.0
_LOG = "report.log"


def night_path(runs_dir: Path, when: float) -> Path:
    """A new file for the report of several runs: its day and time, with a number where that is taken."""
    stamp = time.strftime("%Y-%m-%d-%H%M", time.localtime(when))
    return free_path(runs_dir / REPORTS_DIR / f"{stamp}.html")


def free_path(path: Path) -> Path:
    """The path, or the first one beside it with a number that nothing has."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found


def report_night(
    runs_dir: Path, runs: Sequence[str], is_unwanted: Callable[[], bool] = lambda: False, *,
    patience_s: float = _PATIENCE_S,
) -> Path | None:
    """Have the report of the runs of a night made.

    Args:
        runs_dir: The runs folder.
        runs: Those worked on. One alone has its report in its folder by now.
        is_unwanted: Asked meanwhile; True gives it up.
        patience_s: Seconds after which it is given up.

    Returns:
        The file; None when there is none, for whatever reason: `reports/report.log` tells it.
    """
    if len(runs) < 2:
        alone = [RunDir(runs_dir / run).html_report for run in runs]
        return next((path for path in alone if path.exists()), None)
    try:
        path = night_path(runs_dir, time.time())
        path.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "engine.report.make", str(runs_dir), str(path), *runs]
        process = GuardedProcess(path.with_name(_LOG), command)
    except OSError:
        return None
    deadline = time.monotonic() + patience_s
    while not process.wait(0.1):
        if is_unwanted() or time.monotonic() > deadline:
            process.kill()
            process.wait()
    return path if path.exists() else None

"""Processes that a killed guardian left, told by a marker that each carries in its environment.

The marker is drawn anew for every attempt and written down before the first process starts, so that a
process id alone condemns nobody: a reused one belongs to a process without the marker, and psutil
refuses to kill one whose start time isn't that of the process it looked at.
"""

from __future__ import annotations

import contextlib
import json
import uuid

import psutil

from engine.rundir import RunDir, write_bytes_atomic

MARKER = "ENGINE_RUN"


def mark(run_dir: RunDir, attempt: int, marker: str | None = None) -> str:
    """Write an attempt's marker down.

    Args:
        run_dir: The run.
        attempt: Its number.
        marker: That of a process which was started ahead; a new one is drawn when left out.

    Raises:
        OSError: It can't be written.
    """
    marker = marker or uuid.uuid4().hex
    write_bytes_atomic(run_dir.execution, json.dumps({"marker": marker, "attempt": attempt}).encode())
    return marker


def read_marker(run_dir: RunDir) -> str | None:
    """The marker of a run's latest attempt; None when nothing of it can be left."""
    try:
        told = json.loads(run_dir.execution.read_bytes())
    except (OSError, ValueError):
        return None
    marker = told.get("marker") if isinstance(told, dict) else None
    return marker if isinstance(marker, str) and marker else None


def unmark(run_dir: RunDir) -> None:
    """Nothing of the latest attempt is left."""
    with contextlib.suppress(OSError):
        run_dir.execution.unlink()


def marked(marker: str) -> list[psutil.Process]:
    """This user's living processes that carry a marker; [] for none."""
    found = []
    for process in psutil.process_iter(["environ", "status"]):
        environ, status = process.info["environ"], process.info["status"]
        if environ and environ.get(MARKER) == marker and status != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def kill_marked(marker: str) -> bool:
    """Send signal 9 to every process that carries a marker; returns whether there was any."""
    processes = marked(marker)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return bool(processes)

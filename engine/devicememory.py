"""Memory of the device a run computes on: its limit, what is free, and the peak.

On a CPU the limit is one of the process; on a GPU it is torch's own. Knows nothing of recipes and batches.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

import psutil
import torch

from engine.errors import EngineError, Where
from engine.machine import available_memory_bytes, limit_process_memory, memory_limit_bytes

_STATUS = Path("/proc/self/status")
# Without so much room not even an error can be told.
_LEAST_ROOM_BYTES = 64 * 10**6
_CLEAR_REFS = Path("/proc/self/clear_refs")


def apply_memory_limit(limit_gb: float | None, device: torch.device, *, at_most: int | None = None) -> int | None:
    """Make allocations beyond a run's limit fail as errors that can be caught; call it once, early.

    Args:
        limit_gb: The recipe's `hardware.memory_limit_gb`, in 10^9 bytes; None for all there is.
        device: What the run computes on; on "cuda" the limit is the GPU's, and the CPU has none.
        at_most: A lower limit in bytes, where something else needs the rest.

    Returns:
        The limit in bytes; None where none can be set.

    Raises:
        EngineError: The limit leaves no room beside what this process holds already.
    """
    if device.type == "cuda":
        total = int(torch.cuda.mem_get_info(device)[1])
        limit = min([total, *([] if limit_gb is None else [int(limit_gb * 10**9)]), *_known(at_most)])
        torch.cuda.set_per_process_memory_fraction(limit / total, device)
        return limit
    if device.type != "cpu":
        return None
    limit = min([memory_limit_bytes(limit_gb), *_known(at_most)])
    # OpenMP ends the process when it can't start a thread: start them while there is room.
    torch.ones(2**20).add_(1)
    held = _status_bytes("VmData")
    if limit < held + _LEAST_ROOM_BYTES:
        raise EngineError.of(
            "T301", Where(item="hardware.memory_limit_gb"),
            f"{limit / 1e9:.1f} GB of memory, where the program and its libraries alone take {held / 1e9:.1f} GB",
            "raise hardware.memory_limit_gb if it is set, or end other programs",
        )
    return limit if limit_process_memory(limit) else None


def _known(limit: int | None) -> list[int]:
    return [] if limit is None else [max(1, limit)]


def free_memory_bytes(device: torch.device) -> int:
    """What this process could have of a device's memory now, what it holds already included."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) + torch.cuda.memory_reserved(device)
    return available_memory_bytes() + int(psutil.Process().memory_info().rss)


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory held at once so far: torch's on a GPU, the whole process's elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts in kilobytes but on macOS
    # getrusage's figure begins with that of the program that started this one.
    return _status_bytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak(device: torch.device) -> None:
    """Begin a new peak. Where the system doesn't let a process do so, the old one stays and is too high."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            _CLEAR_REFS.write_text("5")  # proc(5): resets VmHWM to what is held now


def _status_bytes(name: str) -> int:
    """A figure that Linux tells of this process; 0 on other systems."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)

"""Whether memory for a run is really free, by what its rehearsal measured and what the machine says now.

A run without a forecast, and a device whose memory nobody can tell, are never refused. Where nothing
of the queue's own is at work, a run waits only for minutes: what others hold they may hold all night.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from engine.executors import Place
from engine.machine import available_memory_bytes
from engine.rundir import RunDir

# A started run needs so long until its memory shows.
_SETTLING_S = 90.0
_LONGEST_WAIT_S = 300.0
_READING_LASTS_S = 5.0
_NVIDIA_SMI_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Need:
    """The most memory that a run holds at once.

    Attributes:
        device: "cpu", or "cuda" with or without a number.
        peak_bytes: By its forecast.
    """

    device: str
    peak_bytes: int


def read_need(run_dir: RunDir, place: Place) -> Need | None:
    """What a run's forecast says; None without one that can be read.

    Reads the bare JSON: the forecast's own module loads recipes, for which the supervisor has no memory.
    """
    try:
        figures = json.loads(run_dir.forecast.read_bytes())["figures"]
        return Need(place.device or str(figures["device"]), int(figures["peak_bytes"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


class Room:
    """Judges whether a run may start; remembers for how long one was refused."""

    def __init__(self) -> None:
        self._readings: dict[str, tuple[float, int | None]] = {}
        self._refused_since: dict[str, float] = {}

    def refusal(self, run_dir: RunDir, place: Place, at_work: Sequence[tuple[RunDir, Place, float]]) -> str:
        """Why a run can't start now, in words; "" when it can.

        Args:
            run_dir: The run.
            place: Where it would be executed.
            at_work: The runs at work, where, and since when by the monotonic clock.
        """
        need = read_need(run_dir, place)
        free = None if need is None else self._free_bytes(need.device)
        if need is None or free is None:
            return ""
        now = time.monotonic()
        for other_dir, other_place, since in at_work:
            other = read_need(other_dir, other_place)
            if other is not None and other.device == need.device and now - since < _SETTLING_S:
                free -= other.peak_bytes
        if need.peak_bytes <= free:
            self._refused_since.pop(run_dir.run_id, None)
            return ""
        since = self._refused_since.setdefault(run_dir.run_id, now)
        if not at_work and now - since > _LONGEST_WAIT_S:
            return ""
        return f"waits for memory: needs {_gigabytes(need.peak_bytes)}, {_gigabytes(max(0, free))} is free"

    def _free_bytes(self, device: str) -> int | None:
        read_at, free = self._readings.get(device, (0.0, None))
        if not read_at or time.monotonic() - read_at > _READING_LASTS_S:
            kind, _, index = device.partition(":")
            if kind == "cpu":
                free = available_memory_bytes()
            else:
                free = free_cuda_bytes(int(index or 0)) if kind == "cuda" else None
            self._readings[device] = (time.monotonic(), free)
        return free


def free_cuda_bytes(index: int) -> int | None:
    """Free memory of a GPU, numbered as nvidia-smi numbers them; None when nobody can tell."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--id={index}", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_NVIDIA_SMI_TIMEOUT_S, check=True)
        return int(told.stdout.strip()) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"

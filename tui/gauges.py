"""How the machine does: processors, memory, GPUs and the disk of the runs folder. Knows no Textual.

Cheap enough to be asked every few seconds all night: a GPU is asked about by a process that is started
at one look and read at a later one, so that nobody waits for it.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from engine.machine import available_memory_bytes, free_disk_bytes, memory_limit_bytes, num_cores
from engine.rundir import SUPERVISOR_LOCK, lock_holder

_GPU_QUERY = "index,name,utilization.gpu,memory.used,memory.total,temperature.gpu"
_GPU_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class GpuGauge:
    """One GPU; None where its driver doesn't tell."""

    index: int
    name: str
    load: float | None
    """In [0, 1]."""
    used_bytes: int | None
    total_bytes: int | None
    celsius: int | None = None


@dataclass(frozen=True, slots=True)
class Gauges:
    """How the machine does; None where that can't be told.

    Attributes:
        load: Of all processors together, in [0, 1].
        num_cores: How many there are.
        used_bytes: Memory in use.
        total_bytes: Memory there is, within a container's limit.
        disk_free_bytes: What can still be written where the runs are.
        supervised_since: When the supervisor was started, seconds since 1970; None when there is none.
        gpus: The GPUs.
    """

    load: float | None = None
    num_cores: int = 0
    used_bytes: int | None = None
    total_bytes: int | None = None
    disk_free_bytes: int | None = None
    supervised_since: float | None = None
    gpus: tuple[GpuGauge, ...] = ()


class GaugeReader:
    """Reads the gauges of this machine again and again.

    Args:
        runs_dir: The runs folder.
    """

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._nvidia = _GpuReader()
        self._has_counted = False

    def read(self) -> Gauges:
        """The gauges now; what the processors did since the last look."""
        total = memory_limit_bytes()
        disk = None
        with contextlib.suppress(OSError):
            disk = free_disk_bytes(self._runs_dir)
        return Gauges(
            load=self._load(), num_cores=num_cores(),
            used_bytes=max(0, total - available_memory_bytes()), total_bytes=total, disk_free_bytes=disk,
            supervised_since=self._supervised_since(), gpus=self._nvidia.read(),
        )  # fmt: skip

    def _load(self) -> float | None:
        load = psutil.cpu_percent() / 100
        has_counted, self._has_counted = self._has_counted, True
        return load if has_counted else None  # psutil counts from a thread's first call, which tells nothing

    def _supervised_since(self) -> float | None:
        process = lock_holder(self._runs_dir / SUPERVISOR_LOCK)
        with contextlib.suppress(psutil.Error):
            return None if process is None else psutil.Process(process).create_time()
        return None

    def close(self) -> None:
        """Leave no process behind."""
        self._nvidia.close()


class _GpuReader:
    """What `nvidia-smi` told last. One that doesn't answer (a driver that hangs) is asked no more."""

    def __init__(self) -> None:
        self._program = shutil.which("nvidia-smi")
        self._asked: subprocess.Popen[str] | None = None
        self._asked_at = 0.0
        self._told: tuple[GpuGauge, ...] = ()

    def read(self) -> tuple[GpuGauge, ...]:
        if self._asked is not None:
            self._listen(self._asked)
        if self._asked is None and self._program is not None:
            self._ask(self._program)
        return self._told

    def _ask(self, program: str) -> None:
        command = [program, f"--query-gpu={_GPU_QUERY}", "--format=csv,noheader,nounits"]
        try:
            self._asked = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError:
            self._program = None
        self._asked_at = time.monotonic()

    def _listen(self, asked: subprocess.Popen[str]) -> None:
        if asked.poll() is None:
            if time.monotonic() - self._asked_at > _GPU_PATIENCE_S:
                self.close()
                self._program = None
            return
        told, _ = asked.communicate()
        self._asked = None
        self._told = parse_gpus(told) if asked.returncode == 0 else ()

    def close(self) -> None:
        if self._asked is not None:
            self._asked.kill()
            self._asked.communicate()
            self._asked = None


def parse_gpus(told: str) -> tuple[GpuGauge, ...]:
    """What `nvidia-smi --query-gpu` printed; lines that mean nothing are left out.

    Source:
        nvidia-smi(1): memory in MiB, "[N/A]" or "[Not Supported]" where the driver doesn't tell.
    """
    gpus = []
    for line in told.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(_GPU_QUERY.split(",")) or not cells[0].isdecimal():
            continue
        load, used, total, celsius = (int(cell) if cell.isdecimal() else None for cell in cells[2:])
        gpus.append(
            GpuGauge(
                int(cells[0]), cells[1], None if load is None else load / 100, _mebibytes(used), _mebibytes(total),
                celsius,
            )
        )
    return tuple(gpus)


def _mebibytes(number: int | None) -> int | None:
    return None if number is None else number * 2**20

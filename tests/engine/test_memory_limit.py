"""Memory limits: what the machine and its container allow, and what an allocation beyond them does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from engine import machine
from engine.machine import memory_limit_bytes
from tests.builders import process_environment

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to the limit")


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 64 GB without any control group yet."""
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"total": 64 * 10**9}))
    return tmp_path


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_without_a_container_it_is_the_machine_or_less(cgroups: Path) -> None:
    assert memory_limit_bytes() == 64 * 10**9
    assert memory_limit_bytes(1.5) == 1_500_000_000
    assert memory_limit_bytes(100.0) == 64 * 10**9


@pytest.mark.parametrize(
    ("own", "file", "content", "limit"),
    [
        pytest.param("", "memory.max", "8000000000", 8 * 10**9, id="v2-container"),
        pytest.param("", "memory.max", "max", 64 * 10**9, id="v2-unlimited"),
        pytest.param("0::/slurm/job_7/step_0\n", "slurm/job_7/memory.max", "4000000000", 4 * 10**9, id="v2-parent"),
        pytest.param("4:memory:/job\n3:cpu:/\n", "memory/job/memory.limit_in_bytes", "2000000000", 2 * 10**9, id="v1"),
        pytest.param("", "memory/memory.limit_in_bytes", "9223372036854771712", 64 * 10**9, id="v1-unlimited"),
        pytest.param("0::/\n", "memory.max", "rubbish", 64 * 10**9, id="rubbish"),
    ],
)
def test_a_control_group_limits(cgroups: Path, own: str, file: str, content: str, limit: int) -> None:
    write(cgroups / "own", own)
    write(cgroups / file, content)
    assert memory_limit_bytes() == limit
    assert memory_limit_bytes(1.0) == 10**9


_ALLOCATE = """
import torch
from engine.devicememory import apply_memory_limit, peak_memory_bytes
from engine.training.memory import is_out_of_memory
cpu = torch.device("cpu")
limit = apply_memory_limit(2.0, cpu)
held = []
try:
    while True:
        held.append(torch.ones(25_000_000))
except Exception as error:
    assert is_out_of_memory(error), repr(error)
    peak = peak_memory_bytes(cpu)
del held[1:]
print(limit, peak, float(held[0].sum() + torch.ones(1000, 1000).matmul(torch.ones(1000, 1)).sum()))
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=process_environment(), capture_output=True, text=True, check=False
    )


@on_linux
def test_beyond_its_limit_a_process_gets_an_error_and_lives_on() -> None:
    done = run(_ALLOCATE)
    assert done.returncode == 0, done.stderr
    limit, peak, total = done.stdout.split()
    assert (int(limit), float(total)) == (2 * 10**9, 25_000_000 + 10**6)
    assert 10**9 < int(peak) < 2.3 * 10**9


@on_linux
def test_a_limit_that_leaves_no_room_is_told_instead_of_set() -> None:
    code = "import torch; from engine.devicememory import *; apply_memory_limit(0.5, torch.device('cpu'))"
    done = run(code)
    assert done.returncode == 1
    assert "T301 0.5 GB of memory, where the program and its libraries alone take" in done.stderr

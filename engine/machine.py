"""What this machine has, told without importing torch: GPUs, memory, disk, caches.

Everything here is bounded in time. Where the machine can't be known for certain, the answer is None
and nobody is refused for it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from engine.errors import EngineError

# Long enough for a driver that wakes up, short enough that a stuck one doesn't hold a check up.
_NVIDIA_SMI_TIMEOUT_S = 5.0
_CGROUP = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_DEV = Path("/dev")
# GPUs that torch calls "cuda" and that have no /dev/nvidia0: AMD's with ROCm, and Nvidia's Jetson boards.
_OTHER_CUDA_NODES = ("kfd", "nvhost-gpu", "nvgpu")


def num_cuda_devices() -> int | None:
    """How many devices torch can call "cuda"; None when there are some but nobody can tell how many."""
    num_visible = _num_visible(os.environ.get("CUDA_VISIBLE_DEVICES"))
    if num_visible == 0:
        return 0
    num_present = _num_nvidia_nodes() or _num_by_nvidia_smi()
    if num_present:
        return num_present if num_visible is None else min(num_present, num_visible)
    return None if any((_DEV / node).exists() for node in _OTHER_CUDA_NODES) else 0


def _num_visible(value: str | None) -> int | None:
    """Entries of CUDA_VISIBLE_DEVICES up to the first "-1", after which CUDA reads no further."""
    if value is None:
        return None
    entries = [entry.strip() for entry in value.split(",")]
    for index, entry in enumerate(entries):
        if not entry or entry.startswith("-"):
            return index
    return len(entries)


def _num_nvidia_nodes() -> int:
    try:
        return sum(re.fullmatch(r"nvidia\d+", entry.name) is not None for entry in _DEV.iterdir())
    except OSError:
        return 0


def _num_by_nvidia_smi() -> int:
    """As `nvidia-smi` lists them: under WSL there are no device nodes."""
    program = shutil.which("nvidia-smi", path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/lib/wsl/lib")
    return 0 if program is None else _count_listed(program)


@functools.cache  # a stuck driver is waited for once, not for each recipe
def _count_listed(program: str) -> int:
    try:
        told = subprocess.run(
            [program, "-L"], capture_output=True, text=True, timeout=_NVIDIA_SMI_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return 0
    return sum(line.startswith("GPU ") for line in told.stdout.splitlines())


def can_have_mps() -> bool:
    """Whether torch's "mps" can exist here: Apple's own processors, under macOS."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def num_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def torch_without_cuda() -> str | None:
    """The version of an installed torch that was built for the CPU only; None for any other, or none."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - loads the parser of e-mails

    try:
        found = version("torch")
    except PackageNotFoundError:
        return None
    return found if found.endswith("+cpu") else None


def available_memory_bytes() -> int:
    """Memory that a process can still have, within its container's limit."""
    available = int(psutil.virtual_memory().available)
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # another system, cgroups v1, or a limit of "max"
        return available
    # Files that were read count as used until somebody wants the memory.
    given_back = sum(int(line.split()[1]) for line in lines if line.startswith(("active_file ", "inactive_file ")))
    return max(0, min(available, limit - used + given_back))


def memory_limit_bytes(limit_gb: float | None = None) -> int:
    """The most memory that a run may ever take here: its recipe's limit, the container's, the machine's.

    Args:
        limit_gb: The recipe's `hardware.memory_limit_gb`, in 10^9 bytes.
    """
    own = [] if limit_gb is None else [int(limit_gb * 10**9)]
    return min([int(psutil.virtual_memory().total), *_cgroup_limits(), *own])


def _cgroup_limits() -> list[int]:
    """Limits of the control groups that this process is in, and of those above them; versions 1 and 2."""
    try:
        lines = _OWN_CGROUPS.read_text().splitlines()
    except OSError:  # another system
        lines = []
    files = [_CGROUP / "memory.max", _CGROUP / "memory" / "memory.limit_in_bytes"]  # as a container sees its own
    for line in lines:
        _, controllers, group = line.split(":", 2)
        root, name = (_CGROUP, "memory.max") if not controllers else (_CGROUP / "memory", "memory.limit_in_bytes")
        if controllers in ("", "memory"):
            folder = Path(group.lstrip("/"))
            files += [root / above / name for above in (folder, *folder.parents)]
    limits = []
    for file in dict.fromkeys(files):
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            limits.append(int(file.read_text()))
    return limits


def limit_process_memory(limit_bytes: int) -> bool:
    """Make this process's allocations beyond a limit fail, as an error that can be caught.

    Without it the system kills the process, or another one. Loader processes started later inherit the
    limit, each for itself. It counts what is allocated, touched or not, but no files mapped into memory.

    Returns:
        Whether the system keeps to it. Linux does; macOS accepts such a limit and ignores it, so there it
        isn't set.

    Source:
        setrlimit(2), RLIMIT_DATA, which since Linux 4.7 covers all private writable memory.
    """
    if sys.platform != "linux":
        return False
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    return True


def require_writable(folder: Path, fix: str) -> None:
    """Refuse a folder in which nothing can be made, before any work is done for what should lie there.

    Args:
        folder: It may be missing; then it is to be made.
        fix: What to do.

    Raises:
        EngineError: It, or the nearest folder above it that exists, can't be written, or is a file (E101).
    """
    nearest = existing_folder(folder)
    if not nearest.is_dir():
        raise EngineError.of("E101", str(folder), f"nothing can be written here: {nearest} is a file", fix)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise EngineError.of("E101", str(folder), f"nothing can be written here: {nearest} is read-only", fix)


def existing_folder(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    path = folder.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def free_disk_bytes(folder: Path) -> int:
    """Space that this user can still fill where a folder is, or will be.

    Raises:
        OSError: The file system doesn't tell.
    """
    return shutil.disk_usage(existing_folder(folder)).free


def hub_checkpoints_dir() -> Path:
    """Where torch hub keeps weights files.

    Source:
        torch.hub.get_dir, told again because importing torch takes seconds.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))  # noqa: PTH118 - "~" is expanded next
    return Path(os.path.expanduser(home)) / "hub" / "checkpoints"  # noqa: PTH111 - pathlib raises for a home of nobody


def engine_cache_dir() -> Path:
    """Where engine keeps what it can find out again, such as what a check found."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "engine"

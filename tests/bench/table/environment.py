"""The environment of processes whose speed is measured: what engine gives its workers, and other allocators."""

from __future__ import annotations

import ctypes

from engine.executors.local import _WORKER_ENVIRONMENT

# Where dlopen finds them on most systems.
_ALLOCATORS = {"tcmalloc": "libtcmalloc_minimal.so.4", "jemalloc": "libjemalloc.so.2"}


def worker_environment() -> dict[str, str]:
    """What engine sets for a training process."""
    return dict(_WORKER_ENVIRONMENT)


def found_allocator() -> tuple[str, dict[str, str]]:
    """The allocator to compare with, and what of the environment makes a process use it; "" where there is none."""
    for name, library in _ALLOCATORS.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        return name, {"LD_PRELOAD": library, "TCMALLOC_LARGE_ALLOC_REPORT_THRESHOLD": str(2**50)}
    return "", {}

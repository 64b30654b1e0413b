"""The environment of processes whose speed is measured: what engine gives its workers, and other allocators."""

from __future__ import annotations

import os

from engine.allocator import choose
from engine.executors.local import _WORKER_ENVIRONMENT


def worker_environment() -> dict[str, str]:
    """What engine sets for a training process, but for the allocator."""
    return {name: value for name, value in _WORKER_ENVIRONMENT.items() if name not in os.environ}


def found_allocator() -> tuple[str, dict[str, str]]:
    """The allocator that engine would take, and what of the environment makes a process use it; "" for the system's."""
    allocator = choose("auto")
    return ("", {}) if not allocator.library else (allocator.name, allocator.environment(os.environ))

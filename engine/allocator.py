"""Which memory allocator a worker runs with: glibc's own, or a quicker one that is installed here.

Training frees and allocates the same large tensors in every step. glibc gives the largest back to the system and
gets them again page by page, zeroed; tcmalloc keeps them. Such libraries are put in front by the loader
(`LD_PRELOAD`), so nothing here needs them: what isn't there, or doesn't work here, isn't used. Linux only;
imports no torch.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Wanted = Literal["auto", "system", "tcmalloc", "jemalloc", "mimalloc"]

PRELOAD = "LD_PRELOAD"
# What distributions call the libraries; the loader finds them. The first that works is taken.
_SONAMES: dict[str, tuple[str, ...]] = {
    "tcmalloc": ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4"),
    "jemalloc": ("libjemalloc.so.2",),
    "mimalloc": ("libmimalloc.so.3", "libmimalloc.so.2"),
}
# A package from PyPI that carries a library, which then comes before the system's.
_WHEELS = {"mimalloc": "cmeel-mimalloc"}
# What "auto" looks for. jemalloc and mimalloc give memory back by the clock, between the steps of a training, which
# makes them slower than glibc here (`python -m tests.bench.allocators`).
_QUICKER = ("tcmalloc",)
_VARIABLES: dict[str, dict[str, str]] = {
    # It reports allocations of more than a gigabyte on standard error, as if they were a fault.
    "tcmalloc": {"TCMALLOC_LARGE_ALLOC_REPORT_THRESHOLD": str(2**60)},
}
# Under Debian and Ubuntu; elsewhere packages have similar names.
HOW_TO_INSTALL = {
    "tcmalloc": "apt-get install libtcmalloc-minimal4", "jemalloc": "apt-get install libjemalloc2",
    "mimalloc": "pip install cmeel-mimalloc",
}
_KNOWN = re.compile(r"/lib(tcmalloc|jemalloc|mimalloc)[^/]*\.so[^/]*$")
_PROBE_TIMEOUT_S = 20.0
# Uses memory as a worker does: from several threads, in small and large pieces, and after a fork.
_PROBE = """
import os, sys, threading
def use():
    kept = [bytearray(size) for size in (16, 5_000, 300_000, 3_000_000) for _ in range(4)]
    del kept[::2]
    kept.append(bytearray(20_000_000))
threads = [threading.Thread(target=use) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
child = os.fork()
if child == 0:
    use()
    os._exit(0)
if os.waitpid(child, 0)[1]: sys.exit(1)
import json
with open("/proc/self/maps") as maps:
    print(json.dumps(sorted({line.split(None, 5)[5].strip() for line in maps if "/" in line})))
"""


@dataclass(frozen=True, slots=True)
class Allocator:
    """An allocator that works here.

    Attributes:
        name: As in the recipe; "system" for the C library's own.
        library: The library's file; "" for the system's.
    """

    name: str
    library: str = ""

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Variables that put it in front in a new process, beside what a person has put there.

        Args:
            environ: The environment that they are added to.
        """
        if not self.library:
            return {}
        theirs = environ.get(PRELOAD, "")
        quiet = {name: value for name, value in _VARIABLES.get(self.name, {}).items() if name not in environ}
        return {**quiet, PRELOAD: f"{self.library}:{theirs}" if theirs else self.library}


SYSTEM = Allocator("system")


def choose(wanted: str, environ: Mapping[str, str] = os.environ) -> Allocator:
    """The allocator that a recipe's `hardware.allocator` means here; the system's where it isn't there.

    Args:
        wanted: As in the recipe.
        environ: A person's own environment: one that puts an allocator in front already is left as it is by "auto".
    """
    if wanted == "auto":
        if any(_KNOWN.search(f"/{path}") for path in re.split(r"[:\s]+", environ.get(PRELOAD, ""))):
            return SYSTEM
        return next((found for name in _QUICKER if (found := find(name))), SYSTEM)
    return find(wanted) or SYSTEM


@functools.cache  # each library is tried once in a process's life
def find(name: str) -> Allocator | None:
    """An allocator by its name if it is installed and works; None otherwise.

    Each candidate is tried in a process of its own, so that a broken library harms nobody.
    """
    if name == "system":
        return SYSTEM
    if sys.platform != "linux":
        return None
    for candidate in [*_in_wheel(_WHEELS.get(name, "")), *_SONAMES.get(name, ())]:
        library = _try(candidate)
        if library:
            return Allocator(name, library)
    return None


def _in_wheel(package: str) -> list[str]:
    """The shared library that an installed package carries."""
    if not package:
        return []
    from importlib import metadata  # noqa: PLC0415 - megabytes of a supervisor that may never need it

    with contextlib.suppress(metadata.PackageNotFoundError, OSError):
        files = metadata.files(package) or []
        found = [str(file.locate()) for file in files if _KNOWN.search(f"/{file}")]
        return sorted(path for path in found if Path(path).is_file())[:1]
    return []


def _try(candidate: str) -> str:
    """The file that a library's name leads to, if a process works with it; "" otherwise."""
    if any(mark in candidate for mark in " :"):  # LD_PRELOAD would take it for two
        return ""
    # Without a person's own libraries: what is tried is this one.
    environment = {name: value for name, value in os.environ.items() if name != PRELOAD} | {PRELOAD: candidate}
    try:
        told = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROBE], env=environment, capture_output=True, text=True,
            timeout=_PROBE_TIMEOUT_S, check=True, stdin=subprocess.DEVNULL,
        )
        mapped = json.loads(told.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ""
    name = Path(candidate).name.partition(".so")[0]
    return next((path for path in mapped if Path(path).name.startswith(f"{name}.so")), "")


def in_use() -> Allocator:
    """The allocator of this very process, whoever put it there."""
    try:
        lines = Path("/proc/self/maps").read_text(errors="replace").splitlines()
    except OSError:
        return SYSTEM
    for line in lines:
        path = line.split(None, 5)[-1].strip()
        found = _KNOWN.search(path)
        if found:
            return Allocator(found[1], path)
    return SYSTEM

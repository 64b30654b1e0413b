"""Tells others that recipes are being rehearsed for a runs folder, and how far: what may take minutes looks idle else.

A lock says that somebody is at it, a file what is being done. Neither is worth a failure: where the folder
can't be written, nobody is told.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine.rundir import FileLock, is_locked, open_regular

LOCK, FILE = "rehearsal.lock", "rehearsal.json"
_MOST_BYTES = 10_000


class Rehearsal(msgspec.Struct, frozen=True, gc=False):
    """A rehearsal at work."""

    name: str
    """The recipe that is rehearsed."""
    number: int
    """Which one it is, from 1 on."""
    total: int
    words: str
    """What is being done with it."""
    begun: float
    """Seconds since 1970."""


class _Mark:
    """Writes what is being done."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._begun = time.time()

    def tell(self, done: int, total: int, name: str, words: str) -> None:
        """Recipes done, recipes in all, the one being rehearsed, and what is being done with it."""
        if self._path is not None:
            rehearsal = Rehearsal(name, done + 1, total, words, self._begun)
            with contextlib.suppress(OSError):
                self._path.write_bytes(msgspec.json.encode(rehearsal))


@contextlib.contextmanager
def marked(runs_dir: Path) -> Iterator[_Mark]:
    """Tell of a rehearsal as long as it lasts; of several at once, of the first."""
    lock = FileLock(runs_dir / LOCK)
    is_new, is_ours = not runs_dir.exists(), False
    with contextlib.suppress(OSError):
        runs_dir.mkdir(parents=True, exist_ok=True)
        is_ours = lock.acquire()
    try:
        yield _Mark(runs_dir / FILE if is_ours else None)
    finally:
        if is_ours:
            for path in (runs_dir / FILE, *([runs_dir / LOCK] if is_new else [])):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        lock.release()
        if is_new:  # unless something is in it by now
            with contextlib.suppress(OSError):
                runs_dir.rmdir()


def read_rehearsal(runs_dir: Path) -> Rehearsal | None:
    """The rehearsal at work for a runs folder; None where there is none, or nobody can tell."""
    try:
        if not is_locked(runs_dir / LOCK):
            return None
        with open_regular(runs_dir / FILE) as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=Rehearsal)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None

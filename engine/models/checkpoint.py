"""Checkpoints that survive a power cut: written aside, checksummed, renamed, the former one kept.

A sidecar names the sha256 of the new file and of those before it, and is written first; so at any
moment the files that stand there can be told sound from damaged. Loading unpickles tensors and
plain values only.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from engine.errors import EngineError, TrainingError
from engine.rundir import write_atomic, write_bytes_atomic

FORMAT_VERSION = 1

Content = dict[str, Any]

# More than the two files that can stand there: each crash while saving leaves one that never did.
_NUM_FORMER = 7

# What torch.load is known to raise on a file that isn't sound.
UNPICKLING_FAULTS = (
    pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, AssertionError,
    ArithmeticError, struct.error,
)


class _HashingFile:
    """Passes writes on to a file and hashes them on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def previous_path(path: Path) -> Path:
    """Where the checkpoint before this one is kept."""
    return path.with_suffix(".previous" + path.suffix)


def _sidecar(path: Path) -> Path:
    """Where the checksums of a checkpoint and of those before it are kept."""
    newest = path.name.replace(".previous.", ".")
    return path.with_name(newest + ".sha256")


def save_checkpoint(path: Path, content: Content, *, keep_previous: bool = True) -> None:
    """Write a checkpoint so that at every moment a sound one is on disk.

    Args:
        path: The checkpoint file.
        content: Tensors and plain values by name.
        keep_previous: Keep the file it replaces beside it.

    Raises:
        OSError: The disk is full or can't be written; the old checkpoint is untouched.
    """
    fresh = path.with_name(f".{path.name}.new")
    digests: list[str] = []

    def write(file: BinaryIO) -> None:
        hashing = _HashingFile(file)
        torch.save({"format": FORMAT_VERSION, **content}, cast(IO[bytes], hashing))
        digests.append(hashing.sha256)

    try:
        write_atomic(fresh, write)
        write_bytes_atomic(_sidecar(path), "\n".join([*digests, *_known_digests(path)[:_NUM_FORMER]]).encode())
        if keep_previous and path.exists():
            path.replace(previous_path(path))
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _known_digests(path: Path) -> list[str]:
    try:
        return _sidecar(path).read_text().split()
    except FileNotFoundError:
        return []


def load_checkpoint(path: Path) -> Content:
    """Read one checkpoint.

    Raises:
        EngineError: It is missing, damaged, or of a newer version.
    """
    fix = "name another checkpoint that engine wrote, such as a run's checkpoints/best.pt"
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        known = _known_digests(path)
        if known and found not in known:
            raise EngineError.of("T102", str(path), "the checkpoint is damaged: its checksum is wrong", fix)
        content = cast(Content, load_plain(path))
    except FileNotFoundError as error:
        raise EngineError.of("T101", str(path), "there is no checkpoint", "let the run finish an epoch") from error
    except (OSError, *UNPICKLING_FAULTS) as error:
        words = error.strerror if isinstance(error, OSError) else ""
        found = f"the checkpoint can't be read: {words or 'it is cut short, damaged, or holds more than plain tensors'}"
        raise EngineError.of("T102", str(path), found, fix) from error
    if not isinstance(content, dict) or content.get("format", 0) > FORMAT_VERSION:
        raise EngineError.of("T103", str(path), "the checkpoint is of another version", "update engine")
    return content


def load_plain(path: Path) -> Any:
    """What `torch.save` wrote: tensors and plain values on the CPU; nothing else is ever unpickled.

    Raises:
        OSError: The file can't be read.
        UNPICKLING_FAULTS: It isn't sound.
    """
    with warnings.catch_warnings():
        # A damaged file looks like one of another pickle protocol; its fault is told, not its protocol.
        warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
        return torch.load(path, map_location="cpu", weights_only=True)


def load_newest(path: Path) -> tuple[Content | None, str]:
    """The checkpoint to resume from: the newest, or the one before when that is damaged.

    Returns:
        The content, or None when there is nothing to resume from, and a warning or "".

    Raises:
        TrainingError: Checkpoints are there but none can be read.
    """
    candidates = [candidate for candidate in (path, previous_path(path)) if candidate.exists()]
    failures: list[str] = []
    for candidate in candidates:
        try:
            return load_checkpoint(candidate), "; ".join(failures)
        except EngineError as error:
            failures.append(f"{candidate.name}: {error.problems[0].found}")
            if candidate == path and previous_path(path).exists():
                failures.append(f"going on from {previous_path(path).name}")
    if failures:
        raise TrainingError.of(
            "T104", str(path), "no checkpoint of the run can be read: " + "; ".join(failures),
            "queue the recipe again to start anew",
        )
    return None, ""


def load_accepted(path: Path, accept: Callable[[Content], bool]) -> Content | None:
    """The newest sound checkpoint that will do, of the last one and the one before it; None when neither does."""
    for candidate in (path, previous_path(path)):
        with contextlib.suppress(EngineError):
            content = load_checkpoint(candidate)
            if accept(content):
                return content
    return None


def remove_leftovers(folder: Path) -> None:
    """Delete half-written files that a killed worker left."""
    with contextlib.suppress(FileNotFoundError):
        for path in folder.glob(".*"):
            if path.is_file():
                path.unlink(missing_ok=True)

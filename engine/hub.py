"""Published weights on this machine: where they are kept, whether they are sound, how they get there.

They lie in torch hub's cache, so what torchvision has fetched is found here and the other way round.
Nothing here imports torch. A file is checked against the hash in its name before it takes its place.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from engine.catalogue import ARCHS, WeightsFile
from engine.errors import Problem, WeightsError, Where
from engine.machine import hub_checkpoints_dir
from engine.rundir import write_atomic

# Told bytes done and bytes in all; the latter is 0 while nobody knows.
Progress = Callable[[int, int], None]

# Long enough for a slow line; a line that is silent for longer is dead.
_SILENCE_S = 30.0
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Published:
    """A published file and what it is for.

    Attributes:
        file: The file.
        word: What a recipe calls it.
        archs: The detectors that start from it.
    """

    file: WeightsFile
    word: Literal["coco", "imagenet"]
    archs: tuple[str, ...]


def published() -> list[Published]:
    """Every published file of the catalogue, once."""
    users: dict[tuple[WeightsFile, Literal["coco", "imagenet"]], list[str]] = {}
    for arch in ARCHS.values():
        if arch.coco is not None:
            users.setdefault((arch.coco, "coco"), []).append(arch.name)
        users.setdefault((arch.imagenet, "imagenet"), []).append(arch.name)
    return [Published(file, word, tuple(archs)) for (file, word), archs in users.items()]


def cached_path(weights: WeightsFile) -> Path:
    """Where a published file lies when it is here."""
    return hub_checkpoints_dir() / weights.name


def sha256_of(path: Path, on_progress: Progress = lambda _done, _total: None) -> str:
    """A file's sha256 in hexadecimal digits.

    Raises:
        OSError: It can't be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        total, done = os.fstat(file.fileno()).st_size, 0
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            on_progress(done, total)
    return digest.hexdigest()


def check_sha256(path: Path, prefix: str) -> None:
    """Compare a file with the hash in its name.

    Raises:
        WeightsError: They differ, or the file can't be read.
    """
    try:
        found = sha256_of(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not found.startswith(prefix):
        raise WeightsError.of(
            "W102", str(path), f"the file is damaged: its sha256 begins with {found[:8]}, not {prefix}",
            "fetch it again with `engine weights fetch`",
        )


def _unreadable(path: Path, error: OSError) -> WeightsError:
    found = f"the file can't be read: {error.strerror or error}"
    return WeightsError((Problem("W103", Where(str(path)), found, "name a file that can be read"),))


def fetch_file(weights: WeightsFile, on_progress: Progress = lambda _done, _total: None) -> Path:
    """Where a published file lies; it is downloaded when it isn't there, and isn't read when it is.

    Raises:
        WeightsError: It can't be reached or written, or what came has another hash.
    """
    path = cached_path(weights)
    return path if path.is_file() else download(weights, on_progress)


def download(weights: WeightsFile, on_progress: Progress = lambda _done, _total: None) -> Path:
    """Fetch a published file from the network, whether it is here or not; what is there goes only for a sound one.

    Returns:
        Its path.

    Raises:
        WeightsError: It can't be reached or written, or what came has another hash.
    """
    path = cached_path(weights)

    def write(file: BinaryIO) -> None:
        digest = _download(weights.url, file, on_progress)
        if not digest.startswith(weights.sha256_prefix):
            raise WeightsError.of(
                "W102", str(path),
                f"what came from {weights.url} is damaged: its sha256 begins with {digest[:8]}, "
                f"not {weights.sha256_prefix}", "try again",
            )

    try:
        write_atomic(path, write)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        reason = getattr(error, "reason", None) or error
        raise WeightsError.of(
            "W101", str(path), f"{weights.name} isn't there and can't be fetched: {reason}",
            f"fetch {weights.url} elsewhere and bring it in with `engine weights import`, "
            "or set model.weights to a file",
        ) from error
    return path


def _download(url: str, file: BinaryIO, on_progress: Progress) -> str:
    digest, done = hashlib.sha256(), 0
    with urllib.request.urlopen(url, timeout=_SILENCE_S) as answer:  # noqa: S310 - an address of our own table
        total = int(answer.headers.get("Content-Length") or 0)
        while chunk := answer.read(_CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            on_progress(done, total)
    if total and done < total:
        raise urllib.error.URLError(f"the connection ended after {done} of {total} bytes")
    return digest.hexdigest()


def import_file(path: Path, on_progress: Progress = lambda _done, _total: None) -> Published:
    """Copy a published file that a person brought into the cache, under its right name.

    Args:
        path: The file, under any name: its content tells which one it is.
        on_progress: Told bytes read.

    Raises:
        WeightsError: It can't be read, or no published file has its content.
        OSError: The cache can't be written.
    """
    try:
        digest = sha256_of(path, on_progress)
    except OSError as error:
        raise _unreadable(path, error) from error
    found = next((one for one in published() if digest.startswith(one.file.sha256_prefix)), None)
    if found is None:
        raise WeightsError.of(
            "W106", str(path), _not_published(path, digest),
            "fetch it again; `engine weights list` names every published file. Weights of your own need no import: "
            "set model.weights to their path",
        )
    target = cached_path(found.file)
    if not target.is_file() or not sha256_of(target).startswith(found.file.sha256_prefix):
        with path.open("rb") as file:
            write_atomic(target, lambda copy: shutil.copyfileobj(file, copy, _CHUNK_BYTES))
    return found


def _not_published(path: Path, digest: str) -> str:
    named = next((one.file for one in published() if one.file.name == path.name), None)
    if named is None:
        return f"no published weights file: its sha256 begins with {digest[:8]}"
    return f"{named.name} is damaged: its sha256 begins with {digest[:8]}, not {named.sha256_prefix}"

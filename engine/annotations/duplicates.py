"""Find pictures that a dataset holds more than once: the same file, the same bytes, or nearly the same picture.

A picture in train and in val is measured as if it were new, which makes the figures better than the
model. Bytes are compared only where sizes are equal, so that most files are never opened for it.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.annotations import codes
from engine.annotations.picture import THUMBNAIL_SIZE
from engine.annotations.records import ImageRecord, SplitRead
from engine.errors import Problem, Severity, Where
from engine.recipe.schema import Dataset

NEAR_BITS = 16
"""Of 256 comparisons of neighbours in a thumbnail, how many may differ between near duplicates."""
NEAR_LEVELS = 4.0
"""Mean difference of two thumbnails, of 255 levels, up to which pictures are near duplicates."""
# A picture without structure, such as a black one, is like any other of its kind.
_FLAT_LEVELS = 16
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class _Entry:
    split: str
    record: ImageRecord
    file: tuple[int, int]
    size_bytes: int

    @property
    def path(self) -> str:
        return str(self.record.image_path)


def duplicate_problems(
    dataset: Dataset, splits: Mapping[str, SplitRead], thumbnails: Mapping[str, bytes]
) -> list[Problem]:
    """Every picture that was there before, in the order train, val, test.

    Args:
        dataset: The policies.
        splits: Split name -> what was read.
        thumbnails: Image path -> `PictureFacts.thumbnail`; pictures without one aren't compared
            by their looks.

    Returns:
        One problem for each repetition; a picture is told once, as its closest kind.
    """
    entries = list(_entries(splits))
    again: dict[str, Problem] = {}
    for entry, first in _repeated_files(entries):
        if entry.split != first.split:
            again[entry.path] = _same_file(entry, first)
    for entry, first in _repeated_bytes(entries):
        again.setdefault(entry.path, _same_bytes(dataset, entry, first))
    fresh = [entry for entry in entries if entry.path not in again and thumbnails.get(entry.path)]
    for entry, first in _near(fresh, [thumbnails[entry.path] for entry in fresh]):
        again[entry.path] = _near_problem(entry, first)
    return list(again.values())


def _entries(splits: Mapping[str, SplitRead]) -> Iterator[_Entry]:
    for split, read in splits.items():
        for record in read.records:
            try:
                status = os.stat(record.image_path)  # noqa: PTH116 - pathlib's costs twice the time
            except OSError:
                continue  # gone since it was read; training will tell
            yield _Entry(split, record, (status.st_dev, status.st_ino), status.st_size)


def _repeated_files(entries: list[_Entry]) -> Iterator[tuple[_Entry, _Entry]]:
    owners: dict[tuple[int, int], _Entry] = {}
    for entry in entries:
        first = owners.setdefault(entry.file, entry)
        if first is not entry:
            yield entry, first


def _repeated_bytes(entries: list[_Entry]) -> Iterator[tuple[_Entry, _Entry]]:
    sizes: defaultdict[int, list[_Entry]] = defaultdict(list)
    for entry in entries:
        sizes[entry.size_bytes].append(entry)
    for alike in sizes.values():
        owners: dict[bytes, _Entry] = {}
        for entry in alike if len(alike) > 1 else ():
            first = owners.setdefault(digest(entry.path), entry)
            if first is not entry:
                yield entry, first


def digest(path: str) -> bytes:
    """A hash of a file's bytes; of its path when it can't be read, so that it equals no other."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError:
        return path.encode("utf-8", "surrogateescape")


def _near(entries: list[_Entry], thumbnails: list[bytes]) -> Iterator[tuple[_Entry, _Entry]]:
    """Each picture with the earlier one it is nearest to, of another split if there is one."""
    if not entries:
        return
    width, height = THUMBNAIL_SIZE
    looks = np.frombuffer(b"".join(thumbnails), dtype=np.uint8).reshape(-1, height, width)
    plain = np.ptp(looks.reshape(len(looks), -1), axis=1) < _FLAT_LEVELS
    # +1 or -1 for each pair of neighbours: the product of two rows counts agreements.
    signs = np.where(looks[:, :, 1:] > looks[:, :, :-1], 1, -1).reshape(len(looks), -1).astype(np.float32)
    signs[plain] = 0
    split_of = np.array([entry.split for entry in entries])
    least = signs.shape[1] - 2 * NEAR_BITS
    for start in range(0, len(entries), _CHUNK):
        agreement = signs[start : start + _CHUNK] @ signs[: start + _CHUNK].T
        for row, near in enumerate(agreement >= least):
            index = start + row
            candidates = np.flatnonzero(near[:index])
            if len(candidates):
                first = _nearest(looks, index, candidates, split_of)
                if first is not None:
                    yield entries[index], entries[first]


def _nearest(
    looks: NDArray[np.uint8], index: int, candidates: NDArray[np.intp], split_of: NDArray[np.str_]
) -> int | None:
    distances = np.abs(looks[candidates].astype(np.int16) - looks[index]).mean(axis=(1, 2))
    near = distances <= NEAR_LEVELS
    if not near.any():
        return None
    candidates, distances = candidates[near], distances[near]
    # False sorts before True: another split first, then by looks.
    return int(candidates[np.lexsort((distances, split_of[candidates] == split_of[index]))[0]])


def _same_file(entry: _Entry, first: _Entry) -> Problem:
    found = f"the same image is in {first.split} and in {entry.split}: what is measured was learnt"
    fix = "keep it in one of them; if all are, give each split a folder of its own"
    return Problem(codes.FILE_IN_TWO_SPLITS, Where(entry.path), found, fix)


def _same_bytes(dataset: Dataset, entry: _Entry, first: _Entry) -> Problem:
    found = f"byte for byte the same picture as {_called(first, entry)}"
    if not _same_labels(entry.record, first.record):
        found += ", with other labels"
    if entry.split == first.split:
        severity: Severity = "error" if dataset.duplicate_images == "error" else "warning"
        return Problem(codes.IMAGE_TWICE, Where(entry.path), found, "delete one of the two", severity)
    found += f": it is in {first.split} and in {entry.split}"
    fix = 'delete it from one of them, or set dataset.leaked_images = "warn"'
    severity = "error" if dataset.leaked_images == "error" else "warning"
    return Problem(codes.IMAGE_LEAKED, Where(entry.path), found, fix, severity)


def _called(first: _Entry, beside: _Entry) -> str:
    """A picture by its name alone where it lies in the same folder as the one it is compared with."""
    folder, _, name = first.path.rpartition(os.sep)
    return name if folder == beside.path.rpartition(os.sep)[0] else first.path


def _same_labels(first: ImageRecord, second: ImageRecord) -> bool:
    return np.array_equal(first.boxes_xyxy, second.boxes_xyxy) and np.array_equal(first.labels, second.labels)


def _near_problem(entry: _Entry, first: _Entry) -> Problem:
    found = f"nearly the same picture as {_called(first, entry)}"
    if entry.split == first.split:
        fix = "nothing, unless many are: then they count for more than the others"
        return Problem(codes.IMAGE_NEARLY_TWICE, Where(entry.path), found, fix, "note")
    found += f": it is in {first.split} and in {entry.split}"
    fix = "look at both; pictures of one scene belong into one split"
    return Problem(codes.IMAGE_NEARLY_LEAKED, Where(entry.path), found, fix, "warning")

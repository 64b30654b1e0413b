"""Remember what a check found, so that a second check of unchanged data is answered at once.

Data counts as unchanged while every file keeps its name, size, inode and both its times; the time
of the last change to the inode can't be set by programs, so that a rewritten label is noticed even
where its date was restored. Files so young that another change could bear the same time are told
by their content. A cache that can't be read or written is as good as none.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import PIL
from lxml import etree

from engine.annotations.folders import list_files
from engine.annotations.labelfile import read_bounded
from engine.annotations.picture import IMAGE_SUFFIXES, PictureFacts
from engine.annotations.records import SPLITS, Audit, ImageRecord, SplitRead, SplitSummary
from engine.errors import DataError, Problem
from engine.recipe.schema import Classes, Dataset
from engine.rundir import write_bytes_atomic

MAX_FILES = 32
"""Cached answers that are kept; the oldest go first."""

_LABEL_SUFFIXES = {"voc": frozenset({".xml"}), "yolo": frozenset({".txt"})}
_FINE_GRAIN_NS = 50_000_000
_COARSE_GRAIN_NS = 2_000_000_000

Signature = tuple[int, int, int, int, int]
"""Device, inode, size in bytes, time of content and of inode in ns."""


class _Packed(msgspec.Struct):
    """A split's records as columns, which load in a fraction of the time of single objects."""

    image_paths: list[str]
    annotation_paths: list[str | None]
    widths: list[int]
    heights: list[int]
    apply_exif: list[bool]
    counts: list[int]
    boxes: bytes
    labels: bytes
    difficult: bytes
    crowd: bytes
    problems: tuple[Problem, ...]


class _Unpacking(Mapping[str, SplitRead]):
    """Splits that are unpacked when somebody asks for them: a check shows problems and counts only."""

    def __init__(self, packed: Mapping[str, _Packed]) -> None:
        self._packed = packed
        self._read: dict[str, SplitRead] = {}

    def __getitem__(self, split: str) -> SplitRead:
        if split not in self._read:
            self._read[split] = _unpacked(self._packed[split])
        return self._read[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


class _Answer(msgspec.Struct):
    young: dict[str, bytes]
    splits: dict[str, _Packed]
    problems: tuple[Problem, ...]
    summary: dict[str, SplitSummary]


class AuditCache:
    """The answer to one question about one state of the data."""

    def __init__(self, path: Path, young: dict[str, bytes]) -> None:
        self._path = path
        self._young = young

    @classmethod
    def of(cls, folder: Path, dataset: Dataset, classes: Classes, *, decode: bool) -> AuditCache:
        """Look at the state of the data; opens no file but young ones."""
        key = hashlib.blake2b(digest_size=16)
        key.update(repr((_judges(), decode, dataset.model_dump_json(), classes.model_dump_json())).encode())
        now = time.time_ns()
        state = [(path, _signature(path)) for path in _files(dataset)]
        key.update(repr(state).encode("utf-8", "surrogatepass"))
        young = {path: _digest(path) for path, signature in state if signature and _is_young(signature, now)}
        return cls(folder / f"audit-{key.hexdigest()}.msgpack", young)

    def load(self) -> Audit | None:
        """What was found when the data was in this state, or None."""
        answer = _load(self._path, _Answer)
        if answer is None or any(_digest(path) != digest for path, digest in answer.young.items()):
            return None
        return Audit(_Unpacking(answer.splits), answer.problems, answer.summary)

    def save(self, found: Audit) -> None:
        """Remember what was found."""
        splits = {split: _packed(read) for split, read in found.splits.items()}
        _save(self._path, _Answer(self._young, splits, found.problems, dict(found.summary)))


class PictureMemory:
    """What was seen of image files when they were decoded, which is what takes the time of a check."""

    def __init__(self, path: Path, known: dict[str, tuple[Signature, PictureFacts]]) -> None:
        self._path = path
        self._known = known
        self._signatures: dict[str, Signature] = {}
        self._seen: dict[str, tuple[Signature, PictureFacts]] = {}

    @classmethod
    def of(cls, folder: Path, dataset: Dataset) -> PictureMemory:
        """The memory of a dataset's images."""
        roots = "\0".join(sorted({str(root.images) for split in SPLITS for root in dataset.roots(split)}))
        name = hashlib.blake2b(f"{_judges()}{roots}".encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        path = folder / f"pictures-{name}.msgpack"
        return cls(path, _load(path, dict[str, tuple[Signature, PictureFacts]]) or {})

    def recall(self, path: str) -> PictureFacts | None:
        """What was seen of a file; None when it wasn't, or has changed since."""
        signature = _signature(path)
        if signature is None:
            return None
        if not _is_young(signature, time.time_ns()):
            self._signatures[path] = signature
        known = self._known.get(path)
        if known is None or known[0] != signature:
            return None
        self._seen[path] = known
        return known[1]

    def remember(self, path: str, facts: PictureFacts) -> None:
        """Keep what was seen of a file since `recall` was asked for it."""
        signature = self._signatures.get(path)
        if signature is not None:
            self._seen[path] = (signature, facts)

    def save(self) -> None:
        """Write down what was seen this time; files that are gone are forgotten."""
        if self._seen and self._seen != self._known:
            _save(self._path, self._seen)


@functools.cache
def _judges() -> str:
    """What judges: this package's own code and the libraries that read. Another one may judge otherwise."""
    code = hashlib.blake2b(digest_size=16)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(path.read_bytes())
    return repr((code.hexdigest(), PIL.__version__, etree.LXML_VERSION, np.__version__))


def _files(dataset: Dataset) -> Iterator[str]:
    """Every file that a check of the dataset depends on."""
    if dataset.names_file is not None:
        yield str(dataset.names_file)
    for split in SPLITS:
        for root in dataset.roots(split):
            yield from _listed(root.images, IMAGE_SUFFIXES)
            if dataset.format == "coco":
                yield str(root.annotations)
            else:
                yield from _listed(root.annotations, _LABEL_SUFFIXES[dataset.format])


def _listed(folder: Path, suffixes: frozenset[str]) -> Iterable[str]:
    try:
        return list_files(folder, suffixes).values()
    except DataError:
        return (str(folder),)


def _signature(path: str) -> Signature | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - pathlib's costs twice the time, and there are many
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_young(signature: Signature, now_ns: int) -> bool:
    """Whether a change after this moment could leave the signature as it is."""
    latest = max(signature[3], signature[4])
    # File systems without fractions of a second count in steps of one or two.
    grain = _COARSE_GRAIN_NS if signature[3] % 1_000_000_000 == 0 else _FINE_GRAIN_NS
    return now_ns - latest < grain


def _digest(path: str) -> bytes:
    try:
        return hashlib.blake2b(read_bounded(path, 2**30), digest_size=16).digest()
    except DataError:
        return b""


_Content = TypeVar("_Content")


def _load(path: Path, kind: type[_Content]) -> _Content | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, body = content[:16], content[16:]
    if hashlib.blake2b(body, digest_size=16).digest() != digest:
        return None
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.MsgspecError:
        return None


def _save(path: Path, content: object) -> None:
    # A full or read-only disk, or a file name that isn't text, costs the next check its speed and nothing else.
    with contextlib.suppress(OSError, UnicodeEncodeError):
        body = msgspec.msgpack.encode(content)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(path, hashlib.blake2b(body, digest_size=16).digest() + body)
        files = sorted(path.parent.glob("*.msgpack"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        for file in files[MAX_FILES:]:
            file.unlink(missing_ok=True)


def _packed(read: SplitRead) -> _Packed:
    records = read.records
    empty = np.zeros((0, 4), np.float32)
    return _Packed(
        image_paths=[str(record.image_path) for record in records],
        annotation_paths=[None if r.annotation_path is None else str(r.annotation_path) for r in records],
        widths=[record.width for record in records],
        heights=[record.height for record in records],
        apply_exif=[record.apply_exif for record in records],
        counts=[len(record.labels) for record in records],
        boxes=np.concatenate([empty, *(record.boxes_xyxy for record in records)]).tobytes(),
        labels=np.concatenate([np.zeros(0, np.int64), *(record.labels for record in records)]).tobytes(),
        difficult=np.concatenate([np.zeros(0, np.bool_), *(record.difficult for record in records)]).tobytes(),
        crowd=np.concatenate([np.zeros(0, np.bool_), *(record.crowd for record in records)]).tobytes(),
        problems=read.problems,
    )


def _unpacked(packed: _Packed) -> SplitRead:
    boxes = np.frombuffer(bytearray(packed.boxes), np.float32).reshape(-1, 4)
    labels = np.frombuffer(bytearray(packed.labels), np.int64)
    difficult = np.frombuffer(bytearray(packed.difficult), np.bool_)
    crowd = np.frombuffer(bytearray(packed.crowd), np.bool_)
    records, start = [], 0
    for index, count in enumerate(packed.counts):
        part = slice(start, start + count)
        annotation = packed.annotation_paths[index]
        records.append(
            ImageRecord(
                image_path=Path(packed.image_paths[index]),
                annotation_path=None if annotation is None else Path(annotation),
                width=packed.widths[index],
                height=packed.heights[index],
                boxes_xyxy=boxes[part],
                labels=labels[part],
                difficult=difficult[part],
                crowd=crowd[part],
                apply_exif=packed.apply_exif[index],
            )
        )
        start += count
    return SplitRead(tuple(records), packed.problems)

"""What a person names to be looked at: pictures, folders, patterns, videos, cameras and streams; no torch."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.annotations.picture import IMAGE_SUFFIXES
from engine.errors import DataError, Problem

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})

_CAMERA = re.compile(r"^camera:(.+)$")
_STREAM = re.compile(r"^(rtsps?|https?|rtmps?|udp|tcp|srt)://")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file.

    Attributes:
        path: As the person would name it.
        name: What its outputs are called after: its path below the folder that was named, with forward slashes.
    """

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything to be looked at, each once.

    Attributes:
        pictures: Picture files, in the order in which they were named, folders sorted.
        videos: Video files, likewise.
        streams: "camera:0" and URLs.
    """

    pictures: tuple[Picture, ...] = ()
    videos: tuple[Path, ...] = ()
    streams: tuple[str, ...] = ()


def find_inputs(words: Iterable[str], *, recursive: bool = True) -> Inputs:
    """What a person's words name.

    Args:
        words: Each a file, a folder, a pattern such as "shots/*.jpg", "camera:0" or a stream's URL.
        recursive: Search folders below folders too.

    Raises:
        DataError: A name doesn't exist, or a folder or pattern holds nothing to look at (X103).
    """
    pictures: dict[Path, Picture] = {}
    videos: dict[Path, Path] = {}
    streams: dict[str, None] = {}
    problems: list[Problem] = []
    for word in words:
        if is_stream(word):
            streams[word] = None
            continue
        found = list(_files(word, recursive=recursive))
        if not found:
            error = DataError.of(
                "X103", word, "no picture is there", "name pictures, videos, or folders that hold some"
            )
            problems.extend(error.problems)
        for picture in found:
            place = picture.path.resolve()
            if picture.path.suffix.lower() in VIDEO_SUFFIXES:
                videos.setdefault(place, picture.path)
            else:
                pictures.setdefault(place, picture)
    if problems:
        raise DataError(problems)
    return Inputs(tuple(pictures.values()), tuple(videos.values()), tuple(streams))


def is_stream(word: str) -> bool:
    """Whether a word names a camera or a stream rather than files."""
    return bool(_CAMERA.match(word) or _STREAM.match(word))


def camera_of(word: str) -> str | None:
    """The camera that a word names: its number or device; None for a URL."""
    match = _CAMERA.match(word)
    return match[1] if match else None


def pictures_in(folder: Path, *, recursive: bool) -> list[Picture]:
    """The pictures in a folder, sorted; hidden files are passed over."""
    return [found for found in _inside(folder, recursive=recursive) if found.path.suffix.lower() in IMAGE_SUFFIXES]


def _files(word: str, *, recursive: bool) -> Iterator[Picture]:
    path = Path(word)
    if path.is_dir():
        yield from _inside(path, recursive=recursive)
    elif path.is_file():
        yield Picture(path, path.name)
    elif glob.has_magic(word):
        for match in sorted(glob.glob(word, recursive=True)):  # noqa: PTH207 - a pattern may be absolute or begin with ~
            if Path(match).is_file() and Path(match).suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
                yield Picture(Path(match), Path(match).name)


def _inside(folder: Path, *, recursive: bool) -> Sequence[Picture]:
    paths = folder.rglob("*") if recursive else folder.glob("*")
    return [
        Picture(path, path.relative_to(folder).as_posix())
        for path in sorted(paths)
        if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]

"""List a folder of unknown layout: what kinds of files lie where. Opens none of them.

Hidden files are passed over, links to folders followed once; a folder of absurd size is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.annotations.picture import IMAGE_SUFFIXES
from engine.errors import DataError

MAX_ENTRIES = 1_000_000
"""Files and folders that are looked at; nobody's photos are more."""

Folder = tuple[str, ...]
"""A folder by its names from the top of the tree; () is the top itself."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder and what lies in it, each kind of file as folder -> sorted file names.

    Attributes:
        top: The folder, resolved.
        images: Pictures.
        others: Suffix in lower case -> folder -> names, for every other kind of file.
    """

    top: Path
    images: Mapping[Folder, list[str]]
    others: Mapping[str, Mapping[Folder, list[str]]]

    def path(self, folder: Folder) -> Path:
        """Where a folder of the tree lies."""
        return self.top.joinpath(*folder)

    def of_kind(self, suffix: str) -> Mapping[Folder, list[str]]:
        """Folder -> names of the files with a suffix, such as ".xml"."""
        return self.others.get(suffix, {})

    @property
    def num_images(self) -> int:
        """Pictures in all."""
        return sum(map(len, self.images.values()))


def look_through(top: Path) -> Tree:
    """List a folder and everything below it.

    Raises:
        DataError: It isn't a folder, can't be listed, or holds too much (D003).
    """
    images: dict[Folder, list[str]] = {}
    others: dict[str, dict[Folder, list[str]]] = {}
    pending: list[Folder] = [()]
    seen: set[tuple[int, int]] = set()
    num_entries = 0
    top = top.resolve()
    while pending:
        folder = pending.pop()
        for entry in _entries(top, folder, seen):
            num_entries += 1
            if num_entries > MAX_ENTRIES:
                found = f"there are more than {MAX_ENTRIES:,} files in it"
                raise DataError.of("D003", str(top), found, "name the folder of one dataset")
            if entry.is_dir():
                pending.append((*folder, entry.name))
                continue
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - there are many
            kind = images if suffix in IMAGE_SUFFIXES else others.setdefault(suffix, {})
            kind.setdefault(folder, []).append(entry.name)
    return Tree(top, _sorted(images), {suffix: _sorted(kind) for suffix, kind in others.items()})


def _entries(top: Path, folder: Folder, seen: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    path = top.joinpath(*folder)
    try:
        status = path.stat()
        if (status.st_dev, status.st_ino) in seen:
            return []
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(path) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as fault:
        if folder:  # training would stumble over it; init only looks for what is usable
            return []
        found = "is not a folder" if isinstance(fault, NotADirectoryError) else (fault.strerror or "").lower()
        raise DataError.of("D003", str(path), found, "name the folder that holds images and annotations") from fault


def _sorted(kind: dict[Folder, list[str]]) -> dict[Folder, list[str]]:
    return {folder: sorted(kind[folder]) for folder in sorted(kind)}

"""List a split's folders and pair images with label files by their relative stem.

Folders may be nested; hidden files (.DS_Store, ._IMG_1.jpg) are passed over; suffixes count
whatever their case. Names are compared in Unicode's composed form, because some systems store
"é" as two characters and others as one.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from engine.annotations import codes
from engine.annotations.picture import IMAGE_SUFFIXES
from engine.errors import DataError


def list_images(folder: Path) -> dict[str, list[str]]:
    """Relative stem -> image files, sorted by stem; several where only the suffix differs.

    Raises:
        DataError: The folder is missing or can't be listed (D100).
    """
    return _by_stem(folder, IMAGE_SUFFIXES)


def list_labels(folder: Path, suffix: str) -> dict[str, list[str]]:
    """Relative stem -> label files, sorted by stem.

    Raises:
        DataError: The folder is missing or can't be listed (D100).
    """
    return _by_stem(folder, frozenset({suffix}))


def _by_stem(folder: Path, suffixes: frozenset[str]) -> dict[str, list[str]]:
    root = str(folder)
    try:
        names = sorted(_walk(root, suffixes))
    except OSError as fault:
        found = "is not a folder" if isinstance(fault, NotADirectoryError) else (fault.strerror or "").lower()
        raise DataError.of(
            codes.FOLDER_MISSING,
            str(fault.filename or root),
            found or "can't be listed",
            "correct the path in [dataset]; it is relative to the recipe",
        ) from fault
    stems: dict[str, list[str]] = {}
    for name in names:
        stem = os.path.splitext(name)[0]  # noqa: PTH122  a tenth of the time of pathlib
        stems.setdefault(unicodedata.normalize("NFC", stem), []).append(os.path.join(root, name))  # noqa: PTH118
    return stems


def _walk(root: str, suffixes: Iterable[str]) -> Iterator[str]:
    """Names relative to the root, of ordinary files with one of the suffixes; a folder is entered once."""
    endings = tuple(suffixes)
    pending, seen = [""], set()
    while pending:
        below = pending.pop()
        folder = os.path.join(root, below) if below else root  # noqa: PTH118
        status = os.stat(folder)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    pending.append(f"{below}{entry.name}{os.sep}")
                elif entry.name.lower().endswith(endings) and _ordinary(entry):
                    yield below + entry.name


def _ordinary(entry: os.DirEntry[str]) -> bool:
    """A file, or a link that leads nowhere, which must be told; never a pipe or a device, which can block."""
    return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())

"""List a split's folders and pair images with label files by their relative stem.

Folders may be nested; hidden files (.DS_Store, ._IMG_1.jpg) are passed over; suffixes count
whatever their case. Names are compared in Unicode's composed form, because some systems store
"é" as two characters and others as one.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from engine.annotations import codes
from engine.errors import DataError


def list_files(folder: Path, suffixes: frozenset[str]) -> dict[str, str]:
    """The files of a folder and those within it.

    Args:
        folder: Where to look.
        suffixes: Which files, such as {".xml"}, in lower case.

    Returns:
        Name relative to the folder, composed and with forward slashes -> path; sorted by name.

    Raises:
        DataError: The folder is missing or can't be listed (D100).
    """
    root = str(folder)
    try:
        names = sorted(_walk(root, tuple(suffixes)))
    except OSError as fault:
        found = "is not a folder" if isinstance(fault, NotADirectoryError) else (fault.strerror or "").lower()
        fix = "correct the path in [dataset]; it is relative to the recipe"
        raise DataError.of(
            codes.FOLDER_MISSING, str(fault.filename or root), found or "can't be listed", fix
        ) from fault
    return {composed(name): f"{root}{os.sep}{name}" for name in names}


def by_stem(files: dict[str, str]) -> dict[str, list[str]]:
    """Listed files by their names without suffix; several where only the suffix differs."""
    stems: dict[str, list[str]] = {}
    for name, path in files.items():
        stems.setdefault(stem(name), []).append(path)
    return stems


def stem(name: str) -> str:
    """A relative name without its last suffix."""
    return os.path.splitext(name)[0]  # noqa: PTH122 - a tenth of the time of pathlib


def suffix_of(name: str) -> str:
    """A name's last suffix, as it is written."""
    return os.path.splitext(name)[1]  # noqa: PTH122


def composed(name: str) -> str:
    """The name in Unicode's composed form, so that two ways to store "é" are one name."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _walk(root: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Relative names of ordinary files with one of the suffixes; a folder is entered once."""
    pending, seen = [""], set()
    while pending:
        below = pending.pop()
        folder = f"{root}{os.sep}{below}" if below else root
        status = os.stat(folder)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    pending.append(f"{below}{entry.name}/")
                elif entry.name.lower().endswith(suffixes) and _ordinary(entry):
                    yield below + entry.name


def _ordinary(entry: os.DirEntry[str]) -> bool:
    """A file, or a link that leads nowhere, which must be told; never a pipe or a device, which can block."""
    return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())

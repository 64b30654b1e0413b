"""Open a label file of whatever format: an ordinary file, of bearable size, or a problem."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from engine.annotations import codes
from engine.errors import DataError, Where


def read_bounded(path: str | Path, max_bytes: int) -> bytes:
    """A label file's bytes.

    Args:
        path: The file.
        max_bytes: The most that is read.

    Returns:
        Its content.

    Raises:
        DataError: It can't be opened (D110) or is too large (D111).
    """
    try:
        # Non-blocking, because opening a pipe that is named like a label would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise unreadable(Where(str(path)), "not an ordinary file", "remove it, or put a file there")
            if status.st_size > max_bytes:
                found = f"{status.st_size} bytes; annotations of this format up to {max_bytes} are read"
                fix = "check how it was made; split it, or remove what isn't labels"
                raise DataError.of(codes.TOO_LARGE, str(path), found, fix)
            return _read_all(descriptor, status.st_size)
        finally:
            os.close(descriptor)
    except OSError as fault:
        raise unreadable(Where(str(path)), f"can't be opened: {fault.strerror}", "make it readable") from fault


def _read_all(descriptor: int, size: int) -> bytes:
    content = os.read(descriptor, size)
    while len(content) < size:  # one read returns at most 2 GB
        more = os.read(descriptor, size - len(content))
        if not more:
            break
        content += more
    return content


def unreadable(where: Where, found: str, fix: str) -> Exception:
    """The error for a label file that isn't what its format asks for (D110)."""
    return DataError.of(codes.ANNOTATION_UNREADABLE, where, found, fix)

"""Look at many image files: side by side when they are decoded, and each only once while it stays as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from engine.annotations.picture import PictureFacts, inspect
from engine.errors import DataError


class Memory(Protocol):
    """What is known of files from an earlier look."""

    def recall(self, path: str) -> PictureFacts | None:
        """What was seen of a file; None when it wasn't, or has changed since."""

    def remember(self, path: str, facts: PictureFacts) -> None:
        """Keep what was seen of a file since `recall` was asked for it."""


def look_at(paths: Sequence[str], *, decode: bool, memory: Memory | None = None) -> Iterator[PictureFacts | DataError]:
    """What each image's header says, in order.

    Args:
        paths: Image files.
        decode: Read every pixel too, on all cores: Pillow decodes outside of Python's lock.
        memory: Asked first, and told what was seen; used with `decode` only, for headers are
            read as fast as they are remembered.

    Yields:
        The facts, or why the file can't be used.
    """
    if not decode:
        yield from map(_header, paths)
        return
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        try:
            yield from pool.map(lambda path: _pixels(path, memory), paths)
        finally:
            pool.shutdown(cancel_futures=True)


def _header(path: str) -> PictureFacts | DataError:
    try:
        return inspect(path, decode=False)
    except DataError as error:
        return error


def _pixels(path: str, memory: Memory | None) -> PictureFacts | DataError:
    known = memory.recall(path) if memory is not None else None
    if known is not None:
        return known
    try:
        facts = inspect(path, decode=True)
    except DataError as error:
        return error
    if memory is not None:
        memory.remember(path, facts)
    return facts

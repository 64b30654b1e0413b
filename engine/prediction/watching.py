"""New pictures in a folder, each once it is whole.

Polling, because no notice comes from network drives, and most cameras and phones write to those. A file is
whole when it hasn't changed for a moment; one that still can't be decoded gets more time before it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.prediction.inputs import Picture, pictures_in

POLL_S = 0.5
_SETTLED_AFTER_S = 1.0
# How long a file that can't be decoded may go on being one that is still written.
_PATIENCE_S = 10.0

Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Pending:
    signature: Signature
    since_s: float


class Arrivals:
    """Tells which pictures have arrived in a folder.

    Args:
        folder: The folder; what lies there already isn't new.
        clock: Seconds that never go back.
        recursive: Look into folders below too.

    Raises:
        OSError: The folder can't be listed.
    """

    def __init__(self, folder: Path, clock: Callable[[], float], *, recursive: bool = True) -> None:
        self._folder, self._clock, self._recursive = folder, clock, recursive
        self._pending: dict[Path, _Pending] = {}
        self._done: dict[Path, Signature] = {
            picture.path: signature for picture, signature in self._list()
        }

    def look(self) -> list[Picture]:
        """Pictures that are new, or written anew, and haven't changed for a moment."""
        now_s = self._clock()
        ready: list[Picture] = []
        listed = list(self._list())
        for picture, signature in listed:
            path, pending = picture.path, self._pending.get(picture.path)
            if self._done.get(path) == signature:
                continue
            if pending is None or pending.signature != signature:
                self._pending[path] = _Pending(signature, now_s)
            elif now_s - pending.since_s >= _SETTLED_AFTER_S:
                ready.append(picture)
        for gone in self._pending.keys() - {picture.path for picture, _ in listed}:
            del self._pending[gone]
        return ready

    def done(self, picture: Picture) -> None:
        """A picture was looked at; it is told again only when it is written anew."""
        pending = self._pending.pop(picture.path, None)
        if pending is not None:
            self._done[picture.path] = pending.signature

    def is_hopeless(self, picture: Picture) -> bool:
        """Whether a picture that can't be decoded has had time enough to be written; if so it is done with."""
        pending = self._pending.get(picture.path)
        if pending is not None and self._clock() - pending.since_s < _PATIENCE_S:
            return False
        self.done(picture)
        return True

    def _list(self) -> Iterable[tuple[Picture, Signature]]:
        for picture in pictures_in(self._folder, recursive=self._recursive):
            try:
                stat = picture.path.stat()
            except OSError:
                continue  # gone since it was listed
            yield picture, (stat.st_size, stat.st_mtime_ns, stat.st_ino)

"""Loading overlaps computing: pictures are decoded, and streams read, in threads that run ahead."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.annotations.picture import load_rgb
from engine.errors import DataError
from engine.prediction.inputs import Picture

T = TypeVar("T")
Pixels = NDArray[np.uint8]

# More decode no faster than a GPU detects, and each holds a picture.
_MOST_THREADS = 8


def load_pixels(picture: Picture) -> Pixels | DataError:
    """A picture's pixels, (H, W, 3) RGB as shown, or why there are none."""
    try:
        return np.array(load_rgb(picture.path, apply_exif=True), dtype=np.uint8)
    except DataError as error:
        return error


def load_ahead(pictures: Iterable[Picture], ahead: int) -> Iterator[tuple[Picture, Pixels | DataError]]:
    """Each picture with its pixels or what is wrong with it, in order, `ahead` of them loaded in advance."""
    num_threads = min(_MOST_THREADS, ahead, os.cpu_count() or 1)
    with ThreadPoolExecutor(num_threads, thread_name_prefix="load") as pool:
        waiting: deque[tuple[Picture, Future[Pixels | DataError]]] = deque()
        try:
            for picture in pictures:
                waiting.append((picture, pool.submit(load_pixels, picture)))
                if len(waiting) > ahead:
                    first, pixels = waiting.popleft()
                    yield first, pixels.result()
            while waiting:
                first, pixels = waiting.popleft()
                yield first, pixels.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class _End:
    """What a reading thread hands over last: the exception that ended it, or None."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


class Ahead(Generic[T]):
    """Iterates in a thread that runs ahead; closing it ends the thread.

    Args:
        source: Opens what is read; called in the thread.
        depth: How many items are held.
        newest: Drop the oldest rather than wait, as for cameras: what is late is of no use.
    """

    def __init__(self, source: Callable[[], Iterable[T]], depth: int, *, newest: bool = False) -> None:
        self.num_dropped = 0
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._newest = newest
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(source,), name="read-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while True:
            item = self._queue.get()
            if not isinstance(item, _End):
                yield item
                continue
            if item.error is not None:
                raise item.error
            return

    def close(self) -> None:
        """Have the thread end, and wait a little for it."""
        self._closed.set()
        self._thread.join(timeout=2)

    def _read(self, source: Callable[[], Iterable[T]]) -> None:
        error: Exception | None = None
        try:
            for item in source():
                if not self._put(item):
                    return
        except Exception as caught:  # noqa: BLE001 - raised where the items are asked for
            error = caught
        self._put(_End(error))

    def _put(self, item: T | _End) -> bool:
        """Hand an item over; False once nobody wants it any more."""
        while not self._closed.is_set():
            hasty = self._newest and not isinstance(item, _End)
            try:
                self._queue.put(item, block=not hasty, timeout=0.1)
            except queue.Full:
                if hasty:
                    with suppress(queue.Empty):
                        self._queue.get_nowait()
                        self.num_dropped += 1
            else:
                return True
        return False

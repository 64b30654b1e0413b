"""A thread that answers the latest request: whoever scrolls or types on has no use for an older answer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Request = TypeVar("Request")


class LatestThread(threading.Thread, Generic[Request]):
    """Answers requests one after another, of several that wait the latest.

    Args:
        name: Of the thread.
        answer: Called in the thread; it looks at `has_newer` and ends early.
    """

    def __init__(self, name: str, answer: Callable[[Request], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._answer = answer
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()

    def has_newer(self) -> bool:
        """Whether something else was asked, or the end."""
        return not self._requests.empty()

    def ask(self, request: Request) -> None:
        """Ask for an answer, and forget what was asked before."""
        self._requests.put(request)

    def stop(self) -> None:
        """End the thread soon."""
        self._requests.put(None)

    def run(self) -> None:
        """The thread's work."""
        while (request := self._requests.get()) is not None:
            if not self.has_newer():
                self._answer(request)

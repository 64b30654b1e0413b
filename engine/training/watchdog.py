"""Notices when nothing moves any more, writes down where everything hangs, and ends the process.

A thread of its own: whatever the training waits for (a dead network drive, a device that doesn't
answer), this one goes on. The run then continues from its last checkpoint in a new process.
"""

from __future__ import annotations

import faulthandler
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from engine.recipe.schema import Recovery

# Before the first step images are read and weights fetched, which may take this long.
_PREPARATION_S = 3600.0
# The loaders' own patience ends first: they know which image hangs.
_TIMES_AS_PATIENT = 5
_NUM_BEATS_REMEMBERED = 101
_LOOK_EVERY_S = 1.0


class Watchdog:
    """Wants to hear a beat at every step and batch.

    Args:
        settings: The recipe's `[recovery]`.
        on_stall: Called once, from the watching thread, with what to tell; ends the process.
        look_every_s: Seconds between two looks.
    """

    def __init__(
        self, settings: Recovery, on_stall: Callable[[str], None], look_every_s: float = _LOOK_EVERY_S
    ) -> None:
        self._settings, self._on_stall, self._look_every_s = settings, on_stall, look_every_s
        self._intervals_s: deque[float] = deque(maxlen=_NUM_BEATS_REMEMBERED)
        self._last_beat = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")

    def start(self) -> None:
        """Begin watching."""
        self._thread.start()

    def beat(self) -> None:
        """Something moved."""
        now = time.monotonic()
        self._intervals_s.append(now - self._last_beat)
        self._last_beat = now

    def stop(self) -> None:
        """Watch no longer."""
        self._over.set()

    def limit_s(self) -> float:
        """Seconds without a beat after which everything counts as stalled."""
        if len(self._intervals_s) < 2:
            return max(_PREPARATION_S, self._settings.stall_min_seconds)
        median = statistics.median(tuple(self._intervals_s))
        return max(_TIMES_AS_PATIENT * self._settings.stall_min_seconds, self._settings.stall_factor * median)

    def _watch(self) -> None:
        looked_at = time.monotonic()
        while not self._over.wait(self._look_every_s):
            now = time.monotonic()
            # A machine that slept made this thread sleep too: that isn't a stall.
            if now - looked_at > 10 * self._look_every_s + 5:
                self._last_beat = now
            looked_at = now
            waited_s = now - self._last_beat
            if waited_s > self.limit_s():
                print(f"nothing moved for {waited_s:.0f} s; where every thread is:", file=sys.stderr)  # noqa: T201
                faulthandler.dump_traceback(file=2, all_threads=True)
                self._on_stall(f"nothing moved for {waited_s:.0f} s; worker.log shows where it hung")
                return

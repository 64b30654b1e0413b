"""Reads a runs folder from outside: the queue, every run's events, one log, pictures.

Only reads; it can look at a living queue, a copied folder or rubbish. Knows no Textual. A `Feed`
is asked for what changed; a `FeedThread` asks it again and again and tells a listener.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL.Image import Image

from engine.events import EventTail
from engine.queuereader import QueueReading, read_queue
from engine.rundir import QUEUE_FILE, SUPERVISOR_LOCK, RunDir, is_locked, list_run_dirs, run_number
from engine.runqueue import QueueRow
from tui.logtail import LogTail
from tui.pictures import PictureShelf
from tui.view import RunView, apply_all, forget_events

# Runs that nobody works on change rarely; looking at each of them all the time would cost a core.
_IDLE_LOOK_S = 5.0
_LOCK_LOOK_S = 2.0
# One look reads at most this much of one log, so that a huge log doesn't keep the others waiting.
_CHUNK_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Fleet:
    """The runs folder as a whole."""

    exists: bool = False
    run_ids: tuple[str, ...] = ()
    """By number."""
    trouble: str = ""
    """Why the queue can't be read; "" when it can or when there is none."""
    is_paused: bool = False
    """Whether nothing new is started until somebody unpauses the queue."""
    is_supervised: bool = False
    """Whether an `engine run` is at work on the queue."""
    is_read: bool = False
    """Whether every log was read to its end."""


@dataclass(frozen=True, slots=True)
class RunChange:
    """A run's view has changed."""

    view: RunView


@dataclass(frozen=True, slots=True)
class FleetChange:
    """Runs came or went, or the folder's own state changed."""

    fleet: Fleet


@dataclass(frozen=True, slots=True)
class LogChange:
    """The log of the run that is looked at."""

    run_id: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PictureKey:
    """One preview picture, as an event names it."""

    run_id: str
    path: str


@dataclass(frozen=True, slots=True)
class PictureChange:
    """A picture that was asked for: the image, or why there is none."""

    key: PictureKey
    image: Image | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class FeedFailure:
    """Reading broke down over a fault of our own."""

    error: BaseException


Change = RunChange | FleetChange | LogChange | PictureChange | FeedFailure


# --- the queue ---


class _QueueReader:
    """Reads the queue again only when its file has changed; keeps the last rows while it is locked."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._seen: tuple[int, int, int] | None = None
        self._reading = QueueReading({})

    def read(self) -> QueueReading:
        seen = self._stamp()
        if seen != self._seen:
            reading = read_queue(self._runs_dir)
            # A writer holds the file for moments: better the last rows than none. Ask again next time.
            self._reading = replace(reading, rows=self._reading.rows) if reading.trouble else reading
            self._seen = None if reading.trouble else seen
        return self._reading

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = (self._runs_dir / QUEUE_FILE).stat()
        except OSError:
            self._reading = QueueReading({})
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns


# --- runs ---


class _RunReader:
    """Follows the events of one run."""

    def __init__(self, run_dir: RunDir) -> None:
        self.run_dir = run_dir
        self.view = RunView(run_dir.run_id)
        self.is_read = False
        self._tail = EventTail(run_dir.events, _CHUNK_BYTES)
        self._restarts = 0
        self._next_look = 0.0
        self._next_lock_look = 0.0

    def look(self, row: QueueRow | None, now: float, *, is_chosen: bool) -> bool:
        """Read on; returns whether the view changed."""
        before = self.view
        if row != self.view.row:
            self.view = replace(self.view, row=row)
            self._next_look = 0.0
        if now >= self._next_look:
            self._read_events()
            self._look_at_worker(now)
            lively = is_chosen or self.view.is_active or self.view.state == "unknown" or not self.is_read
            self._next_look = now if lively else now + _IDLE_LOOK_S
        return self.view is not before

    def _read_events(self) -> None:
        try:
            events = self._tail.read()
            trouble = "" if self.run_dir.path.is_dir() else "its folder is gone"
        except OSError as error:
            events, trouble = [], f"its events can't be read: {error.strerror or error}"
        if self._tail.restarts != self._restarts:
            self._restarts = self._tail.restarts
            self.view = forget_events(self.view)
        if events:
            self.view = apply_all(self.view, events)
        if trouble != self.view.trouble:
            self.view = replace(self.view, trouble=trouble)
        self.is_read = not events

    def _look_at_worker(self, now: float) -> None:
        may_live = self.view.is_active or self.view.state == "unknown" or self.view.row is None
        if not may_live or now < self._next_lock_look:
            return
        self._next_lock_look = now + _LOCK_LOOK_S
        alive = _is_held(self.run_dir.worker_lock)
        if alive != self.view.worker_alive:
            self.view = replace(self.view, worker_alive=alive)


def _is_held(lock: Path) -> bool | None:
    """Whether somebody holds a lock; None where that can't be found out (some network drives)."""
    try:
        return is_locked(lock)
    except OSError:
        return None


class Feed:
    """A runs folder, asked again and again. Not for several threads at once.

    Args:
        runs_dir: The runs folder; it may be missing.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._queue = _QueueReader(runs_dir)
        self._readers: dict[str, _RunReader] = {}
        self._fleet: Fleet | None = None
        self._chosen: str | None = None
        self._log: LogTail | None = None
        self._shelf = PictureShelf()
        self._wanted: list[PictureKey] = []
        self._is_supervised = False
        self._next_supervisor_look = 0.0

    @property
    def is_read(self) -> bool:
        """Whether every log was read to its end at the last look."""
        return all(reader.is_read for reader in self._readers.values())

    def choose(self, run_id: str | None) -> None:
        """Follow this run's log and events with priority."""
        if run_id != self._chosen:
            self._chosen = run_id
            self._log = LogTail(RunDir(self.runs_dir / run_id).worker_log) if run_id else None

    def want(self, key: PictureKey) -> None:
        """Ask for a picture; only the latest few requests are kept."""
        self._wanted = [*self._wanted[-3:], key]

    def poll(self, now: float | None = None) -> Iterator[Change]:
        """What changed since the last call, most urgent first; the chosen run before the others."""
        now = time.monotonic() if now is None else now
        reading = self._queue.read()
        self._look_at_supervisor(now)
        dirs = self._run_dirs()
        known = sorted({*dirs, *reading.rows}, key=lambda run_id: (run_number(run_id) or 0, run_id))
        self._readers = {
            run_id: self._readers.get(run_id) or _RunReader(RunDir(self.runs_dir / run_id)) for run_id in known
        }
        yield from self._fleet_change(known, reading, is_read=False)
        yield from self._pictures()
        yield from self._log_change()
        order = sorted(known, key=lambda run_id: (run_id != self._chosen, known.index(run_id)))
        for run_id in order:
            reader = self._readers[run_id]
            if reader.look(reading.rows.get(run_id), now, is_chosen=run_id == self._chosen):
                yield RunChange(reader.view)
        yield from self._fleet_change(known, reading, is_read=self.is_read)

    def _look_at_supervisor(self, now: float) -> None:
        if now >= self._next_supervisor_look:
            self._next_supervisor_look = now + _LOCK_LOOK_S
            self._is_supervised = bool(_is_held(self.runs_dir / SUPERVISOR_LOCK))

    def _run_dirs(self) -> set[str]:
        try:
            return {run_dir.run_id for run_dir in list_run_dirs(self.runs_dir)}
        except OSError:
            return set()

    def _fleet_change(self, known: list[str], reading: QueueReading, *, is_read: bool) -> Iterator[FleetChange]:
        fleet = Fleet(
            exists=self.runs_dir.is_dir(),
            run_ids=tuple(known),
            trouble=reading.trouble,
            is_paused=reading.paused is not None,
            is_supervised=self._is_supervised,
            is_read=is_read or (self._fleet is not None and self._fleet.is_read),
        )
        if fleet != self._fleet:
            self._fleet = fleet
            yield FleetChange(fleet)

    def _pictures(self) -> Iterator[PictureChange]:
        wanted, self._wanted = self._wanted, []
        for key in wanted:
            image, trouble = self._shelf.load(self.runs_dir / key.run_id, key.path)
            yield PictureChange(key, image, trouble)

    def _log_change(self) -> Iterator[LogChange]:
        if self._log is not None and self._chosen is not None and self._log.read():
            yield LogChange(self._chosen, self._log.lines)


class FeedThread(threading.Thread):
    """Polls a feed and tells a listener what changed, from its own thread.

    Args:
        feed: The feed; nobody else may use it from now on.
        tell: The listener; called from this thread.
        pause_s: Rest between two looks when everything is read.
    """

    def __init__(self, feed: Feed, tell: Callable[[Change], None], pause_s: float = 0.5) -> None:
        super().__init__(name="feed", daemon=True)
        self._feed = feed
        self._tell = tell
        self._pause_s = pause_s
        self._wake = threading.Event()
        self._stopped = False
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def choose(self, run_id: str | None) -> None:
        """See `Feed.choose`; returns at once."""
        self._order(lambda: self._feed.choose(run_id))

    def want(self, key: PictureKey) -> None:
        """See `Feed.want`; returns at once."""
        self._order(lambda: self._feed.want(key))

    def stop(self) -> None:
        """End the thread soon."""
        self._stopped = True
        self._wake.set()

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.put(order)
        self._wake.set()

    def run(self) -> None:
        """The thread's work."""
        try:
            while not self._stopped:
                self._wake.clear()
                self._look()
                self._wake.wait(self._pause_s if self._feed.is_read else 0.001)
        except BaseException as error:  # noqa: BLE001 - told to the dashboard, which shows it and ends
            self._tell(FeedFailure(error))

    def _look(self) -> None:
        self._obey()
        for change in self._feed.poll():
            if self._stopped:
                return
            self._tell(change)

    def _obey(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._orders.get_nowait()()


"""Reads a runs folder from outside: the queue, every run's events, one log.

Only reads; it can look at a living queue, a copied folder or rubbish. Knows no Textual. A `Feed`
is asked for what changed; a `FeedThread` asks it again and again and tells a listener.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from engine.queuereader import QueueReading, read_queue
from engine.rehearsalmark import Rehearsal, read_rehearsal
from engine.rundir import QUEUE_FILE, SUPERVISOR_LOCK, RunDir, list_run_dirs, run_number
from tui.gauges import Gauges
from tui.logtail import LogTail
from tui.overseer import BoardChange, GaugesChange, Overseer
from tui.recipes import RecipeReading
from tui.runreader import RunReader, is_held
from tui.view import RunView

_LOCK_LOOK_S = 2.0
# The folder is listed when its time of change says so, and now and then where that can't be relied on.
_DIR_LOOK_S = 5.0
# One look at all runs takes hardly longer than this.
_LOOK_S = 0.1
# So long the threads leave the processor to the screen that is drawn first.
_FIRST_DRAWING_S = 0.5
# Rows of steps in the memory, some 60 bytes each, those of the runs that are looked at apart.
_MOST_STEPS = 1_500_000


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
    has_queue: bool = False
    """Whether there is a queue; without one there is nothing to control."""
    is_supervised: bool = False
    """Whether an `engine run` is at work on the queue."""
    rehearsal: Rehearsal | None = None
    """What is being rehearsed before it is queued; None for nothing."""
    is_known: bool = False
    """Whether something is known of every run."""
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
class RecipeChange:
    """A run's recipe that was asked for."""

    run_id: str
    recipe: RecipeReading


@dataclass(frozen=True, slots=True)
class FeedFailure:
    """Reading broke down over a fault of our own."""

    error: BaseException


Change = RunChange | FleetChange | LogChange | RecipeChange | BoardChange | GaugesChange | FeedFailure


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


class Feed:
    """A runs folder, asked again and again. Not for several threads at once.

    Args:
        runs_dir: The runs folder; it may be missing.
        only: The one run to read; "" for all.
        clock: Seconds since 1970; tests stop it.
        read_gauges: What tells how the machine does; None for this machine's own gauges.
    """

    def __init__(
        self, runs_dir: Path, only: str = "", clock: Callable[[], float] = time.time,
        read_gauges: Callable[[], Gauges] | None = None,
    ) -> None:
        self.runs_dir = runs_dir
        self._only = only
        self._overseer = Overseer(runs_dir, clock, read_gauges)
        self._queue = _QueueReader(runs_dir)
        self._readers: dict[str, RunReader] = {}
        self._reading: QueueReading | None = None
        self._dir_stamp = 0
        self._dirs: frozenset[str] = frozenset()
        self._next_dir_look = 0.0
        self._compared: frozenset[str] = frozenset()
        self._looked_at: list[str] = []
        self._is_done = False
        self._is_pressing = False
        self._fleet: Fleet | None = None
        self._chosen: str | None = None
        self._log: LogTail | None = None
        self._wanted_recipes: list[str] = []
        self._is_supervised = False
        self._rehearsal: Rehearsal | None = None
        self._next_supervisor_look = 0.0

    @property
    def is_read(self) -> bool:
        """Whether every log was read as far as is wanted."""
        return self._is_done and not self._is_pressing and all(reader.is_read for reader in self._readers.values())

    def close(self) -> None:
        """Leave no process behind."""
        for reader in self._readers.values():
            reader.stop()

    def choose(self, run_id: str | None) -> None:
        """Follow this run's log, and read its events whole and before all others."""
        if run_id != self._chosen:
            self._chosen = run_id
            self._log = LogTail(RunDir(self.runs_dir / run_id).worker_log) if run_id else None

    def compare(self, run_ids: Iterable[str]) -> None:
        """Read the events of these runs whole as well."""
        self._compared = frozenset(run_ids)

    def want_recipe(self, run_id: str) -> None:
        """Ask for a run's recipe."""
        self._wanted_recipes.append(run_id)

    def poll(self, now: float | None = None) -> Iterator[Change]:
        """What changed since the last call, most urgent first; the chosen run before the others.

        The first call tells only what the queue and the folder say, so that there is something to show at once.
        A look at a large folder ends after a moment, so that whoever asks can say that something
        else has become urgent; the next one goes on.
        """
        is_first = self._fleet is None
        now = time.monotonic() if now is None else now
        reading = self._queue.read()
        self._look_at_supervisor(now)
        self._find_runs(reading, now)
        yield from self._rows(reading)
        yield from self._fleet_change(reading, is_read=False)
        if is_first:
            return
        yield from self._recipes()
        yield from self._log_change()
        yield from self._look_at_runs(now)
        yield from self._save_memory()
        progress = {run_id: reader.view.progress for run_id, reader in self._readers.items()}
        for change in self._overseer.look(reading, progress, now, is_supervised=self._is_supervised):
            yield self._of_interest(change)
        yield from self._fleet_change(reading, is_read=self.is_read)

    def _of_interest(self, change: BoardChange | GaugesChange) -> BoardChange | GaugesChange:
        """Of the board only the run that is looked at, where it is a single one."""
        if not self._only or isinstance(change, GaugesChange):
            return change
        board = change.board
        own = tuple(standing for standing in board.standings if standing.row.run == self._only)
        done_at = own[0].done_at if own and own[0].row.state != "held" else None
        return BoardChange(replace(board, standings=own, queue_done_at=done_at))

    def _rows(self, reading: QueueReading) -> Iterator[RunChange]:
        """What the queue says, before any log is read."""
        for run_id, reader in self._readers.items():
            if reader.take_row(reading.rows.get(run_id)):
                yield RunChange(reader.view)

    def _look_at_runs(self, now: float) -> Iterator[RunChange]:
        wanted = self._compared | ({self._chosen} if self._chosen else set())
        due = [
            reader
            for run_id, reader in self._readers.items()
            if reader.is_due(now, is_wanted=run_id in wanted)
        ]
        # The run that is looked at; then those of which nothing is known, the newest first.
        due.reverse()
        due.sort(key=lambda reader: (reader.view.run_id != self._chosen, reader.is_known, reader.is_read))
        deadline = time.monotonic() + _LOOK_S
        self._is_pressing = False
        for place, reader in enumerate(due):
            run_id = reader.view.run_id
            if reader.look(now, is_wanted=run_id in wanted):
                # Known in outline only, which is enough for a list: somebody waits for the whole.
                self._is_pressing |= run_id in wanted and not reader.view.is_whole
                yield RunChange(reader.view)
            if time.monotonic() > deadline:
                self._is_done = place + 1 == len(due)
                return
        self._is_done = True

    def _save_memory(self) -> Iterator[RunChange]:
        """Forget the steps of runs that were looked at longest ago, beyond what the memory is for."""
        wanted = [*sorted(self._compared), *([self._chosen] if self._chosen else [])]
        self._looked_at = [*(run for run in self._looked_at if run not in wanted), *wanted]
        num_kept = 0
        for run_id in reversed(self._looked_at):
            reader = self._readers.get(run_id)
            num_steps = reader.num_steps_kept if reader is not None else 0
            if reader is not None and num_steps and num_kept + num_steps > _MOST_STEPS and run_id not in wanted:
                reader.forget_steps()
                yield RunChange(reader.view)
            else:
                num_kept += num_steps
        self._looked_at = [run for run in self._looked_at if run in self._readers]

    def _look_at_supervisor(self, now: float) -> None:
        if now >= self._next_supervisor_look:
            self._next_supervisor_look = now + _LOCK_LOOK_S
            self._is_supervised = bool(is_held(self.runs_dir / SUPERVISOR_LOCK))
            self._rehearsal = None if self._only else read_rehearsal(self.runs_dir)

    def _find_runs(self, reading: QueueReading, now: float) -> None:
        """Notice runs that came or went; a folder of a thousand isn't listed when nothing has changed in it."""
        dirs = self._run_dirs(now)
        if dirs == self._dirs and reading is self._reading:
            return
        for run_id in (dirs ^ self._dirs) & self._readers.keys():
            self._readers[run_id].look_soon()
        self._dirs, self._reading = dirs, reading
        known = sorted({*dirs, *reading.rows}, key=lambda run_id: (run_number(run_id) or 0, run_id))
        if self._only:
            known = [self._only]
        self._readers = {
            run_id: self._readers.get(run_id) or RunReader(RunDir(self.runs_dir / run_id)) for run_id in known
        }

    def _run_dirs(self, now: float) -> frozenset[str]:
        try:
            stamp = self.runs_dir.stat().st_mtime_ns
            if stamp == self._dir_stamp and now < self._next_dir_look:
                return self._dirs
            dirs = frozenset(run_dir.run_id for run_dir in list_run_dirs(self.runs_dir))
        except OSError:
            return frozenset()
        self._dir_stamp, self._next_dir_look = stamp, now + _DIR_LOOK_S
        return dirs

    def _fleet_change(self, reading: QueueReading, *, is_read: bool) -> Iterator[FleetChange]:
        fleet = Fleet(
            exists=self.runs_dir.is_dir(),
            run_ids=tuple(self._readers),
            trouble=reading.trouble,
            is_paused=reading.paused is not None,
            has_queue=bool(reading.rows) or bool(reading.trouble),
            is_supervised=self._is_supervised,
            rehearsal=self._rehearsal,
            is_known=all(reader.is_known for reader in self._readers.values()),
            is_read=is_read or (self._fleet is not None and self._fleet.is_read),
        )
        if fleet != self._fleet:
            self._fleet = fleet
            yield FleetChange(fleet)

    def _recipes(self) -> Iterator[RecipeChange]:
        wanted, self._wanted_recipes = self._wanted_recipes, []
        if not wanted:
            return
        from tui.recipereading import read_recipe  # noqa: PLC0415 - loading the schema takes long

        for run_id in dict.fromkeys(wanted):
            yield RecipeChange(run_id, read_recipe(RunDir(self.runs_dir / run_id)))

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
        self._is_drawn = threading.Event()
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def choose(self, run_id: str | None) -> None:
        """See `Feed.choose`; returns at once."""
        self._order(lambda: self._feed.choose(run_id))

    def compare(self, run_ids: Iterable[str]) -> None:
        """See `Feed.compare`; returns at once."""
        compared = frozenset(run_ids)
        self._order(lambda: self._feed.compare(compared))

    def want_recipe(self, run_id: str) -> None:
        """See `Feed.want_recipe`; returns at once."""
        self._order(lambda: self._feed.want_recipe(run_id))

    def go_on(self) -> None:
        """What was told first is on the screen; the logs may be read."""
        self._is_drawn.set()

    def stop(self) -> None:
        """End the thread soon."""
        self._stopped = True
        self._is_drawn.set()
        self._wake.set()

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.put(order)
        self._wake.set()

    def run(self) -> None:
        """The thread's work."""
        try:
            self._look()
            self._is_drawn.wait(_FIRST_DRAWING_S)
            while not self._stopped:
                self._wake.clear()
                self._look()
                self._wake.wait(self._pause_s if self._feed.is_read else 0.001)
        except BaseException as error:  # noqa: BLE001 - told to the dashboard, which shows it and ends
            self._tell(FeedFailure(error))
        finally:
            self._feed.close()

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


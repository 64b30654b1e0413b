"""What may start and what has to make room: the end of the night, the hours a run may take, the disk.

The supervisor asks about once a second. Decisions are `planning.py`'s and `diskroom.py`'s; here are
the readings they need. Times until which work goes on are by the wall clock, hours worked are not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.diskroom import free_bytes_to_start, least_free_bytes, size_words
from engine.events import EventTail
from engine.executors import Place
from engine.forecast import clock_words, read_forecast
from engine.machine import free_disk_bytes
from engine.planning import Candidate, Plan, plan
from engine.progress import RunProgress, advance
from engine.rundir import RunDir
from engine.runqueue import ACTIVE, QueueRow, RunQueue
from engine.standing import left_of_run, progress_of
from engine.steward import Parking

# No run is started with less time than this; it would hardly get beyond loading.
_LEAST_TIME_S = 60.0
_PLAN_EVERY_S = 30.0
# One run at a time makes room, and what it frees takes effect before the next is asked.
_SPACE_PATIENCE_S = 60.0
_DAY_S = 86_400.0


class NightSteward:
    """Looks after time and disk.

    Args:
        queue: The queue.
        until: When work ends, seconds since 1970; None for when nothing is left. It is noted in the queue.
        num_places: How many runs are executed side by side.
        estimate: Bytes of a run's state where nothing is written and no rehearsal has told; 0 for unknown.
        wall: The wall clock.
        worked: A clock that neither jumps nor counts suspended hours.
        free_bytes: What is free where a folder is.
    """

    def __init__(
        self,
        queue: RunQueue,
        *,
        until: float | None = None,
        num_places: int = 1,
        estimate: Callable[[RunDir], int] = lambda _: 0,
        wall: Callable[[], float] = time.time,
        worked: Callable[[], float] = time.monotonic,
        free_bytes: Callable[[Path], int] = free_disk_bytes,
    ) -> None:
        self._queue, self._until, self._num_places, self._estimate = queue, until, num_places, estimate
        self._wall, self._worked, self._free_bytes = wall, worked, free_bytes
        self._begun: dict[tuple[str, int], tuple[float, float]] = {}  # an attempt -> wall clock, worked
        self._left: dict[tuple[str, int], float | None] = {}
        self._states: dict[str, int] = {}
        self._readers: dict[tuple[str, int], _Reader] = {}
        self._put_off: tuple[str, ...] = ()
        self._next_plan = self._next_space = float("-inf")
        queue.set_until(until)

    def _run_dir(self, row: QueueRow) -> RunDir:
        return RunDir(self._queue.runs_dir / row.run)

    # --- what the supervisor asks ---

    def choose(self, due: Sequence[QueueRow], at_work: Sequence[QueueRow], place: Place) -> QueueRow | None:  # noqa: ARG002
        """The first run in the order of the plan that has room on the disk; None to start none now."""
        if self._until is not None and self._until - self._wall() < _LEAST_TIME_S:
            return None
        order = [row.run for row in due] if self._until is None else self._plan(due, at_work).order
        by_run = {row.run: row for row in due}
        free = self._free()
        for run in order:
            row = by_run[run]
            needed = self._to_start(row, at_work)
            if free is None or free >= needed:
                return row
            if row.cause != "no space":
                found = f"no space: it needs {size_words(needed)} free where runs are kept, {size_words(free)} was"
                self._queue.note(row, found, "no space")
        return None

    def park(self, row: QueueRow) -> Parking | None:
        """Why a run at work has to be saved and put back: time is up, its hours are, the disk is full, others fit."""
        key = (row.run, row.attempt)
        begun, worked = self._begun.setdefault(key, (self._wall(), self._worked()))
        now = self._wall()
        if self._until is not None and now >= self._until:
            words = clock_words(self._until, now)
            return Parking(f"saved when time was up at {words}; the next `engine run` goes on with it")
        if row.max_hours is not None and self._worked() - worked >= row.max_hours * 3600:
            return Parking(f"had its {row.max_hours:g} hours and makes room for others", begun + _DAY_S)
        return self._for_space(row) or self._for_others(row)

    def is_over(self) -> bool:
        """Whether time is up and everything saved, so that the supervisor may end."""
        return self._until is not None and self._wall() >= self._until and not self._queue.rows_in(*ACTIVE)

    # --- time ---

    def _for_others(self, row: QueueRow) -> Parking | None:
        if self._until is None:
            return None
        if self._worked() >= self._next_plan:
            self._next_plan = self._worked() + _PLAN_EVERY_S
            due = [one for one in self._queue.rows_in("queued") if (one.not_before or 0) <= self._wall()]
            self._put_off = self._plan(due, self._queue.rows_in("running")).put_off
        if row.run not in self._put_off:
            return None
        self._put_off = ()
        words = clock_words(self._until, self._wall())
        return Parking(f"would not have been done by {words}, so others that will be go first")

    def _plan(self, due: Sequence[QueueRow], at_work: Sequence[QueueRow]) -> Plan:
        assert self._until is not None
        candidates = [
            *(Candidate(row.run, self._left_of_active(row), row.priority, at_work=True) for row in at_work),
            *(Candidate(row.run, self._left_of_waiting(row), row.priority) for row in due),
        ]
        return plan(candidates, self._until - self._wall(), self._num_places)

    def _left_of_waiting(self, row: QueueRow) -> float | None:
        key = (row.run, row.attempt)
        if key not in self._left:
            progress = progress_of(row, self._queue.runs_dir)
            self._left[key] = left_of_run(row, self._run_dir(row), progress).left_s
        return self._left[key]

    def _left_of_active(self, row: QueueRow) -> float | None:
        key = (row.run, row.attempt)
        if key not in self._readers:
            self._readers[key] = _Reader(self._run_dir(row))
        return left_of_run(row, self._run_dir(row), self._readers[key].read()).left_s

    # --- disk ---

    def _for_space(self, row: QueueRow) -> Parking | None:
        free = self._free()
        if free is None or self._worked() < self._next_space:
            return None
        others = [one for one in self._queue.rows_in(*ACTIVE) if one.run != row.run]
        least = least_free_bytes(self._state_bytes(row), self._states_of(others))
        if free >= least:
            return None
        self._next_space = self._worked() + _SPACE_PATIENCE_S
        found = f"no space: {size_words(free)} free where runs are kept, {size_words(least)} should be; it is saved"
        return Parking(found, cause="no space")

    def _to_start(self, row: QueueRow, at_work: Sequence[QueueRow]) -> int:
        folder = self._run_dir(row).last_checkpoint.parent
        written = sum(file.stat().st_size for file in folder.glob("*.pt")) if row.attempt else 0
        return free_bytes_to_start(self._state_bytes(row), written, self._states_of(at_work))

    def _states_of(self, rows: Sequence[QueueRow]) -> int:
        return sum(self._state_bytes(row) for row in rows)

    def _state_bytes(self, row: QueueRow) -> int:
        """Bytes of a run's state: as it was written, as a rehearsal measured it, or as it is reckoned."""
        run_dir = self._run_dir(row)
        try:
            return run_dir.last_checkpoint.stat().st_size
        except OSError:
            pass
        if row.run not in self._states:
            forecast = read_forecast(run_dir.forecast)
            self._states[row.run] = (forecast.figures.state_bytes if forecast else 0) or self._estimate(run_dir)
        return self._states[row.run]

    def _free(self) -> int | None:
        try:
            return self._free_bytes(self._queue.runs_dir)
        except OSError:
            return None  # some network drives don't tell


class _Reader:
    """Follows the events of a run at work."""

    def __init__(self, run_dir: RunDir) -> None:
        self._tail = EventTail(run_dir.events)
        self._restarts = 0
        self._progress = RunProgress()

    def read(self) -> RunProgress:
        events = self._tail.read_all()
        if self._tail.restarts != self._restarts:
            self._restarts, self._progress = self._tail.restarts, RunProgress()
        for event in events:
            self._progress = advance(self._progress, event)
        return self._progress

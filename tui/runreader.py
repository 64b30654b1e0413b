"""Follows the files of one run, as deep as it is looked at.

A run that is only one of a list is read in outline: its latest steps and every other event, its loss
curve from a few places. A finished one whose figures the queue holds isn't even read through. One
that is looked at is read whole, which may take a second or two; until then its outline stands.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from engine.events import EventTail
from engine.queuerebuild import figures_progress
from engine.rundir import RunDir, is_locked
from engine.runqueue import OVER, QueueRow
from tui.eventreading import read_glance, read_outline, read_sample, read_whole
from tui.farhalf import FarHalf
from tui.series import StepTable
from tui.view import RunView, apply_told, forget_events, outlined

# Runs that nobody works on change rarely; looking at each of them all the time would cost a core.
_IDLE_LOOK_S = 5.0
# What the queue calls over and was read doesn't change before the queue says so.
_OVER_LOOK_S = 60.0
_LOCK_LOOK_S = 2.0
# A look reads on in one log for at most about so long, that a huge one doesn't keep the others waiting; in pieces
# that fit a processor's cache.
_READ_S = 0.1
_CHUNK_BYTES = 1_000_000
# A log up to this size is read whole, looked at or not.
_SMALL_BYTES = 256_000
_SAMPLE_PLACES = 32
# The course of a long run that is looked at, until it is read.
_CLOSE_PLACES = 512
_LONG_BYTES = 8_000_000
# Drawing fewer takes no time.
_MANY_STEPS = 50_000
# A growing log is sampled again when it has grown by this share.
_SAMPLE_GROWTH = 1.1

# Inode, bytes and time of the last change.
_Stamp = tuple[int, int, int]


def is_held(lock: Path) -> bool | None:
    """Whether somebody holds a lock; None where that can't be found out (some network drives)."""
    try:
        return is_locked(lock)
    except OSError:
        return None


class _Follower:
    """Folds one event log from its start on.

    Attributes:
        view: What was read so far.
        is_whole: Whether every step is kept.
        at_end: Whether everything was read.
    """

    def __init__(self, run_dir: RunDir, size_bytes: int, *, is_whole: bool) -> None:
        self._tail = EventTail(run_dir.events, _CHUNK_BYTES)
        self._far = FarHalf(run_dir.events, size_bytes) if is_whole else None
        self._restarts = 0
        self.view = RunView(run_dir.run_id, is_whole=is_whole)
        self.is_whole = is_whole
        self.at_end = False

    def read(self, inode: int) -> None:
        """Read the next pieces.

        Args:
            inode: Which file lies there now.

        Raises:
            OSError: It can't be read.
        """
        if self._tail.inode not in (None, inode):
            self.leave_far_half()
        deadline = time.monotonic() + _READ_S
        while True:
            if not self._awaits_far_half(deadline):
                self._read_piece()
            if self.at_end or time.monotonic() >= deadline:
                break
        if self.is_whole and self.at_end and self.view.steps.length >= _MANY_STEPS:
            self.view.steps.prepare()

    def _awaits_far_half(self, deadline: float) -> bool:
        """Whether all that is left is still being read by another process; takes what it has read."""
        far = self._far
        if far is None or far.begin is None or self._tail.place != far.begin:
            return False
        if not far.wait(max(0.0, deadline - time.monotonic())):
            return True
        self._far = None
        read = far.take()
        if read is not None and read.inode == self._tail.inode and self._tail.restarts == 0:
            self.view = apply_told(self.view, read.told)
            self.view = replace(self.view, num_unknown=self.view.num_unknown + read.num_unknown)
            self._tail.go_to(read.end)
        return False

    def _read_piece(self) -> None:
        data = self._tail.read_lines(self._far.begin if self._far is not None else None)
        if self._tail.restarts != self._restarts:
            self._restarts = self._tail.restarts
            self.view = forget_events(self.view)
            self.leave_far_half()
        if data:
            told, num_unknown = (read_whole if self.is_whole else read_outline)(data)
            view = apply_told(self.view, told)
            view = replace(view, num_unknown=view.num_unknown + num_unknown)
            self.view = view if self.is_whole else outlined(view)
        self.at_end = self._tail.is_at_end

    def leave_far_half(self) -> None:
        """Read on without the other process."""
        if self._far is not None:
            self._far.stop()
            self._far = None

    def forget_steps(self) -> None:
        """Go on in outline."""
        self.leave_far_half()
        self.is_whole = False
        self.view = outlined(self.view)


class RunReader:
    """Follows one run.

    Attributes:
        view: The run, as far as it was read.
        is_read: Whether as much was read as is wanted.
        is_known: Whether anything was read.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self.run_dir = run_dir
        self.view = RunView(run_dir.run_id)
        self.is_read = False
        self.is_known = False
        self._follower: _Follower | None = None
        self._stamp: _Stamp | None = None
        self._sample = StepTable()
        self._sampled_bytes = 0
        self._num_places = _SAMPLE_PLACES
        self._next_look = 0.0
        self._next_lock_look = 0.0

    def take_row(self, row: QueueRow | None) -> bool:
        """What the queue says of the run; returns whether that is new."""
        if row is self.view.row or row == self.view.row:
            return False
        self.view = replace(self.view, row=row)
        self.look_soon()
        return True

    def look_soon(self) -> None:
        """Something happened to its folder."""
        self._next_look = 0.0

    def is_due(self, now: float, *, is_wanted: bool) -> bool:
        """Whether a look may tell something new."""
        return now >= self._next_look or (is_wanted and not self.view.is_whole)

    def look(self, now: float, *, is_wanted: bool) -> bool:
        """Read on; returns whether the view changed.

        Args:
            now: Seconds of any clock that goes forward.
            is_wanted: Whether somebody looks at the run, so that every step is needed.
        """
        before = self.view
        self._read_events(is_wanted=is_wanted)
        self._look_at_worker(now)
        is_lively = is_wanted or self.view.is_active or self.view.state == "unknown" or not self.is_read
        is_over = self.view.row is not None and self.view.row.state in OVER
        self._next_look = now if is_lively else now + (_OVER_LOOK_S if is_over else _IDLE_LOOK_S)
        return self.view is not before

    @property
    def num_steps_kept(self) -> int:
        """Rows in memory that could be given back."""
        is_large = self.view.is_whole and self._stamp is not None and self._stamp[1] > _SMALL_BYTES
        return self.view.steps.length if is_large else 0

    def forget_steps(self) -> None:
        """Give back the memory of a run that is no longer looked at."""
        if self._follower is not None and self.num_steps_kept:
            self._follower.forget_steps()
            self._show(self._follower.view)

    def stop(self) -> None:
        """Leave no process behind."""
        if self._follower is not None:
            self._follower.leave_far_half()

    # --- events ---

    def _read_events(self, *, is_wanted: bool) -> None:
        try:
            stamp = self._look_at_file()
            if stamp is None:
                self.is_read = True
                trouble = "" if self.run_dir.path.is_dir() else "its folder is gone"
            else:
                self._read_file(stamp, is_wanted=is_wanted)
                trouble = ""
        except OSError as error:
            self.is_read = True
            trouble = f"its events can't be read: {error.strerror or error}"
        self.is_known = True
        if trouble != self.view.trouble:
            self.view = replace(self.view, trouble=trouble)

    def _look_at_file(self) -> _Stamp | None:
        try:
            status = self.run_dir.events.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _read_file(self, stamp: _Stamp, *, is_wanted: bool) -> None:
        needs_all = is_wanted or stamp[1] <= _SMALL_BYTES
        if stamp == self._stamp and self.is_read and (self.view.is_whole or not needs_all):
            return
        if not self.is_known and stamp[1] > _SMALL_BYTES:
            self._look_closer(stamp, is_wanted=is_wanted)
            self.is_read = self._glance(stamp)
            return
        if self._look_closer(stamp, is_wanted=is_wanted):
            self._show(self.view)
            return
        if self._follower is None or (needs_all and not self._follower.is_whole):
            self.stop()
            self._follower = _Follower(self.run_dir, stamp[1], is_whole=needs_all)
        self._follower.read(stamp[0])
        self.is_read = self._follower.at_end
        if self.is_read:
            self._stamp = stamp
            self._show(self._follower.view)

    def _look_closer(self, stamp: _Stamp, *, is_wanted: bool) -> bool:
        """Have a long run's course sampled closely once somebody looks at it; returns whether that is new."""
        is_due = is_wanted and not self.view.is_whole and self._num_places != _CLOSE_PLACES
        if not is_due or stamp[1] < _LONG_BYTES:
            return False
        self._num_places, self._sampled_bytes = _CLOSE_PLACES, 0
        return True

    def _glance(self, stamp: _Stamp) -> bool:
        """Know the run at once, by the ends of its log; returns whether that will do.

        It does for a finished run whose figures the queue holds.
        """
        self._stamp = stamp
        view = apply_told(RunView(self.view.run_id), read_glance(self.run_dir.events))
        row = self.view.row
        figures = figures_progress(row.figures) if row is not None and row.state in OVER and row.figures else None
        if figures is not None:
            view = replace(view, progress=replace(figures, ended=view.progress.ended))
        self._show(outlined(view))
        return figures is not None

    def _show(self, view: RunView) -> None:
        """Show what was read of the events, with what is known from elsewhere."""
        if not view.is_whole:
            view = replace(view, steps=self._sample_of(self._stamp[1] if self._stamp else 0))
        old = self.view
        is_anew = view.started is not None and (old.started is None or old.started.attempt < view.started.attempt)
        if is_anew:  # whether a worker lives was seen before it began
            self._next_lock_look = 0.0
        alive = None if is_anew else old.worker_alive
        view = replace(view, row=old.row, worker_alive=alive, trouble=old.trouble)
        if view != old or view.steps.length != old.steps.length:
            self.view = view

    def _sample_of(self, num_bytes: int) -> StepTable:
        """Steps from all over the log, taken again when it has grown."""
        if not self._sampled_bytes <= num_bytes <= self._sampled_bytes * _SAMPLE_GROWTH:
            self._sampled_bytes = num_bytes
            sample = read_sample(self.run_dir.events, self._num_places)
            self._sample = StepTable().extended(sample.columns) if sample else StepTable()
        return self._sample

    # --- its worker ---

    def _look_at_worker(self, now: float) -> None:
        may_live = self.view.is_active or self.view.state == "unknown" or self.view.row is None
        if not may_live or now < self._next_lock_look:
            return
        self._next_lock_look = now + _LOCK_LOOK_S
        alive = is_held(self.run_dir.worker_lock)
        if alive != self.view.worker_alive:
            self.view = replace(self.view, worker_alive=alive)

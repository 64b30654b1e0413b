"""Takes runs from the queue and has them executed until none is left: one at a time, or several side by side.

Knows neither torch nor terminal. One loop looks a few times a second at what ended, what was asked
and what may start; nothing in it waits. What can't be written just now (a busy or full disk) is tried
again, and no run's end is forgotten meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.attempts import Attempt, record, still_ours
from engine.beside import end_all, start_tracking
from engine.errors import QueueError
from engine.executors import WHOLE_MACHINE, Executor, Place
from engine.guarded import GuardedProcess
from engine.queuefile import QueueUnavailable
from engine.room import Room
from engine.rundir import SUPERVISOR_LOCK, FileLock, RunDir
from engine.runqueue import ACTIVE, QueueRow, RunQueue
from engine.steward import FirstComeSteward, Steward
from engine.verdict import Verdict, checkpoint_of, got_further, judge_interrupted

_POLL_S = 0.2
_IDLE_POLL_S = 1.0
_UNAVAILABLE_POLL_S = 1.0
# A run at work has begun its steps by then; what is made ready for the next one before would only hold it up.
_LOOK_AHEAD_AFTER_S = 8.0
# What keeps a process from being started for now: no memory, too many of them, a signal.
_FOR_NOW = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EINTR)
_FULL = (errno.ENOSPC, errno.EDQUOT)
# What a former supervisor left ends within seconds, unless it lives where nobody can reach it.
_LEFTOVER_PATIENCE_S = 15.0


@dataclass
class StopRequest:
    """How a person asked the supervisor to stop; set by signal handlers.

    Attributes:
        level: 0 go on, 1 save and stop, 2 stop at once.
    """

    level: int = 0

    def raise_level(self) -> None:
        """One more Ctrl-C."""
        self.level += 1


@dataclass
class Observer:
    """What the supervisor tells whoever shows it; every field may be replaced.

    Attributes:
        on_start: A run was claimed and its worker started.
        on_tick: Called a few times a second.
        on_end: A run's attempt ended, with the row as recorded.
        on_note: Something a person should know.
    """

    on_start: Callable[[QueueRow], None] = field(default=lambda _: None)
    on_tick: Callable[[], None] = field(default=lambda: None)
    on_end: Callable[[QueueRow], None] = field(default=lambda _: None)
    on_note: Callable[[str], None] = field(default=lambda _: None)


def supervisor_lock(runs_dir: Path) -> FileLock:
    """The lock that one supervisor of a runs folder holds."""
    return FileLock(runs_dir / SUPERVISOR_LOCK)


def supervise(
    queue: RunQueue,
    executor: Executor,
    lock: FileLock,
    stop: StopRequest,
    observer: Observer | None = None,
    *,
    places: Sequence[Place] = (WHOLE_MACHINE,),
    steward: Steward | None = None,
) -> None:
    """Execute what is queued until nothing is left or a stop is asked for.

    Args:
        queue: The queue.
        executor: Executes runs.
        lock: The supervisor's lock, held; it is released when this returns.
        stop: Looked at all the time.
        observer: Told what happens.
        places: Where runs are executed; one run at a time on each.
        steward: Decides what may start.
    """
    supervisor = _Supervisor(queue, executor, lock, stop, observer or Observer(), places, steward or FirstComeSteward())
    try:
        supervisor.take_up()
        while supervisor.turn():
            supervisor.observer.on_tick()
            time.sleep(_POLL_S)
    finally:
        supervisor.kill_all()
        lock.release()
        end_all(supervisor.reports)


class _Supervisor:
    """The loop's memory."""

    def __init__(
        self, queue: RunQueue, executor: Executor, lock: FileLock, stop: StopRequest, observer: Observer,
        places: Sequence[Place], steward: Steward,
    ) -> None:
        self.queue, self.executor, self.lock, self.stop, self.observer = queue, executor, lock, stop, observer
        self.places, self.steward = tuple(places), steward
        self.at_work: list[Attempt] = []
        self.reports: list[GuardedProcess] = []
        self.tracking: dict[str, list[GuardedProcess]] = {}
        self.room = Room()
        self._refused: list[tuple[QueueRow, str]] = []
        self._next_look = self._next_review = 0.0
        self._unavailable = False
        self._told = ""

    def run_dir(self, row: QueueRow) -> RunDir:
        return RunDir(self.queue.runs_dir / row.run)

    # --- one turn ---

    def turn(self) -> bool:
        """Look once at everything; False when there is nothing left to do."""
        try:
            go_on = self._turn()
        except QueueUnavailable as error:
            go_on = self._wait_for_queue(error)
        else:
            self._unavailable = False
        return go_on

    def _turn(self) -> bool:
        self._settle()
        self._stop_all(self.stop.level)
        if time.monotonic() >= self._next_review:
            self._next_review = time.monotonic() + _IDLE_POLL_S
            self.reports = [report for report in self.reports if not report.ended()]
            self._pass_on_requests()
            self._park()
            self._look_ahead()
        return bool(self.at_work) if self.stop.level else self._fill()

    def _wait_for_queue(self, error: Exception) -> bool:
        """Nothing can be recorded for now; everything is tried again until it can."""
        if not self._unavailable:
            self._unavailable = True
            self.observer.on_note(f"waiting for the queue: {error}")
        self._stop_all(self.stop.level)
        time.sleep(_UNAVAILABLE_POLL_S)
        ended = all(work.execution is None or work.execution.poll() is not None for work in self.at_work)
        # What isn't recorded then is taken up by the next supervisor, from what the workers said.
        return not (self.stop.level and ended)

    # --- what ended ---

    def _settle(self) -> None:
        for work in list(self.at_work):
            if work.verdict is None and work.execution is not None and (code := work.execution.poll()) is not None:
                work.judge(self.run_dir(work.row), code)
            if work.verdict is not None:
                self._end_tracking(work.row.run)
                ended = self._record(work)
                self.at_work.remove(work)
                self._next_look = 0.0
                if ended is not None and work.adopted and ended.state == "queued":
                    self.observer.on_note(f"{ended.run}: {ended.reason}")
                elif ended is not None:
                    self.observer.on_end(ended)
                    self.reports.extend(_draw_curves(self.run_dir(work.row)))

    def _record(self, work: Attempt) -> QueueRow | None:
        ended = record(self.queue, work)
        if ended is None and work.row.state in ACTIVE:
            self.observer.on_note(f"{work.row.run}: another process took it out of this one's hands")
        return ended

    def _end_tracking(self, run: str) -> None:
        """The attempt is over: trackers are told the rest, which may take its time."""
        for process in self.tracking.pop(run, []):
            process.stop()
            self.reports.append(process)

    # --- what is asked ---

    def _stop_all(self, level: int) -> None:
        for work in self.at_work:
            self._ask(work, min(level, 2))

    def _pass_on_requests(self) -> None:
        asked = {row.run: row.asked for row in self.queue.requests()} if self.at_work else {}
        for work in self.at_work:
            request = asked.get(work.row.run, "")
            if request == "kill":
                self._ask(work, 2)
            elif request not in ("", "stop after epoch"):  # for that one the worker has its own mark
                self._ask(work, 1)

    def _park(self) -> None:
        for work in self.at_work:
            if not work.asked and not work.adopted and (parking := self.steward.park(work.row)) is not None:
                work.parking = parking
                self.observer.on_note(f"{work.row.run}: {parking.reason}")
                self._ask(work, 1)

    def _ask(self, work: Attempt, level: int) -> None:
        if level <= work.asked or work.execution is None or work.verdict is not None:
            return
        work.asked = level
        if level == 1:
            work.execution.stop()
        else:
            work.execution.kill()
        with contextlib.suppress(QueueError):  # only told; what was asked counts
            if (row := still_ours(self.queue, work.row)) is not None and row.state == "running":
                self.queue.mark_stopping(row)

    # --- what may start ---

    def _fill(self) -> bool:
        """Start what may start; False when nothing is at work and nothing is queued."""
        if any(work.adopted and time.monotonic() - work.since < _LEFTOVER_PATIENCE_S for work in self.at_work):
            return True  # it may still hold the memory
        free = [place for place in self.places if all(work.place is not place for work in self.at_work)]
        for place in free if time.monotonic() >= self._next_look else ():
            row = self._claim(place)
            if row is not None:
                self._start(row, place)
                continue
            self._next_look = time.monotonic() + _IDLE_POLL_S
            if not self.at_work and self.queue.close_when_empty(self.lock.release):
                return False
            self._tell_why_waiting()
            break
        return True

    def _claim(self, place: Place) -> QueueRow | None:
        """Claim a run for a place; what is refused for lack of memory is noted in its row."""
        self._refused.clear()
        try:
            row = self.queue.claim(lambda due: self._choose(due, place))
        except OSError as error:  # its folder refuses
            raise QueueUnavailable.of("Q101", str(self.queue.runs_dir), str(error), "see the runs folder") from error
        for refused in self._refused:
            with contextlib.suppress(QueueError):
                self.queue.note(*refused)
        return row

    def _choose(self, due: Sequence[QueueRow], place: Place) -> QueueRow | None:
        at_work = {work.row.run for work in self.at_work}
        due = [row for row in due if row.run not in at_work]
        row = self.steward.choose(due, [work.row for work in self.at_work], place) if due else None
        if row is None:
            return None
        others = [(self.run_dir(work.row), work.place, work.since) for work in self.at_work]
        refusal = self.room.refusal(self.run_dir(row), place, others)
        if refusal:
            self._refused.append((row, refusal))
        return None if refusal else row

    def _start(self, row: QueueRow, place: Place) -> None:
        run_dir = self.run_dir(row)
        work = Attempt(row, place, checkpoint=checkpoint_of(run_dir))
        self.at_work.append(work)
        try:
            work.execution = self.executor.start(run_dir, row.attempt, place)
        except OSError as error:
            cause = "disk full" if error.errno in _FULL else "error"
            reason = f"the worker can't be started: {error}"
            work.verdict = Verdict("failed", reason, cause, died=error.errno in _FOR_NOW)
            return
        self._end_tracking(row.run)
        self.tracking[row.run] = start_tracking(run_dir)
        self.observer.on_start(row)
        if place.device:
            work.row = self.queue.set_device(row, place.device)

    def _look_ahead(self) -> None:
        """Have the executor get ready for the run that is likely next, while others are at work."""
        following = None if self.stop.level or not self.at_work else self.queue.first_due()
        if following is None:
            self.executor.discard()
        elif time.monotonic() - max(work.since for work in self.at_work) > _LOOK_AHEAD_AFTER_S:
            # Of several places the one longest at work is likely to be free first.
            self.executor.prepare(self.run_dir(following), self.at_work[0].place)

    def _tell_why_waiting(self) -> None:
        """Say once for what the queue waits while nothing is at work."""
        words = ""
        if not self.at_work:
            start = self.queue.next_start()
            if self._refused:
                words = " ".join((self._refused[0][0].run, self._refused[0][1]))
            elif self.queue.is_paused():
                words = "the queue is paused; `engine unpause` goes on"
            elif start is not None and start > time.time():
                clock = time.strftime("%a %H:%M", time.localtime(start))
                words = f"waiting until {clock}, when the next run may start"
            elif start is not None and (first := self.queue.rows_in("queued")[:1]) and first[0].reason:
                words = f"{first[0].run} waits: {first[0].reason}"
        # Amounts of memory and disk change all the time; the reason is told once.
        gist = re.sub(r"\d+(\.\d+)?", "", words)
        if words and gist != self._told:
            self.observer.on_note(words)
        self._told = gist

    # --- beginning and end ---

    def take_up(self) -> None:
        """Take charge of what a former supervisor left; its runs are judged once nothing of them lives."""
        for row in self.queue.rows():
            run_dir = self.run_dir(row)
            if row.state not in ACTIVE and not run_dir.execution.exists():
                continue
            further = got_further(run_dir)
            execution = self.executor.adopt(run_dir)
            work = Attempt(row, Place(), execution, adopted=True, got_further=further)
            if execution is not None:
                words = "its worker outlived the last supervisor and is saving; waiting for it"
                self.observer.on_note(f"{row.run}: {words}")
            elif row.state in ACTIVE:
                work.verdict = judge_interrupted(run_dir, row.attempt)
            else:
                continue
            self.at_work.append(work)

    def kill_all(self) -> None:
        """Leave nothing at work: for an end that nobody planned."""
        for work in self.at_work:
            if work.execution is not None and not work.adopted:
                work.execution.kill()
        self.executor.discard()
        for run in list(self.tracking):
            self._end_tracking(run)


def _draw_curves(run_dir: RunDir) -> list[GuardedProcess]:
    """Draw the run's loss curve and its report in a process of its own: both need more memory than supervising.

    A picture that can't be drawn (the folder is gone, no process can be started) stops no queue.
    """
    with contextlib.suppress(OSError):
        command = [sys.executable, "-m", "engine.report.make", str(run_dir.path.parent), "-", run_dir.run_id]
        return [GuardedProcess(run_dir.worker_log, command)]
    return []

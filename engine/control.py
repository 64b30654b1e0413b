"""What a person may ask of runs and of the queue; the command line and the dashboard call the same functions.

Each takes the rows as they were seen and returns what became of every one, in words: a run that can't
do what was asked is told and keeps none of the others from it. Nobody's process is touched here: what
is asked of a run at work is noted in its row, and the supervisor acts on it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from engine.errors import Problem, QueueError, Where
from engine.queuefile import QueueUnavailable
from engine.queuereader import state_when_interrupted
from engine.rundir import REMOVED_DIR, SUPERVISOR_LOCK, FileLock, RunDir, is_locked
from engine.runqueue import ACTIVE, WAITING, Asked, QueueRow, RunQueue

# The dashboard looks whether a supervisor lives, and holds its lock for the instant of looking.
_LOCK_PATIENCE_S = 0.5

Place = Literal["first", "last", "before", "after"]


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one run.

    Attributes:
        run: Its id.
        words: What was done, for people; "" when it was refused.
        problem: Why it was refused.
    """

    run: str
    words: str = ""
    problem: Problem | None = None


def _each(queue: RunQueue, rows: Iterable[QueueRow], action: Callable[[QueueRow], str]) -> list[Change]:
    """Do something to every run, all in one transaction; a refusal keeps none of the others from it."""
    with queue.together():
        return [_one(row, action) for row in rows]


def _one(row: QueueRow, action: Callable[[QueueRow], str]) -> Change:
    try:
        return Change(row.run, action(row))
    except QueueUnavailable:
        raise
    except QueueError as error:
        return Change(row.run, problem=error.problems[0])


def _refuse(row: QueueRow, found: str, fix: str) -> QueueError:
    error = QueueError.of("Q108", Where(row.run), found, fix)
    assert isinstance(error, QueueError)
    return error


# --- runs that wait ---


def hold(queue: RunQueue, rows: Iterable[QueueRow], reason: str = "held by hand") -> list[Change]:
    """Keep queued runs from being started until they are released."""

    def one(row: QueueRow) -> str:
        if row.state == "held":
            return "is held already"
        if row.state != "queued":
            raise _refuse(row, f'the run is "{row.state}"; only a queued one can be held', _instead_of_hold(row))
        queue.change(row, "held", reason=reason, cause="")
        return "is held; `engine release` lets it go on"

    return _each(queue, rows, one)


def _instead_of_hold(row: QueueRow) -> str:
    if row.state in ACTIVE:
        return "`engine stop` saves and stops it"
    return "nothing to do" if row.state == "finished" else "`engine retry` queues it again first"


def release(queue: RunQueue, rows: Iterable[QueueRow]) -> list[Change]:
    """Let held runs go on, parked and postponed ones start at once, and take back a stop after the epoch."""

    def one(row: QueueRow) -> str:
        if row.asked == "stop after epoch" and row.state in ACTIVE:
            queue.change(row, row.state, asked="")
            RunDir(queue.runs_dir / row.run).stop_after_epoch.unlink(missing_ok=True)
            return "goes on after this epoch"
        if row.state not in WAITING:
            raise _refuse(row, f'the run is "{row.state}"; nothing holds it', _instead_of_release(row))
        if row.state == "queued" and row.not_before is None and not row.reason:
            return "is queued already"
        queue.change(row, "queued", reason="", cause="", not_before=None)
        return "is queued"

    return _each(queue, rows, one)


def _instead_of_release(row: QueueRow) -> str:
    return "`engine retry` queues it again" if row.state in ("failed", "cancelled") else "nothing to do"


def set_priority(queue: RunQueue, rows: Iterable[QueueRow], priority: int) -> list[Change]:
    """Give runs another priority; the highest go first."""

    def one(row: QueueRow) -> str:
        if row.state not in WAITING:
            raise _refuse(row, f'the run is "{row.state}"; only runs that wait have a place', "nothing to do")
        queue.change(row, row.state, priority=priority)
        return f"has priority {priority}"

    return _each(queue, rows, one)


def move(queue: RunQueue, rows: Sequence[QueueRow], place: Place, beside: QueueRow | None = None) -> list[Change]:
    """Move runs that wait to another place in the order; they keep the order in which they are given.

    Args:
        queue: The queue.
        rows: The runs to move.
        place: Where to.
        beside: The run to come before or after.

    Raises:
        QueueError: `beside` doesn't wait, or is one of those to be moved.
    """
    if beside is not None and beside.run in {row.run for row in rows}:
        raise _refuse(beside, "a run can't be moved beside itself", "name another run")
    moved = [row.run for row in rows if row.state in WAITING]

    def arrange(waiting: list[QueueRow]) -> list[QueueRow]:
        return moved_to(waiting, moved, place, beside)

    queue.rearrange(arrange)

    def one(row: QueueRow) -> str:
        if row.state not in WAITING:
            raise _refuse(row, f'the run is "{row.state}"; only runs that wait have a place', "nothing to do")
        return f"comes {place}" if beside is None else f"comes {place} {beside.run}"

    return _each(queue, rows, one)


def moved_to(
    waiting: Sequence[QueueRow], runs: Sequence[str], place: Place, beside: QueueRow | None = None
) -> list[QueueRow]:
    """The runs that wait in their new order; those moved get a priority that fits it.

    Raises:
        QueueError: `beside` isn't among them.
    """
    by_run = {row.run: row for row in waiting}
    moving = [by_run[run] for run in runs if run in by_run]
    staying = [row for row in waiting if row not in moving]
    if beside is None:
        at = 0 if place == "first" else len(staying)
    else:
        if beside.run not in by_run:
            raise _refuse(beside, "this run doesn't wait, so nothing can be put beside it", "name a queued or held run")
        at = next(index for index, row in enumerate(staying) if row.run == beside.run) + (place == "after")
    above = staying[at - 1].priority if at else None
    below = staying[at].priority if at < len(staying) else None
    if beside is not None:
        above = below = beside.priority
    placed = []
    for row in moving:
        placed.append(_with_priority(row, above, below))
        above = placed[-1].priority
    return [*staying[:at], *placed, *staying[at:]]


def _with_priority(row: QueueRow, above: int | None, below: int | None) -> QueueRow:
    """A run with the priority nearest to its own between its neighbours'."""
    priority = row.priority if below is None else max(row.priority, below)
    return replace(row, priority=priority if above is None else min(priority, above))


# --- runs at work ---


def stop(queue: RunQueue, rows: Iterable[QueueRow], how: Asked = "stop") -> list[Change]:
    """Ask runs at work to stop; they are held then, and `release` lets them go on from their checkpoints.

    Args:
        queue: The queue.
        rows: The runs.
        how: "stop": now, with a checkpoint. "stop after epoch": once the epoch at work is measured.
            "put back": now, but queued instead of held. "kill": at once; goes on from the last
            checkpoint.
    """
    return _ask(queue, rows, how, _STOP_WORDS[how])


def cancel(queue: RunQueue, rows: Iterable[QueueRow]) -> list[Change]:
    """Take runs out of the running for good; what they have learnt stays, and `retry` queues them again."""
    listed = list(rows)
    waiting = {row.run for row in listed if row.state in WAITING}

    def one(row: QueueRow) -> str:
        if row.run not in waiting:
            return _ask_one(queue, row, "cancel", "saves, stops and is cancelled")
        queue.change(row, "cancelled", reason="cancelled on request", cause="", not_before=None)
        return "is cancelled"

    return _each(queue, listed, one)


_STOP_WORDS: dict[Asked, str] = {
    "stop": "saves and stops", "stop after epoch": "stops after this epoch", "kill": "is killed",
    "put back": "saves and goes back into the queue",
}


def _ask(queue: RunQueue, rows: Iterable[QueueRow], asked: Asked, words: str) -> list[Change]:
    return _each(queue, rows, lambda row: _ask_one(queue, row, asked, words))


def _ask_one(queue: RunQueue, row: QueueRow, asked: Asked, words: str) -> str:
    if row.state not in ACTIVE:
        instead = "`engine hold` keeps it from being started" if row.state == "queued" else "nothing to do"
        raise _refuse(row, f'the run is "{row.state}", so nobody is at work on it', instead)
    row = queue.change(row, row.state, asked=asked)
    if asked == "stop after epoch":
        RunDir(queue.runs_dir / row.run).stop_after_epoch.touch()
    settled = _settle(queue, row)
    return words if settled is None else f"was left behind by its supervisor, and is {settled.state} now"


def _settle(queue: RunQueue, row: QueueRow) -> QueueRow | None:
    """Do at once what was asked of a run that the queue calls running though nobody lives to hear it."""
    lock = FileLock(queue.runs_dir / SUPERVISOR_LOCK)
    if is_supervised(queue.runs_dir) or not lock.acquire(_LOCK_PATIENCE_S):
        return None
    try:
        run_dir = RunDir(queue.runs_dir / row.run)
        if is_locked(run_dir.worker_lock):
            return None
        return queue.finish(row, *state_when_interrupted(run_dir, row.attempt))
    finally:
        lock.release()


# --- runs that are over ---


def retry(queue: RunQueue, rows: Iterable[QueueRow]) -> list[Change]:
    """Queue failed or cancelled runs again; they go on from their last checkpoints."""

    def one(row: QueueRow) -> str:
        if row.state not in ("failed", "cancelled"):
            raise QueueError.of(
                "Q107", Where(row.run),
                f'the run is "{row.state}"; only a failed or cancelled one can be tried again',
                "queue its recipe again for a new run",
            )
        queue.change(
            row, "queued", reason="to be tried again", cause="", ended_at=None, not_before=None, interruptions=0,
            figures="",
        )
        return "is queued again"

    return _each(queue, rows, one)


def remove(queue: RunQueue, rows: Iterable[QueueRow]) -> list[Change]:
    """Take runs out of every list; their folders, checkpoints and all, move to `removed/` in the runs folder."""

    def one(row: QueueRow) -> str:
        if row.state in ACTIVE:
            raise _refuse(row, f'the run is "{row.state}"', "`engine cancel` it first, and wait until it has saved")
        try:
            kept = queue.remove(row)
        except OSError as error:
            raise QueueError.of(
                "Q110", Where(str(queue.runs_dir / row.run)), f"the folder can't be moved: {error.strerror or error}",
                "see who uses it, and whether the runs folder may be written",
            ) from error
        return f"is removed; its folder is now {kept}" if kept else "is removed; it had no folder"

    # One by one: what a later failure takes back in the queue, it wouldn't take back among the folders.
    return [_one(row, one) for row in rows]


def bring_back(queue: RunQueue, runs: Iterable[str]) -> list[Change]:
    """Undo `remove`, by the runs' ids."""
    changes = []
    folder = queue.runs_dir / REMOVED_DIR
    for run in runs:
        try:
            row = queue.bring_back(run)
        except OSError as error:
            found = f"{run} can't be brought back: {error.strerror or error}"
            problem = Problem(
                "Q110", Where(str(folder)), found, f"name one of the folders there, such as {_some_folder(folder)}"
            )
            changes.append(Change(run, problem=problem))
        else:
            changes.append(Change(run, f"is back, and {row.state}"))
    return changes


def _some_folder(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return max((entry.name for entry in folder.iterdir()), default="0003-desk")
    return "0003-desk"


# --- the queue as a whole ---


def pause(queue: RunQueue, reason: str = "paused by hand", *, put_back: bool = False) -> list[Change]:
    """Start nothing new; `put_back` also saves the runs at work and puts them back into the queue."""
    queue.pause(reason)
    return stop(queue, queue.rows_in(*ACTIVE), "put back") if put_back else []


def is_supervised(runs_dir: Path) -> bool:
    """Whether an `engine run` is at work on a runs folder."""
    with contextlib.suppress(OSError):
        return is_locked(runs_dir / SUPERVISOR_LOCK)
    return False


@contextlib.contextmanager
def opened(runs_dir: Path, tell: Callable[[str], None] | None = None) -> Iterator[RunQueue]:
    """The queue of a runs folder that exists, for one request.

    Args:
        runs_dir: The runs folder.
        tell: Told, in words, when the queue's file was damaged and rebuilt.

    Raises:
        QueueError: There is no runs folder, or its queue can't be used.
    """
    if not runs_dir.is_dir():
        raise QueueError.of("Q103", str(runs_dir), "there is no runs folder here", "name it with --runs")
    queue = RunQueue(runs_dir, on_rebuild=tell)
    try:
        yield queue
    finally:
        queue.close()

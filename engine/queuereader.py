"""The queue as it is, for those who only look: never writes, never waits long, survives rubbish."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import get_args
from urllib.parse import quote

from engine.events import EventTail, RunEnded
from engine.rundir import QUEUE_FILE, SUPERVISOR_LOCK, RunDir, is_locked, run_number
from engine.runqueue import ACTIVE, QueueRow, State


@dataclass(frozen=True, slots=True)
class QueueReading:
    """The queue's rows by run, or why there are none."""

    rows: dict[str, QueueRow]
    trouble: str = ""


def read_queue(runs_dir: Path, timeout_s: float = 0.3) -> QueueReading:
    """Every row of the queue, without ever writing; no rows when there is no queue.

    Args:
        runs_dir: The runs folder.
        timeout_s: How long to wait for a writer.
    """
    path = runs_dir / QUEUE_FILE
    if not path.exists():
        return QueueReading({})
    columns = ", ".join(field.name for field in fields(QueueRow))
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, timeout=timeout_s)
        ) as db:
            rows = [_row(values) for values in db.execute(f"SELECT {columns} FROM runs ORDER BY number")]
    except (sqlite3.Error, ValueError, TypeError) as error:
        return QueueReading({}, f"the queue can't be read: {error}")
    return QueueReading({row.run: row for row in rows if run_number(row.run) is not None})


def last_word(run_dir: RunDir, attempt: int) -> RunEnded | None:
    """The end that the worker of this attempt recorded itself; None when it died without a word."""
    ended: RunEnded | None = None
    for event in EventTail(run_dir.events).read_all():
        if isinstance(event, RunEnded) and event.attempt == attempt:
            ended = event
    return ended


def state_when_interrupted(run_dir: RunDir, attempt: int) -> tuple[State, str, str]:
    """What a run in flight is once neither supervisor nor worker lives: its state, the reason and the cause."""
    ended = last_word(run_dir, attempt)
    if ended is not None and ended.outcome != "stopped":
        return ended.outcome, ended.reason, ended.cause
    return "queued", "interrupted with its supervisor; goes on from its last checkpoint", ""


def settle_orphans(rows: dict[str, QueueRow], runs_dir: Path) -> dict[str, QueueRow]:
    """The rows as the next supervisor will find them: in flight only where somebody is alive.

    A run that the queue calls running while neither a supervisor nor its worker lives is shown as
    what its worker said last; without a last word it waits to be gone on with. Nothing is written.
    """
    active = [row for row in rows.values() if row.state in ACTIVE]
    if not active or is_locked(runs_dir / SUPERVISOR_LOCK):
        return rows
    settled = dict(rows)
    for row in active:
        run_dir = RunDir(runs_dir / row.run)
        if not is_locked(run_dir.worker_lock):
            state, reason, cause = state_when_interrupted(run_dir, row.attempt)
            settled[row.run] = replace(row, state=state, reason=reason, cause=cause)
    return settled


def _row(values: tuple[object, ...]) -> QueueRow:
    """A row whose types were checked; a foreign file may hold anything."""
    row = QueueRow(*values)  # type: ignore[arg-type]
    texts = (row.run, row.recipe_path, row.state, row.reason, row.cause)
    times = (row.queued_at, row.started_at, row.ended_at)
    if not all(isinstance(text, str) for text in texts) or row.state not in get_args(State):
        raise ValueError("it isn't a queue of this version")
    if not isinstance(row.attempt, int) or not all(isinstance(value, float | int | None) for value in times):
        raise TypeError("it isn't a queue of this version")
    return row

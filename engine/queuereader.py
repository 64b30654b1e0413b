"""The queue as it is, for those who only look: never writes, never waits long, survives rubbish."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass, fields, replace
from pathlib import Path
from urllib.parse import quote

import msgspec

from engine.events import EventTail, RunEnded
from engine.queuefile import SCHEMA_VERSION
from engine.rundir import QUEUE_FILE, SUPERVISOR_LOCK, RunDir, is_locked, run_number
from engine.runqueue import ACTIVE, QueueRow, State, after_request


@dataclass(frozen=True, slots=True)
class QueueReading:
    """The queue's rows by run, or why there are none.

    Attributes:
        rows: By run, in the order of their numbers.
        trouble: Why there are none; "" when all is well.
        paused: Why nothing new is started; None when the queue isn't paused.
        until: Until when the supervisor works, seconds since 1970; None for no end.
    """

    rows: dict[str, QueueRow]
    trouble: str = ""
    paused: str | None = None
    until: float | None = None


def read_queue(runs_dir: Path, timeout_s: float = 0.3) -> QueueReading:
    """Every row of the queue, without ever writing; no rows when there is no queue.

    Args:
        runs_dir: The runs folder.
        timeout_s: How long to wait for a writer.
    """
    path = runs_dir / QUEUE_FILE
    if not path.exists():
        return QueueReading({})
    if not path.is_file():  # a pipe would hold SQLite up for ever
        return QueueReading({}, "the queue can't be read: queue.db isn't a file")
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, timeout=timeout_s)
        ) as db:
            return _read(db)
    except msgspec.ValidationError as error:
        return QueueReading({}, f"the queue can't be read: it isn't a queue of this version ({error})")
    except (sqlite3.Error, ValueError) as error:
        return QueueReading({}, f"the queue can't be read: {error}")


def _read(db: sqlite3.Connection) -> QueueReading:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        return QueueReading({}, f"the queue is of a newer engine (format {version})")
    # An older file lacks the columns at the end; it is brought up to date by whoever writes first.
    known = {column[1] for column in db.execute("PRAGMA table_info(runs)")}
    columns = [field.name for field in fields(QueueRow) if field.name in known]
    found = db.execute(f"SELECT {', '.join(columns)} FROM runs ORDER BY number")
    # A foreign file may hold anything, so types are checked.
    rows = msgspec.convert([dict(zip(columns, values, strict=True)) for values in found], list[QueueRow])
    settings = dict(db.execute("SELECT name, value FROM settings")) if version >= 2 else {}
    until = settings.get("until")
    return QueueReading(
        {row.run: row for row in rows if run_number(row.run) is not None}, paused=settings.get("paused"),
        until=None if until is None else float(until),
    )


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
            state, reason = after_request(row.asked, state, reason)
            settled[row.run] = replace(row, state=state, reason=reason, cause=cause, asked="")
    return settled

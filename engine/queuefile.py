"""The queue's file: its tables, older versions brought up to date, damage noticed, kept aside and mended.

Knows how the file is opened and made anew from the run directories; what its rows mean is for
`runqueue.py`. A damaged file is renamed, never overwritten.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.errors import QueueError
from engine.events import EventTail, RunEnded, RunStarted
from engine.progress import RunProgress, advance
from engine.rundir import QUEUE_FILE, FileLock, RunDir, is_locked, list_run_dirs, run_number

SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE runs (
    run TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    recipe_path TEXT NOT NULL,
    recipe_hash TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    cause TEXT NOT NULL DEFAULT '',
    queued_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    priority INTEGER NOT NULL DEFAULT 0,
    retries_left INTEGER NOT NULL DEFAULT 0,
    not_before REAL
);
CREATE INDEX runs_by_state ON runs (state, number);
"""
# From version 1 on; also run on a new file, so that both come out the same.
_TO_VERSION_2 = """
ALTER TABLE runs ADD COLUMN position REAL NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN asked TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN interruptions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN device TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN max_hours REAL;
ALTER TABLE runs ADD COLUMN figures TEXT NOT NULL DEFAULT '';
UPDATE runs SET position = number;
CREATE INDEX runs_by_hash ON runs (recipe_hash, state);
CREATE INDEX runs_by_position ON runs (position);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

_REBUILD_LOCK = "queue.rebuild.lock"
_REBUILD_PATIENCE_S = 60.0
_BUSY_TIMEOUT_S = 30.0
_LEAST_PAGE_BYTES = 512

Tell = Callable[[str], None]


class QueueUnavailable(QueueError):
    """The queue can't be read or written just now: busy, a full disk, a folder that may not be written."""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file itself is broken, not that it is busy or can't be written."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@contextlib.contextmanager
def immediate(db: sqlite3.Connection) -> Iterator[None]:
    """One transaction that holds the file from its beginning; within another one, a part that can fail by itself."""
    nested = db.in_transaction
    db.execute("SAVEPOINT part" if nested else "BEGIN IMMEDIATE")
    try:
        yield
        db.execute("RELEASE part" if nested else "COMMIT")
    except BaseException:
        # A damaged file or a full disk may have ended the transaction already.
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK TO part" if nested else "ROLLBACK")
            if nested:
                db.execute("RELEASE part")
        raise


def open_queue(runs_dir: Path, tell: Tell | None = None) -> sqlite3.Connection:
    """Open a runs folder's queue; made when missing, brought up to date when old, rebuilt when damaged.

    Args:
        runs_dir: The runs folder; it exists.
        tell: Told, in words, what was rebuilt.

    Raises:
        QueueError: The file is of a newer version.
        OSError, sqlite3.OperationalError: It can't be read or written.
    """
    try:
        return _connect(runs_dir, tell)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return _replace_damaged(runs_dir, tell)


def _replace_damaged(runs_dir: Path, tell: Tell | None) -> sqlite3.Connection:
    """Keep a damaged file aside and build the queue anew; one process at a time."""
    path = runs_dir / QUEUE_FILE
    lock = FileLock(path.with_name(_REBUILD_LOCK))
    if not lock.acquire(patience_s=_REBUILD_PATIENCE_S):
        raise OSError("another process is rebuilding it")
    try:
        try:
            return _connect(runs_dir, tell)  # somebody was faster
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        aside = path.with_name(f"queue.damaged-{time.time_ns()}.db")
        path.rename(aside)
        for suffix in ("-journal", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(QUEUE_FILE + suffix).rename(aside.with_name(aside.name + suffix))
        return _connect(runs_dir, tell, aside=aside)
    finally:
        lock.release()


def _connect(runs_dir: Path, tell: Tell | None, *, aside: Path | None = None) -> sqlite3.Connection:
    path = runs_dir / QUEUE_FILE
    was_there = path.exists() or aside is not None
    if was_there and aside is None and 0 < path.stat().st_size < _LEAST_PAGE_BYTES:
        raise _damage("less than a page is left of it")  # SQLite would take it for empty, and write over it
    db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("PRAGMA synchronous=FULL")
        with immediate(db):
            found = _prepare(db, path, runs_dir, was_there=was_there)
        _look_for_damage(db)
    except BaseException:
        db.close()
        raise
    if found and tell:
        what = f"was damaged; it is kept as {aside.name}" if aside else "was empty" if was_there else "was missing"
        tell(f"{path} {what}, and the queue was rebuilt from {found} run folder{'s' if found > 1 else ''}")
    return db


def _prepare(db: sqlite3.Connection, path: Path, runs_dir: Path, *, was_there: bool) -> int:
    """Make or update the tables; returns how many runs a new file was given from the run directories."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise QueueError.of(
            "Q102", str(path), f"the queue is of a newer engine (format {version})",
            "update engine, or name another runs folder with --runs",
        )
    if version == 0 and db.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise sqlite3.OperationalError("it is a database of another program")
    if version == 0:
        _execute_all(db, _SCHEMA)
    if version < SCHEMA_VERSION:
        _execute_all(db, _TO_VERSION_2)
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    return _rebuild(db, runs_dir, lost=was_there) if version == 0 else 0


def _execute_all(db: sqlite3.Connection, statements: str) -> None:
    # Not executescript, which would end the transaction.
    for statement in statements.split(";"):
        db.execute(statement)


def _look_for_damage(db: sqlite3.Connection) -> None:
    """Read every page once; a queue of 10,000 runs takes some hundredths of a second.

    Raises:
        sqlite3.DatabaseError: A page isn't what it should be.
    """
    found = [row[0] for row in db.execute("PRAGMA quick_check(1)")]
    if found != ["ok"]:
        raise _damage(found[0])


def _damage(found: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(f"damaged: {found}")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


# --- making it anew ---


@dataclass(frozen=True, slots=True)
class _Found:
    """What a run directory tells of its run."""

    run_dir: RunDir
    digest: str
    state: str
    reason: str
    cause: str
    attempt: int
    figures: str
    priority: int = 0
    retries: int = 0
    max_hours: float | None = None


def _rebuild(db: sqlite3.Connection, runs_dir: Path, *, lost: bool) -> int:
    """Fill an empty queue from what the run directories say; returns how many were found.

    Args:
        db: The queue, in a transaction.
        runs_dir: The runs folder.
        lost: A queue was there and is lost, so unfinished runs wait for their turn. Folders that
            never had one were copied here, and are held until somebody says so.
    """
    found = [_look(run_dir, lost=lost) for run_dir in list_run_dirs(runs_dir) if run_dir.resolved.exists()]
    found = _without_twins(found)
    for one in found:
        _insert(db, one)
    return len(found)


def take_in(db: sqlite3.Connection, run_dir: RunDir) -> None:
    """Add a run directory that the queue doesn't know; an unfinished run is held.

    Raises:
        OSError: It holds no resolved recipe that can be read.
    """
    _insert(db, _look(run_dir, lost=False))


def _insert(db: sqlite3.Connection, found: _Found) -> None:
    number = run_number(found.run_dir.run_id)
    db.execute(
        "INSERT OR IGNORE INTO runs (run, number, position, recipe_path, recipe_hash, state, attempt, reason,"
        " cause, queued_at, figures, priority, retries_left, max_hours) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (found.run_dir.run_id, number, number, str(found.run_dir.recipe), found.digest, found.state, found.attempt,
         found.reason, found.cause, found.run_dir.resolved.stat().st_mtime, found.figures, found.priority,
         found.retries, found.max_hours),
    )


def _without_twins(found: Sequence[_Found]) -> list[_Found]:
    """Leave out copies of an unfinished recipe that never started: queueing them was cut short."""
    unfinished = [one for one in found if one.state in ("queued", "held", "running")]
    left = Counter(one.digest for one in unfinished)
    kept = []
    for one in found:
        if one in unfinished and one.attempt == 0 and left[one.digest] > 1:
            left[one.digest] -= 1
        else:
            kept.append(one)
    return kept


def _look(run_dir: RunDir, *, lost: bool) -> _Found:
    content = run_dir.resolved.read_bytes()
    state, reason, cause, attempt, progress = _state_from_events(run_dir)
    if state == "queued":
        state, reason = _state_by_hand(run_dir) or (state, reason)
    if state == "queued" and is_locked(run_dir.worker_lock):
        state, reason = "running", ""
    elif state == "queued" and not lost:
        state, reason = "held", "found without a queue; `engine release` lets it go on"
    figures = figures_json(progress) if state in ("finished", "failed", "cancelled") else ""
    wishes = _queue_section(content)
    # The hash of a recipe is that of its resolved form, byte for byte.
    return _Found(
        run_dir, hashlib.sha256(content).hexdigest(), state, reason, cause, attempt, figures,
        priority=wishes.get("priority") or 0, retries=wishes.get("retries") or 0, max_hours=wishes.get("max_hours"),
    )


def _state_from_events(run_dir: RunDir) -> tuple[str, str, str, int, RunProgress]:
    attempt = 0
    ended: RunEnded | None = None
    progress = RunProgress()
    for event in EventTail(run_dir.events).read_all():
        progress = advance(progress, event)
        if isinstance(event, RunStarted):
            attempt, ended = event.attempt, None
        elif isinstance(event, RunEnded):
            ended = event
    if ended is None or ended.outcome == "stopped":
        return "queued", "found again after the queue file was damaged", "", attempt, progress
    return ended.outcome, ended.reason, ended.cause, attempt, progress


def _queue_section(content: bytes) -> dict[str, Any]:
    try:
        section = json.loads(content)["recipe"]["queue"]
    except (ValueError, KeyError, TypeError):
        return {}
    return section if isinstance(section, dict) else {}


# --- what a person decided, beside the run ---


def keep_decision(run_dir: RunDir, state: str, reason: str) -> None:
    """Note beside a run that it is held or cancelled, or no longer, so that a rebuilt queue knows.

    The queue is what counts; a note that can't be written is left out.
    """
    with contextlib.suppress(OSError):
        if state in ("held", "cancelled"):
            run_dir.decision.write_text(json.dumps({"state": state, "reason": reason}), encoding="utf-8")
        else:
            run_dir.decision.unlink(missing_ok=True)


def _state_by_hand(run_dir: RunDir) -> tuple[str, str] | None:
    try:
        noted = json.loads(run_dir.decision.read_text(encoding="utf-8"))
        state, reason = noted["state"], noted["reason"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (state, str(reason)) if state in ("held", "cancelled") else None


# --- what a run that is over achieved ---


def figures_json(progress: RunProgress) -> str:
    """A run's progress as one line, for its row: 10,000 finished runs are told without reading their events."""
    values = {name: value for name, value in asdict(progress).items() if name != "ended"}
    return json.dumps(values, default=str)


def figures_progress(figures: str) -> RunProgress | None:
    """What `figures_json` wrote; None for nothing, or for rubbish."""
    try:
        values = json.loads(figures)
        return RunProgress(**{name: value for name, value in values.items() if name in RunProgress.__slots__})
    except (ValueError, TypeError, AttributeError):
        return None

"""The queue's file: its tables, older versions brought up to date, damage noticed, kept aside and mended.

Knows how the file is opened; what its rows mean is for `runqueue.py`, how they are found again for
`queuerebuild.py`. A damaged file is renamed, never overwritten.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from engine.errors import QueueError
from engine.queuerebuild import rebuild
from engine.rundir import QUEUE_FILE, FileLock

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
    return rebuild(db, runs_dir, lost=was_there) if version == 0 else 0


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


# --- an open file ---

_Q = TypeVar("_Q", bound="QueueFile")
_P = ParamSpec("_P")
_T = TypeVar("_T")


def healing(method: Callable[Concatenate[_Q, _P], _T]) -> Callable[Concatenate[_Q, _P], _T]:
    """Let a method survive that the file is damaged or replaced meanwhile, and tell in words that it can't be used."""

    @functools.wraps(method)
    def healed(self: _Q, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            if self._db.in_transaction:  # of `together`, which can't be begun again in the middle
                return method(self, *args, **kwargs)
            self._follow_replacement()
            try:
                return method(self, *args, **kwargs)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._reopen()
                return method(self, *args, **kwargs)
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    return healed


class QueueFile:
    """The open file of a runs folder's queue.

    Args:
        runs_dir: The runs folder; made when missing.
        on_rebuild: Told, in words, when a damaged queue file was set aside and rebuilt.

    Raises:
        QueueError: The folder can't be written, or the file is of a newer version.
    """

    def __init__(self, runs_dir: Path, on_rebuild: Tell | None = None) -> None:
        self.runs_dir = runs_dir
        self._path = runs_dir / QUEUE_FILE
        self._on_rebuild = on_rebuild
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
            self._open()
        except (OSError, sqlite3.Error) as error:
            raise self._unavailable(error) from error

    def _open(self) -> None:
        self._db = open_queue(self.runs_dir, self._on_rebuild)
        self._inode = self._inode_now()

    def _unavailable(self, error: Exception) -> QueueUnavailable:
        unavailable = QueueUnavailable.of(
            "Q101", str(self._path), f"the queue can't be used: {error}",
            "make the runs folder writable and see that its disk isn't full, or name another folder with --runs",
        )
        assert isinstance(unavailable, QueueUnavailable)
        return unavailable

    def _inode_now(self) -> int | None:
        try:
            return self._path.stat().st_ino
        except FileNotFoundError:
            return None

    def _follow_replacement(self) -> None:
        """Another process may have set a damaged file aside; go on with the new one."""
        if self._inode_now() != self._inode:
            self._reopen()

    def _reopen(self) -> None:
        self._db.close()
        self._open()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Make several changes in one transaction: a thousand then wait for the disk once, and nobody sees half.

        A change that is refused within it leaves the others as they are.
        """
        self._look()
        try:
            with immediate(self._db):
                yield
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    @healing
    def _look(self) -> None:
        """Notice a file that was replaced or damaged."""
        self._db.execute("SELECT COUNT(*) FROM settings").fetchone()

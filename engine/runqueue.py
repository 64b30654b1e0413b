"""The durable queue: one SQLite file, states, and transitions that check what they change.

Every change is one `BEGIN IMMEDIATE` transaction; a transition names the state and attempt it starts
from and fails loudly when another process was faster. The rollback journal with `synchronous=FULL`
survives a power cut. A damaged file is kept aside and the queue rebuilt from the run directories.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.errors import QueueError, Where
from engine.events import EventTail, RunEnded, RunStarted
from engine.rundir import QUEUE_FILE, FileLock, RunDir, list_run_dirs, run_number

State = Literal["queued", "held", "running", "stopping", "finished", "failed", "cancelled"]
ACTIVE: tuple[State, ...] = ("running", "stopping")
OVER: tuple[State, ...] = ("finished", "failed", "cancelled")

_REBUILD_LOCK = "queue.rebuild.lock"
_REBUILD_PATIENCE_S = 60.0

_SCHEMA_VERSION = 1
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
_COLUMNS = (
    "run, number, recipe_path, recipe_hash, state, attempt, reason, cause, queued_at, started_at, ended_at, "
    "priority, retries_left, not_before"
)


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One run as the queue knows it; times are seconds since 1970, UTC.

    Runs of higher priority go first, the longer queued among equals. `retries_left` is how often a
    failed run may still be tried again, `not_before` the time before which it isn't started.
    """

    run: str
    number: int
    recipe_path: str
    recipe_hash: str
    state: State
    attempt: int
    reason: str
    cause: str
    queued_at: float
    started_at: float | None
    ended_at: float | None
    priority: int = 0
    retries_left: int = 0
    not_before: float | None = None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be queued.

    Attributes:
        name: The recipe's name; the run's id becomes `<number>-<name>`.
        recipe_path: Where the recipe came from, for people.
        recipe_hash: Hash of the resolved recipe; an unfinished run with the same one isn't queued twice.
        create: Fills the run directory it is given (recipe and resolved form).
        priority: Runs of higher priority go first.
        retries: How often the run is tried again after a failure.
        not_before: Seconds since 1970, UTC, before which it isn't started.
    """

    name: str
    recipe_path: str
    recipe_hash: str
    create: Callable[[RunDir], None]
    priority: int = 0
    retries: int = 0
    not_before: float | None = None


class RunQueue:
    """The queue of a runs folder. Open one per process; cheap to open.

    Args:
        runs_dir: The runs folder.
        on_rebuild: Told, in words, when a damaged queue file was set aside and rebuilt.

    Raises:
        QueueError: The folder can't be written, or the file is of a newer version.
    """

    def __init__(self, runs_dir: Path, on_rebuild: Callable[[str], None] | None = None) -> None:
        self.runs_dir = runs_dir
        self._path = runs_dir / QUEUE_FILE
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
            self._db = self._open(on_rebuild)
        except (OSError, sqlite3.OperationalError) as error:
            raise QueueError.of(
                "Q101", str(self._path), f"the queue can't be opened: {error}",
                "make the runs folder writable, or name another one with --runs",
            ) from error

    # --- opening ---

    def _open(self, on_rebuild: Callable[[str], None] | None) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            return self._replace_damaged(on_rebuild)

    def _replace_damaged(self, on_rebuild: Callable[[str], None] | None) -> sqlite3.Connection:
        """Keep a damaged file aside and build the queue anew; one process at a time."""
        lock = FileLock(self._path.with_name(_REBUILD_LOCK))
        if not lock.acquire(patience_s=_REBUILD_PATIENCE_S):
            raise OSError("another process is rebuilding it")
        try:
            with contextlib.suppress(sqlite3.DatabaseError):
                return self._connect()  # somebody was faster
            aside = self._path.with_name(f"queue.damaged-{time.time_ns()}.db")
            self._path.rename(aside)
            for suffix in ("-journal", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    self._path.with_name(QUEUE_FILE + suffix).rename(aside.with_name(aside.name + suffix))
            db = self._connect()
            count = _rebuild(db, self.runs_dir)
            if on_rebuild:
                on_rebuild(
                    f"{self._path} was damaged; it is kept as {aside.name} and the queue was rebuilt "
                    f"from {count} run folders"
                )
            return db
        finally:
            lock.release()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=DELETE")
            db.execute("PRAGMA synchronous=FULL")
            with _immediate(db):
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
            db.execute(f"SELECT {_COLUMNS} FROM runs LIMIT 1").fetchall()
        except sqlite3.Error:
            db.close()
            raise
        if version > _SCHEMA_VERSION:
            db.close()
            raise QueueError.of(
                "Q102", str(self._path), f"the queue is of a newer engine (format {version})",
                "update engine, or name another runs folder with --runs",
            )
        return db

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- reading ---

    def rows(self) -> list[QueueRow]:
        """Every run, by number."""
        return [_row(row) for row in self._db.execute(f"SELECT {_COLUMNS} FROM runs ORDER BY number")]

    def row(self, run: str) -> QueueRow:
        """One run.

        Raises:
            QueueError: There is no such run.
        """
        found = self._db.execute(f"SELECT {_COLUMNS} FROM runs WHERE run = ?", (run,)).fetchone()
        if found is None:
            raise QueueError.of("Q103", Where(str(self.runs_dir)), f'no run "{run}"', "see `engine status`")
        return _row(found)

    # --- changing ---

    def enqueue(self, new_runs: Sequence[NewRun]) -> list[tuple[QueueRow, bool]]:
        """Queue runs, all or none.

        Returns:
            For each, the row and whether it is new: an unfinished run of the very same recipe is
            returned instead of being queued a second time.
        """
        made: list[RunDir] = []
        try:
            with _immediate(self._db):
                return [self._enqueue_one(new_run, made) for new_run in new_runs]
        except BaseException:
            # Left behind, they would come back as queued runs when the queue is rebuilt.
            for run_dir in made:
                shutil.rmtree(run_dir.path, ignore_errors=True)
            raise

    def _enqueue_one(self, new_run: NewRun, made: list[RunDir]) -> tuple[QueueRow, bool]:
        twin = self._db.execute(
            f"SELECT {_COLUMNS} FROM runs WHERE recipe_hash = ? AND state IN ('queued','held','running','stopping')",
            (new_run.recipe_hash,),
        ).fetchone()
        if twin is not None:
            return _row(twin), False
        number, run_dir = self._make_run_dir(new_run.name)
        made.append(run_dir)
        new_run.create(run_dir)
        self._db.execute(
            "INSERT INTO runs (run, number, recipe_path, recipe_hash, state, queued_at, priority, retries_left,"
            " not_before) VALUES (?,?,?,?,'queued',?,?,?,?)",
            (
                run_dir.run_id, number, new_run.recipe_path, new_run.recipe_hash, time.time(), new_run.priority,
                new_run.retries, new_run.not_before,
            ),
        )
        return self.row(run_dir.run_id), True

    def _make_run_dir(self, name: str) -> tuple[int, RunDir]:
        highest = self._db.execute("SELECT COALESCE(MAX(number), 0) FROM runs").fetchone()[0]
        on_disk = (run_number(run_dir.run_id) or 0 for run_dir in list_run_dirs(self.runs_dir))
        number = max(highest, *on_disk, 0) + 1
        path = self.runs_dir / f"{number:04d}-{name}"
        path.mkdir()
        return number, RunDir(path)

    def claim(self) -> QueueRow | None:
        """Take the next queued run whose time has come: it becomes "running" with a new attempt number."""
        with _immediate(self._db):
            found = self._db.execute(
                f"SELECT {_COLUMNS} FROM runs WHERE state = 'queued' AND COALESCE(not_before, 0) <= ?"
                " ORDER BY priority DESC, number LIMIT 1",
                (time.time(),),
            ).fetchone()
            if found is None:
                return None
            row = _row(found)
            self._move(
                row, "running", attempt=row.attempt + 1, started_at=row.started_at or time.time(), ended_at=None,
                reason="", cause="",
            )
            return self.row(row.run)

    def mark_stopping(self, row: QueueRow) -> QueueRow:
        """A running run was asked to stop."""
        return self._transition(row, "stopping")

    def finish(self, row: QueueRow, state: State, reason: str = "", cause: str = "") -> QueueRow:
        """Record how an attempt ended; "queued" means that it waits to go on."""
        ended_at = time.time() if state in OVER else None
        return self._transition(row, state, reason=reason, cause=cause, ended_at=ended_at)

    def fail(self, row: QueueRow, reason: str, cause: str) -> QueueRow:
        """Record a failure; a run with tries left waits to be tried again."""
        if not row.retries_left:
            return self.finish(row, "failed", reason, cause)
        left = row.retries_left - 1
        words = f"failed ({cause}) and is tried again, {left} more {'try' if left == 1 else 'tries'} left: {reason}"
        return self._transition(row, "queued", reason=words, cause=cause, retries_left=left)

    def retry(self, run: str) -> QueueRow:
        """Queue a failed or cancelled run again; it goes on from its last checkpoint.

        Raises:
            QueueError: There is no such run, or it isn't over without success.
        """
        row = self.row(run)
        if row.state not in ("failed", "cancelled"):
            raise QueueError.of(
                "Q107", Where(run), f'the run is "{row.state}"; only a failed or cancelled one can be tried again',
                "queue its recipe again for a new run",
            )
        return self._transition(row, "queued", reason="to be tried again", ended_at=None)

    def next_start(self) -> float | None:
        """When the first queued run may start, seconds since 1970; None when nothing is queued."""
        found = self._db.execute("SELECT MIN(COALESCE(not_before, 0)) FROM runs WHERE state = 'queued'").fetchone()
        return None if found[0] is None else float(found[0])

    def close_when_empty(self, let_go: Callable[[], None]) -> bool:
        """Give up being the supervisor only if nothing is queued, with no gap for a new run.

        `let_go` is called inside the transaction: a run added before it is seen here, one added
        after it finds the supervisor's lock free.
        """
        with _immediate(self._db):
            waiting = self._db.execute("SELECT 1 FROM runs WHERE state = 'queued' LIMIT 1").fetchone()
            if waiting is None:
                let_go()
            return waiting is None

    def _transition(self, row: QueueRow, state: State, **values: object) -> QueueRow:
        with _immediate(self._db):
            self._move(row, state, **values)
        return self.row(row.run)

    def _move(self, row: QueueRow, state: State, **values: object) -> None:
        columns = {"state": state, **values}
        assignments = ", ".join(f"{column} = ?" for column in columns)
        changed = self._db.execute(
            f"UPDATE runs SET {assignments} WHERE run = ? AND attempt = ? AND state = ?",
            (*columns.values(), row.run, row.attempt, row.state),
        ).rowcount
        if changed != 1:
            raise QueueError.of(
                "Q104", Where(row.run),
                f'the run is no longer "{row.state}" (attempt {row.attempt}); another process changed it',
                "look again with `engine status`",
            )


def _row(values: Sequence[object]) -> QueueRow:
    return QueueRow(*values)  # type: ignore[arg-type]


@contextlib.contextmanager
def _immediate(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _rebuild(db: sqlite3.Connection, runs_dir: Path) -> int:
    """Fill an empty queue from what the run directories say; returns how many were found."""
    run_dirs = [run_dir for run_dir in list_run_dirs(runs_dir) if run_dir.resolved.exists()]
    with _immediate(db):
        for run_dir in run_dirs:
            state, reason, cause, attempt = _state_from_events(run_dir)
            # The hash of a recipe is that of its resolved form, byte for byte.
            digest = hashlib.sha256(run_dir.resolved.read_bytes()).hexdigest()
            db.execute(
                "INSERT OR IGNORE INTO runs (run, number, recipe_path, recipe_hash, state, attempt, reason, cause,"
                " queued_at) VALUES (?,?,?,?,?,?,?,?,?)",
                (run_dir.run_id, run_number(run_dir.run_id), str(run_dir.recipe), digest, state, attempt,
                 reason, cause, run_dir.resolved.stat().st_mtime),
            )
    return len(run_dirs)


def _state_from_events(run_dir: RunDir) -> tuple[State, str, str, int]:
    attempt = 0
    ended: RunEnded | None = None
    for event in EventTail(run_dir.events).read_all():
        if isinstance(event, RunStarted):
            attempt, ended = event.attempt, None
        elif isinstance(event, RunEnded):
            ended = event
    if ended is None or ended.outcome == "stopped":
        return "queued", "found again after the queue file was damaged", "", attempt
    return ended.outcome, ended.reason, ended.cause, attempt

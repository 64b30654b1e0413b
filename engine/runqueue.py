"""The durable queue: states, and transitions that check what they change.

Every change is one `BEGIN IMMEDIATE` transaction; a transition names the state and attempt it starts
from and fails loudly when another process was faster. The rollback journal with `synchronous=FULL`
survives a power cut. The file itself (versions, damage) is for `queuefile.py`; what a person may ask
of runs is for `control.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from engine.errors import QueueError, Where
from engine.events import EventTail
from engine.progress import fold
from engine.queuefile import QueueFile, healing, immediate
from engine.queuerebuild import figures_json, keep_decision, take_in
from engine.queuerows import (
    ACTIVE,
    ALL_ASKED,
    COLUMNS,
    IN_ORDER,
    OVER,
    WAITING,
    Asked,
    NewRun,
    QueueRow,
    State,
    after_request,
)
from engine.rundir import REMOVED_DIR, RunDir, run_number, sync_all

__all__ = [
    "ACTIVE", "ALL_ASKED", "OVER", "WAITING", "Asked", "Choose", "NewRun", "QueueRow", "RunQueue", "State",
    "after_request",
]

# Picks one of the queued runs whose time has come, given in order; None to start none of them now.
Choose = Callable[[Sequence[QueueRow]], QueueRow | None]


class RunQueue(QueueFile):
    """The queue of a runs folder. Open one per process; cheap to open.

    Args:
        runs_dir: The runs folder.
        on_rebuild: Told, in words, when a damaged queue file was set aside and rebuilt.

    Raises:
        QueueError: The folder can't be written, or the file is of a newer version.
    """

    # --- reading ---

    @healing
    def rows(self) -> list[QueueRow]:
        """Every run, by number."""
        return self._select("ORDER BY number")

    @healing
    def rows_in(self, *states: State) -> list[QueueRow]:
        """The runs in some states, in the order in which they get their turn."""
        return self._in_states(states)

    @healing
    def first_due(self) -> QueueRow | None:
        """The run that is likely started next; None when none may be: nothing is due, or the queue is paused."""
        if self._setting("paused") is not None:
            return None
        found = self._select(
            f"WHERE state = 'queued' AND COALESCE(not_before, 0) <= ? {IN_ORDER} LIMIT 1", (time.time(),)
        )
        return found[0] if found else None

    @healing
    def row(self, run: str) -> QueueRow:
        """One run.

        Raises:
            QueueError: There is no such run.
        """
        return self._row(run)

    @healing
    def requests(self) -> list[QueueRow]:
        """Runs at work of which a person asked something; cheap enough to ask many times a second."""
        return self._select("WHERE state IN ('running', 'stopping') AND asked != ''")

    def _select(self, rest: str, values: Iterable[object] = ()) -> list[QueueRow]:
        found = self._db.execute(f"SELECT {COLUMNS} FROM runs {rest}", tuple(values))
        return [QueueRow(*row) for row in found]

    def _in_states(self, states: Sequence[State]) -> list[QueueRow]:
        return self._select(f"WHERE state IN ({','.join('?' * len(states))}) {IN_ORDER}", states)

    def _row(self, run: str) -> QueueRow:
        found = self._select("WHERE run = ?", (run,))
        if not found:
            raise QueueError.of("Q103", Where(str(self.runs_dir)), f'no run "{run}"', "see `engine status`")
        return found[0]

    # --- adding ---

    @healing
    def enqueue(self, new_runs: Sequence[NewRun]) -> list[tuple[QueueRow, bool]]:
        """Queue runs, all or none.

        Returns:
            For each, the row and whether it is new: an unfinished run of the very same recipe is
            returned instead of being queued a second time.
        """
        made: list[RunDir] = []
        try:
            with immediate(self._db):
                first = self._highest_number() + 1
                queued = [self._enqueue_one(new_run, made, first + len(made)) for new_run in new_runs]
                # All files at once: one by one, a thousand recipes would wait for the disk a thousand times.
                written = [path for run_dir in made for path in (run_dir.path, *run_dir.path.iterdir())]
                sync_all([self.runs_dir, *written])
        except BaseException:
            # Left behind, they would come back as queued runs when the queue is rebuilt.
            for run_dir in made:
                shutil.rmtree(run_dir.path, ignore_errors=True)
            raise
        return queued

    def _enqueue_one(self, new_run: NewRun, made: list[RunDir], number: int) -> tuple[QueueRow, bool]:
        twins = self._select(
            "WHERE recipe_hash = ? AND state IN ('queued','held','running','stopping')", (new_run.recipe_hash,)
        )
        if twins:
            return twins[0], False
        run_dir = RunDir(self.runs_dir / f"{number:04d}-{new_run.name}")
        run_dir.path.mkdir()
        made.append(run_dir)
        new_run.create(run_dir)
        state, reason = ("held", "held by hand") if new_run.held else ("queued", "")
        # Runs may have been moved behind those of higher numbers; new ones come last all the same.
        highest = self._db.execute("SELECT COALESCE(MAX(position), 0) FROM runs").fetchone()[0]
        position = max(float(number), highest + 1)
        self._db.execute(
            "INSERT INTO runs (run, number, position, recipe_path, recipe_hash, state, reason, queued_at, priority,"
            " retries_left, not_before, max_hours) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                run_dir.run_id, number, position, new_run.recipe_path, new_run.recipe_hash, state, reason, time.time(),
                new_run.priority, new_run.retries, new_run.not_before, new_run.max_hours,
            ),
        )
        if new_run.held:
            keep_decision(run_dir, state, reason)
        return self._row(run_dir.run_id), True

    def _highest_number(self) -> int:
        """The highest number ever used: none is used again while its row or its folder remains."""
        highest: int = self._db.execute("SELECT COALESCE(MAX(number), 0) FROM runs").fetchone()[0]
        for folder in (self.runs_dir, self.runs_dir / REMOVED_DIR):
            with contextlib.suppress(FileNotFoundError):
                highest = max([highest, *(run_number(entry.name) or 0 for entry in folder.iterdir())])
        return highest

    # --- working on runs: for the supervisor ---

    @healing
    def claim(self, choose: Choose = lambda rows: rows[0]) -> QueueRow | None:
        """Take the next queued run whose time has come: it becomes "running" with a new attempt number.

        Args:
            choose: Picks among them. It is called within the transaction, so it should be quick.

        Returns:
            None when there is none, none was chosen, or the queue is paused.
        """
        with immediate(self._db):
            due = self._select(
                f"WHERE state = 'queued' AND COALESCE(not_before, 0) <= ? {IN_ORDER}", (time.time(),)
            )
            row = choose(due) if due and self._setting("paused") is None else None
            if row is None:
                return None
            RunDir(self.runs_dir / row.run).stop_after_epoch.unlink(missing_ok=True)
            self._move(
                row, "running", attempt=row.attempt + 1, started_at=row.started_at or time.time(), ended_at=None,
                reason="", cause="", asked="", figures="",
            )
            return self._row(row.run)

    @healing
    def mark_stopping(self, row: QueueRow) -> QueueRow:
        """A running run was asked to stop."""
        return self._transition(row, "stopping")

    @healing
    def finish(self, row: QueueRow, state: State, reason: str = "", cause: str = "") -> QueueRow:
        """Record how an attempt ended; "queued" means that it waits to go on.

        What a person asked of the run decides whether it does: a stopped one is held, a cancelled one over.
        """
        return self._end(row, state, reason, cause)

    @healing
    def fail(self, row: QueueRow, reason: str, cause: str) -> QueueRow:
        """Record a failure; a run with tries left waits to be tried again."""
        if not row.retries_left:
            return self._end(row, "failed", reason, cause)
        left = row.retries_left - 1
        words = f"failed ({cause}) and is tried again, {left} more {'try' if left == 1 else 'tries'} left: {reason}"
        return self._end(row, "queued", words, cause, retries_left=left)

    @healing
    def park(
        self, row: QueueRow, reason: str, not_before: float | None = None, cause: str = "parked"
    ) -> QueueRow:
        """A run that was saved and stopped to make room waits for another turn; `not_before`: no sooner."""
        return self._end(row, "queued", reason, cause, not_before=not_before)

    @healing
    def interrupted(self, row: QueueRow, reason: str, cause: str, *, limit: int) -> QueueRow:
        """An attempt died without a word: the run goes on, unless that happened `limit` times in a row."""
        times = row.interruptions + 1
        if times < limit:
            return self._end(row, "queued", reason, "", interruptions=times)
        return self._end(row, "failed", f"{reason}; that happened {times} times in a row", cause, interruptions=times)

    @healing
    def note(self, row: QueueRow, reason: str, cause: str = "") -> QueueRow:
        """Tell why a queued run isn't started, or that nothing keeps it any more (""); writes only what is new."""
        if (row.reason, row.cause) == (reason, cause):
            return row
        return self._transition(row, row.state, reason=reason, cause=cause)

    @healing
    def set_device(self, row: QueueRow, device: str) -> QueueRow:
        """Tell which device the attempt at work was given."""
        return self._transition(row, row.state, device=device)

    @healing
    def reset_interruptions(self, row: QueueRow) -> QueueRow:
        """The attempt at work got somewhere; what died before it no longer counts."""
        return self._transition(row, row.state, interruptions=0) if row.interruptions else row

    def _end(self, row: QueueRow, state: State, reason: str, cause: str, **values: object) -> QueueRow:
        events = RunDir(self.runs_dir / row.run).events
        figures = figures_json(fold(EventTail(events).read_all())) if row.attempt else ""
        with immediate(self._db):
            state, reason = after_request(self._row(row.run).asked, state, reason)
            is_over = state in OVER
            self._move(
                row, state, reason=reason, cause=cause, ended_at=time.time() if is_over else None, asked="",
                device="", figures=figures if is_over else "", **values,
            )
        return self._row(row.run)

    # --- the queue as a whole ---

    @healing
    def pause(self, reason: str) -> None:
        """Start nothing new until `unpause`; runs at work go on."""
        self._set("paused", reason)

    @healing
    def unpause(self) -> None:
        """Start runs again."""
        self._set("paused", None)

    @healing
    def is_paused(self) -> bool:
        """Whether nothing new may be started."""
        return self._setting("paused") is not None

    @healing
    def set_until(self, until: float | None) -> None:
        """Tell until when the supervisor works, in seconds since 1970; None for no end."""
        self._set("until", None if until is None else repr(until))

    @healing
    def until(self) -> float | None:
        """Until when the supervisor works, in seconds since 1970."""
        told = self._setting("until")
        return None if told is None else float(told)

    @healing
    def next_start(self) -> float | None:
        """When the first queued run may start, seconds since 1970; None when nothing is queued."""
        found = self._db.execute("SELECT MIN(COALESCE(not_before, 0)) FROM runs WHERE state = 'queued'").fetchone()
        return None if found[0] is None else float(found[0])

    @healing
    def close_when_empty(self, let_go: Callable[[], None]) -> bool:
        """Give up being the supervisor only if nothing is queued, with no gap for a new run.

        `let_go` is called inside the transaction: a run added before it is seen here, one added
        after it finds the supervisor's lock free.
        """
        with immediate(self._db):
            waiting = self._db.execute("SELECT 1 FROM runs WHERE state = 'queued' LIMIT 1").fetchone()
            if waiting is None:
                let_go()
            return waiting is None

    def _setting(self, name: str) -> str | None:
        found = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def _set(self, name: str, value: str | None) -> None:
        with immediate(self._db):
            if value is None:
                self._db.execute("DELETE FROM settings WHERE name = ?", (name,))
            else:
                self._db.execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (name, value))

    # --- what a person changes: for control.py ---

    @healing
    def change(self, row: QueueRow, state: State, /, **values: object) -> QueueRow:
        """Move a run to a state, if it is as `row` says.

        Raises:
            QueueError: Another process changed it.
        """
        return self._transition(row, state, **values)

    @healing
    def rearrange(self, arrange: Callable[[list[QueueRow]], Sequence[QueueRow]]) -> None:
        """Change the order of the runs that wait.

        Args:
            arrange: Given the queued and held runs in order, returns them in their new order, with
                the priorities they should have. Called within the transaction.
        """
        with immediate(self._db):
            before = self._in_states(WAITING)
            places = sorted(row.position for row in before)
            for row, position in zip(arrange(before), places, strict=True):
                self._db.execute(
                    "UPDATE runs SET position = ?, priority = ? WHERE run = ?", (position, row.priority, row.run)
                )

    @healing
    def remove(self, row: QueueRow) -> Path | None:
        """Take a run that nobody works on out of the queue; its folder moves to `removed/`.

        Returns:
            Where the folder is now; None when there was none.
        """
        folder, kept = self.runs_dir / row.run, self.runs_dir / REMOVED_DIR / row.run
        with immediate(self._db):
            self._expect_one(
                self._db.execute(
                    "DELETE FROM runs WHERE run = ? AND attempt = ? AND state = ?", (row.run, row.attempt, row.state)
                ),
                row,
            )
            if not folder.exists():
                return None
            kept.parent.mkdir(exist_ok=True)
            folder.rename(kept)
        return kept

    @healing
    def bring_back(self, run: str) -> QueueRow:
        """Bring a removed run back; unless it is over it is held.

        Raises:
            FileNotFoundError: There is no such folder in `removed/`.
            OSError: It can't be moved.
        """
        folder, kept = self.runs_dir / run, self.runs_dir / REMOVED_DIR / run
        with immediate(self._db):
            if run_number(run) is None or not kept.is_dir():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(kept))
            take_in(self._db, RunDir(kept))
            kept.rename(folder)
        return self._row(run)

    # --- fences ---

    def _transition(self, row: QueueRow, state: State, **values: object) -> QueueRow:
        with immediate(self._db):
            self._move(row, state, **values)
        return self._row(row.run)

    def _move(self, row: QueueRow, state: State, **values: object) -> None:
        columns = {"state": state, **values}
        assignments = ", ".join(f"{column} = ?" for column in columns)
        self._expect_one(
            self._db.execute(
                f"UPDATE runs SET {assignments} WHERE run = ? AND attempt = ? AND state = ?",
                (*columns.values(), row.run, row.attempt, row.state),
            ),
            row,
        )
        if state in ("held", "cancelled") or row.state in ("held", "cancelled"):
            keep_decision(RunDir(self.runs_dir / row.run), state, str(values.get("reason", row.reason)))

    def _expect_one(self, changed: sqlite3.Cursor, row: QueueRow) -> None:
        if changed.rowcount != 1:
            raise QueueError.of(
                "Q104", Where(row.run),
                f'the run is no longer "{row.state}" (attempt {row.attempt}); another process changed it',
                "look again with `engine queue`",
            )

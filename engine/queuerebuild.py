"""The queue made anew from the run directories, and what is kept beside runs so that it can be."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.events import EventTail, RunEnded, RunStarted
from engine.progress import RunProgress, advance
from engine.rundir import RunDir, is_locked, list_run_dirs, run_number


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


def rebuild(db: sqlite3.Connection, runs_dir: Path, *, lost: bool) -> int:
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

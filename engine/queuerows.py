"""What the queue knows of a run: states, requests, rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from engine.rundir import RunDir

State = Literal["queued", "held", "running", "stopping", "finished", "failed", "cancelled"]
ACTIVE: tuple[State, ...] = ("running", "stopping")
WAITING: tuple[State, ...] = ("queued", "held")
OVER: tuple[State, ...] = ("finished", "failed", "cancelled")

# What a person asked of a run at work. "put back": save, end, and wait for another turn.
Asked = Literal["", "stop after epoch", "put back", "stop", "cancel", "kill"]
ALL_ASKED: tuple[Asked, ...] = ("", "stop after epoch", "put back", "stop", "cancel", "kill")

# Columns of the file, in the order of QueueRow's fields.
COLUMNS = (
    "run, number, recipe_path, recipe_hash, state, attempt, reason, cause, queued_at, started_at, ended_at, "
    "priority, retries_left, not_before, position, asked, interruptions, device, max_hours, figures"
)
# The order in which waiting runs have their turns.
IN_ORDER = "ORDER BY priority DESC, position, number"


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One run as the queue knows it; times are seconds since 1970, UTC.

    Runs of higher priority go first, among equals the one of lower `position`. `retries_left` is how
    often a failed run may still be tried again, `not_before` the time before which it isn't started,
    `asked` what a person wants of it while it is at work, `interruptions` how many attempts in a row
    died without a word, `device` what the attempt at work was given, `max_hours` how long it may be
    worked on in a row, `figures` what it had achieved when it was over (see `queuefile.figures_progress`).
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
    position: float = 0.0
    asked: Asked = ""
    interruptions: int = 0
    device: str = ""
    max_hours: float | None = None
    figures: str = ""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be queued.

    Attributes:
        name: The recipe's name; the run's id becomes `<number>-<name>`.
        recipe_path: Where the recipe came from, for people.
        recipe_hash: Hash of the resolved recipe; an unfinished run with the same one isn't queued twice.
        create: Fills the run directory it is given (recipe and resolved form); needn't sync what it writes.
        priority: Runs of higher priority go first.
        retries: How often the run is tried again after a failure.
        not_before: Seconds since 1970, UTC, before which it isn't started.
        max_hours: Hours in a row that it may be worked on.
        held: It isn't started until it is released.
    """

    name: str
    recipe_path: str
    recipe_hash: str
    create: Callable[[RunDir], None]
    priority: int = 0
    retries: int = 0
    not_before: float | None = None
    max_hours: float | None = None
    held: bool = False


def after_request(asked: Asked, state: State, reason: str) -> tuple[State, str]:
    """What becomes of a run that would go on, given what a person asked while it was at work."""
    if state != "queued" or asked in ("", "put back"):
        return state, reason
    if asked == "cancel":
        return "cancelled", "cancelled on request" + (f"; {reason}" if reason else "")
    return "held", f"{reason or 'stopped on request'}; `engine release` lets it go on"

"""Where every unfinished run stands: its turn, what it waits for and what to do about it, when it should be done.

What `engine queue`, `engine explain` and the dashboard tell. `stand` is pure; `read_board` reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from engine.control import is_supervised
from engine.errors import plain
from engine.events import EventTail
from engine.forecast import QueueForecast, Waiting, clock_words, forecast_queue, left_of, read_forecast
from engine.planning import Candidate, plan
from engine.progress import RunProgress, fold
from engine.queuereader import QueueReading, read_queue, settle_orphans
from engine.queuerebuild import figures_progress
from engine.rundir import RunDir
from engine.runqueue import ACTIVE, OVER, Asked, QueueRow

_ASKED_WORDS: dict[Asked, str] = {
    "": "", "stop": "is asked to save and stop", "stop after epoch": "is asked to stop after this epoch",
    "put back": "is asked to save and make room", "cancel": "is asked to save and is then cancelled",
    "kill": "is being killed",
}

Remedy = Literal["", "release", "retry", "first", "stop", "unpause", "start", "log"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that keeps a run from being started, or that is to be said of it.

    Attributes:
        words: What it is.
        fix: What to do about it; "" for nothing.
        remedy: What the fix does, in a word that the dashboard has a key for; "" for what has none.
        is_general: It holds for every queued run, and need be said only once.
    """

    words: str
    fix: str = ""
    remedy: Remedy = ""
    is_general: bool = False


@dataclass(frozen=True, slots=True)
class Left:
    """What a run still needs.

    Attributes:
        left_s: Seconds; None where nobody knows.
        may_end_early: Whether it may be done sooner.
    """

    left_s: float | None = None
    may_end_early: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an unfinished run stands.

    Attributes:
        row: The run.
        turn: 1 for the run that is started next; None for one that isn't queued.
        why: Why it isn't at work, most important first; for one at work, what is asked of it.
        left_s: Seconds that it still needs.
        done_at: When it should be done, seconds since 1970.
        at_the_latest: It may be done sooner.
    """

    row: QueueRow
    turn: int | None
    why: tuple[Reason, ...]
    left_s: float | None = None
    done_at: float | None = None
    at_the_latest: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """The queue at a glance.

    Attributes:
        standings: The unfinished runs: those at work, then those that wait, in the order of their turns.
        counts: How many runs are in each state.
        paused: Why nothing new is started; None when the queue isn't paused.
        until: Until when the supervisor works, seconds since 1970.
        former_until: Until when the one before was to work: nobody is at work, and who starts now ends then too.
        is_supervised: Whether somebody is at work on the queue.
        queue_done_at: When everything queued should be done; None where that can't be told.
        progress: Of the runs at work, by run.
    """

    standings: tuple[Standing, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    paused: str | None = None
    until: float | None = None
    is_supervised: bool = False
    queue_done_at: float | None = None
    former_until: float | None = None
    progress: Mapping[str, RunProgress] = field(default_factory=dict)


def in_order(rows: Sequence[QueueRow]) -> list[QueueRow]:
    """Unfinished runs: those at work, the queued ones in the order of their turns, the held ones."""
    unfinished = [row for row in rows if row.state not in OVER]
    places = {"running": 0, "stopping": 0, "queued": 1, "held": 2}
    return sorted(unfinished, key=lambda row: (places[row.state], -row.priority, row.position, row.number))


def stand(reading: QueueReading, *, is_supervised: bool, now: float, left: Mapping[str, Left]) -> Board:
    """Where the unfinished runs of a queue stand.

    Args:
        reading: The queue.
        is_supervised: Whether somebody is at work on it.
        now: Seconds since 1970.
        left: What runs still need, as far as it is known.
    """
    until = reading.until if is_supervised else None
    rows = in_order(list(reading.rows.values()))
    if until is not None:
        rows = _as_planned(rows, until - now, left)
    forecast = _forecast(rows, now, left)
    standings = []
    num_at_work = sum(row.state in ACTIVE for row in rows)
    for index, row in enumerate(rows):
        ahead = f"after {rows[0].run}" if index == 1 else f"after {index} runs" if index else ""
        turn = index - num_at_work + 1 if row.state == "queued" else None
        done_at = forecast.done_at.get(row.run)
        standings.append(
            Standing(
                row, turn,
                tuple(_why(row, ahead, reading.paused, now, until, done_at, is_supervised=is_supervised)),
                left.get(row.run, Left()).left_s, done_at, row.run in forecast.at_the_latest,
            )
        )
    former = None if is_supervised or reading.until is None or reading.until <= now else reading.until
    return Board(
        tuple(standings), Counter(row.state for row in reading.rows.values()), reading.paused, until, is_supervised,
        forecast.queue_done_at, former,
    )


def _as_planned(rows: Sequence[QueueRow], time_s: float, left: Mapping[str, Left]) -> list[QueueRow]:
    """Unfinished runs in the order in which they are started when work ends at a time."""
    candidates = [
        Candidate(row.run, left.get(row.run, Left()).left_s, row.priority, at_work=row.state in ACTIVE)
        for row in rows
        if row.state != "held"
    ]
    places = max(1, sum(one.at_work for one in candidates))
    turns = {run: turn for turn, run in enumerate(plan(candidates, time_s, places).order)}
    queued = sorted((row for row in rows if row.state == "queued"), key=lambda row: turns[row.run])
    return [*(row for row in rows if row.state in ACTIVE), *queued, *(row for row in rows if row.state == "held")]


def _forecast(rows: Sequence[QueueRow], now: float, left: Mapping[str, Left]) -> QueueForecast:
    waiting = [
        # Their order is settled already, so priorities are left out.
        Waiting(
            row.run, index, left.get(row.run, Left()).left_s, active=row.state in ACTIVE, not_before=row.not_before,
            may_end_early=left.get(row.run, Left()).may_end_early,
        )
        for index, row in enumerate(rows)
        if row.state != "held"
    ]
    return forecast_queue(waiting, now)


def _why(
    row: QueueRow, ahead: str, paused: str | None, now: float, until: float | None,
    done_at: float | None, *, is_supervised: bool,
) -> list[Reason]:
    if row.state in ACTIVE:
        return [Reason(_ASKED_WORDS[row.asked])] if row.asked else []
    if row.state == "held":
        return [Reason(row.reason or "held", f"`engine release {row.number}` lets it go on", remedy="release")]
    why = []
    if paused is not None:
        why.append(Reason(f"the queue is paused ({paused})", "`engine unpause` goes on", "unpause", is_general=True))
    if not is_supervised:
        why.append(Reason("nobody is at work on the queue", "`engine run` starts it", "start", is_general=True))
    if row.cause == "no space":
        why.append(Reason(row.reason, "free some space: `engine clean` tells what could go"))
    if row.not_before is not None and row.not_before > now:
        later = f"not before {clock_words(row.not_before, now)}"
        why.append(Reason(later, f"`engine release {row.number}` lets it start", remedy="release"))
    if ahead:
        why.append(Reason(ahead, f"`engine move {row.number} --first` puts it first", remedy="first"))
    if until is not None and done_at is not None and done_at > until:
        why.append(Reason(f"should not be done by {clock_words(until, now)}, when work ends; goes on another day"))
    if row.reason and row.cause != "no space":
        why.append(Reason(row.reason))
    return why if any(not reason.is_general for reason in why) else [*why, Reason("is next")]


# --- reading ---


def read_board(runs_dir: Path, reading: QueueReading, now: float) -> Board:
    """Where the unfinished runs of a runs folder stand, their events and forecasts read.

    Args:
        runs_dir: The runs folder.
        reading: Its queue, with runs that nobody works on settled (`queuereader.settle_orphans`).
        now: Seconds since 1970.
    """
    left: dict[str, Left] = {}
    progresses: dict[str, RunProgress] = {}
    for row in reading.rows.values():
        if row.state in OVER:
            continue
        progress = progress_of(row, runs_dir)
        left[row.run] = left_of_run(row, RunDir(runs_dir / row.run), progress)
        progresses[row.run] = progress
    board = stand(reading, is_supervised=is_supervised(runs_dir), now=now, left=left)
    return replace(board, progress=progresses)


def read_queue_board(runs_dir: Path, now: float, timeout_s: float = 0.3) -> tuple[Board, str]:
    """The board of a runs folder, and what is wrong with its queue ("" for nothing).

    Args:
        runs_dir: The runs folder.
        now: Seconds since 1970.
        timeout_s: How long to wait for a writer.
    """
    reading = read_queue(runs_dir, timeout_s)
    reading = replace(reading, rows=settle_orphans(reading.rows, runs_dir))
    return read_board(runs_dir, reading, now), reading.trouble


def progress_of(row: QueueRow, runs_dir: Path) -> RunProgress:
    """Where a run stands: from its row when it is over, else from its events."""
    told = figures_progress(row.figures) if row.figures else None
    if told is not None:
        return told
    return fold(EventTail(RunDir(runs_dir / row.run).events).read_all()) if row.attempt else RunProgress()


def left_of_run(row: QueueRow, run_dir: RunDir, progress: RunProgress) -> Left:
    """What a run still needs, by its latest steps where it is at work, by its rehearsal or its earlier steps else."""
    forecast = read_forecast(run_dir.forecast)
    # An earlier attempt's own pace tells more than a rehearsal, but its last word ends the estimate.
    eta_s = progress.eta_s if row.state in ACTIVE else None
    left_s = left_of(forecast, fraction=progress.fraction, eta_s=eta_s)
    if left_s is None and progress.num_steps and progress.step_s is not None:
        evaluations = max(0, (progress.num_epochs or 0) - progress.epochs_measured)
        left_s = (progress.num_steps - progress.step) * progress.step_s + evaluations * progress.evaluate_s
    return Left(left_s, may_end_early=forecast is not None and forecast.may_end_early)


# --- one run, explained ---


def explain_run(row: QueueRow, board: Board, progress: RunProgress) -> list[Reason]:
    """Why a run is as it is and what may be done about it, most important first."""
    here = next((standing for standing in board.standings if standing.row.run == row.run), None)
    if here is not None:
        return [*_explain_unfinished(here), *_explain_work(row, progress)]
    if row.state == "failed":
        reason = plain(row.reason)
        words = f"failed ({row.cause}): {reason}" if row.cause else f"failed: {reason}"
        return [
            Reason(words, what_to_do(row)),
            Reason("the worker's own words", f"`engine logs {row.number}`", remedy="log"),
            *_explain_work(row, progress),
        ]
    if row.state == "cancelled":
        return [Reason(row.reason or "cancelled", f"`engine retry {row.number}` queues it again", remedy="retry"),
                *_explain_work(row, progress)]
    best = "" if progress.best_ap50 is None else f", best AP50 {progress.best_ap50:.3f} (epoch {progress.best_epoch})"
    return [Reason(f"finished{': ' + row.reason if row.reason else ''}{best}", f"`engine predict {row.number} IMAGES`")]


# Failures that the recipe, as it was queued, leads to again.
_CAUSES_IN_RECIPE = ("diverged", "out of memory", "weights error", "recipe error")


def what_to_do(row: QueueRow) -> str:
    """What a failed run needs: a run keeps its recipe as it was queued, so a better one makes a new run."""
    if row.cause in _CAUSES_IN_RECIPE:
        return (
            f"correct {row.recipe_path} and `engine run` it, which makes a new run; `engine retry {row.number}` would "
            "try the recipe as it was queued"
        )
    return f"mend it and `engine retry {row.number}`, which goes on from the last checkpoint"


def _explain_unfinished(standing: Standing) -> list[Reason]:
    if standing.row.state not in ACTIVE:
        return list(standing.why)
    stopping = f"`engine stop {standing.row.number}` saves and stops it"
    return list(standing.why) or [Reason("is at work", stopping, remedy="stop")]


def _explain_work(row: QueueRow, progress: RunProgress) -> list[Reason]:
    told = []
    if row.attempt:
        steps = f"{progress.step} of {progress.num_steps} steps" if progress.num_steps else "no step yet"
        told.append(Reason(f"{steps} done, attempt {row.attempt}"))
    if row.retries_left:
        told.append(Reason(f"is tried again after a failure, {row.retries_left} more times"))
    return told

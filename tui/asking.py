"""Carries out what a person asks of runs and of the queue, as the command line does. Knows no Textual.

Opens the queue for one request and closes it again: several dashboards and shells may ask at once. It
never makes a queue: a copied folder without one has nothing to control.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine import control
from engine.control import Change
from engine.errors import EngineError, Problem, Where, printable
from engine.launching import launch
from engine.rundir import QUEUE_FILE
from engine.runqueue import WAITING, QueueRow, RunQueue
from engine.standing import in_order

Verb = Literal[
    "hold", "release", "stop", "stop after epoch", "kill", "cancel", "retry", "go on", "up", "down", "first", "last",
    "raise", "lower", "remove", "pause", "pause and put back", "unpause", "start", "unpause and start",
]  # fmt: skip

STARTING: tuple[Verb, ...] = ("start", "unpause and start")
_STARTS_NOTHING = ("hold", "stop", "stop after epoch", "kill", "cancel", "remove", "pause", "pause and put back")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.

    Attributes:
        verb: What shall be done. "go on": release those that are held, retry those that failed.
        runs: Ids of the runs to do it to; none for what concerns the whole queue.
    """

    verb: Verb
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request, in words: what was done, what was refused and why, and what to know.

    Attributes:
        done: A line for each run, or for the queue.
        refused: Likewise.
        notes: What to know besides.
        failure: Why nothing could be done, to be read at leisure.
    """

    done: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failure: tuple[str, ...] = ()


def carry_out(runs_dir: Path, request: Request) -> Outcome:
    """Do what is asked, and say what became of it; refusals and problems are words too."""
    if not (runs_dir / QUEUE_FILE).is_file():
        return Outcome(refused=(f"there is no queue in {printable(str(runs_dir))}, so there is nothing to control",))
    if request.verb == "start":
        return _start(runs_dir)
    told: list[str] = []
    try:
        with control.opened(runs_dir, told.append) as queue:
            changes = _act(queue, request)
    except EngineError as error:
        return Outcome(refused=tuple(_problem_words(problem) for problem in error.problems), notes=_safe(told))
    except OSError as error:
        return Outcome(refused=(printable(f"the runs folder can't be used: {error}"),), notes=_safe(told))
    done = tuple(printable(f"{change.run} {change.words}".strip()) for change in changes if change.problem is None)
    refused = tuple(_problem_words(change.problem) for change in changes if change.problem is not None)
    if done and request.verb not in _STARTS_NOTHING and not control.is_supervised(runs_dir):
        if request.verb in STARTING:
            return _start(runs_dir)
        told.append("nobody is at work on the queue; S starts it")
    return Outcome(done, refused, _safe(told))


def _start(runs_dir: Path) -> Outcome:
    """Have the queue worked on in the background; returns once somebody is at work."""
    try:
        process = launch(runs_dir)
    except EngineError as error:
        told = [part for problem in error.problems for part in (str(problem.where), problem.found, problem.fix)]
        return Outcome(failure=_safe(told))
    except OSError as error:
        return Outcome(failure=_safe([f"no process can be started: {error}"]))
    return Outcome(done=(f"at work in the background as process {process}; leave when you like",))


def _safe(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(printable(line) for line in lines)


def _problem_words(problem: Problem) -> str:
    return printable(f"{problem.where}: {problem.found}; {problem.fix}" if str(problem.where) else problem.found)


def _act(queue: RunQueue, request: Request) -> list[Change]:
    if request.verb in _OF_QUEUE:
        return _OF_QUEUE[request.verb](queue)
    by_run = {row.run: row for row in queue.rows()}
    gone = [Change(run, problem=_gone(run)) for run in request.runs if run not in by_run]
    rows = [by_run[run] for run in request.runs if run in by_run]
    return [*_OF_RUNS[request.verb](queue, rows), *gone] if rows else gone


def _gone(run: str) -> Problem:
    return Problem("Q103", Where(run), "the queue doesn't know this run", "nothing to do")


# --- the queue as a whole ---


def _pause(queue: RunQueue, *, put_back: bool) -> list[Change]:
    changes = control.pause(queue, put_back=put_back)
    return [Change("", "the queue is paused; what is at work goes on" if not changes else "the queue is paused"),
            *changes]  # fmt: skip


def _unpause(queue: RunQueue) -> list[Change]:
    queue.unpause()
    return [Change("", "the queue goes on")]


_OF_QUEUE: dict[Verb, Callable[[RunQueue], list[Change]]] = {
    "pause": lambda queue: _pause(queue, put_back=False),
    "pause and put back": lambda queue: _pause(queue, put_back=True),
    "unpause": _unpause,
    "unpause and start": _unpause,
}


# --- runs ---


def _go_on(queue: RunQueue, rows: Sequence[QueueRow]) -> list[Change]:
    over = [row for row in rows if row.state in ("failed", "cancelled")]
    rest = [row for row in rows if row not in over]
    return [*(control.retry(queue, over) if over else []), *(control.release(queue, rest) if rest else [])]


def _shift(queue: RunQueue, rows: Sequence[QueueRow], places: Literal[-1, 1]) -> list[Change]:
    """Move runs that wait one place up or down, all together."""
    waiting = [row.run for row in in_order(queue.rows_in(*WAITING)) if row.state == "queued"]
    moving = sorted((row for row in rows if row.run in waiting), key=lambda row: waiting.index(row.run))
    refused = [Change(row.run, problem=_without_turn(row)) for row in rows if row.run not in waiting]
    if not moving:
        return refused
    runs = {row.run for row in moving}
    at = [waiting.index(row.run) for row in moving]
    before = [run for run in waiting[: min(at)] if run not in runs] if places < 0 else []
    after = [run for run in waiting[max(at) + 1 :] if run not in runs] if places > 0 else []
    if before:
        return [*control.move(queue, moving, "before", queue.row(before[-1])), *refused]
    if after:
        return [*control.move(queue, moving, "after", queue.row(after[0])), *refused]
    return [*(Change(row.run, f"is {'first' if places < 0 else 'last'} already") for row in moving), *refused]


def _without_turn(row: QueueRow) -> Problem:
    fix = "release it first" if row.state == "held" else "nothing to do"
    return Problem("Q108", Where(row.run), f'the run is "{row.state}"; only a queued one has a turn', fix)


def _prefer(queue: RunQueue, rows: Sequence[QueueRow], more: int) -> list[Change]:
    return [change for row in rows for change in control.set_priority(queue, [row], row.priority + more)]


_OF_RUNS: dict[Verb, Callable[[RunQueue, list[QueueRow]], list[Change]]] = {
    "hold": control.hold,
    "release": control.release,
    "stop": control.stop,
    "stop after epoch": lambda queue, rows: control.stop(queue, rows, "stop after epoch"),
    "kill": lambda queue, rows: control.stop(queue, rows, "kill"),
    "cancel": control.cancel,
    "retry": control.retry,
    "go on": _go_on,
    "up": lambda queue, rows: _shift(queue, rows, -1),
    "down": lambda queue, rows: _shift(queue, rows, 1),
    "first": lambda queue, rows: control.move(queue, rows, "first"),
    "last": lambda queue, rows: control.move(queue, rows, "last"),
    "raise": lambda queue, rows: _prefer(queue, rows, 1),
    "lower": lambda queue, rows: _prefer(queue, rows, -1),
    "remove": control.remove,
}

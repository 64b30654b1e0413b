"""What a report tells of a run, gathered from its folder: nothing is drawn here, and nothing is written.

A folder may lack anything (a run that never started, one of an older version, a torn file); what is missing is
left out of the story.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from engine.advice import Advice, Curve, advise, read_curve
from engine.errors import EngineError
from engine.events import (
    CheckpointEvent,
    EpochEvent,
    Event,
    EventTail,
    MessageEvent,
    PreviewEvent,
    RecoveryEvent,
    RunStarted,
    StepEvent,
)
from engine.forecast import Forecast, read_forecast
from engine.progress import RunProgress, fold
from engine.queuereader import read_queue, settle_orphans, state_when_interrupted
from engine.queuerebuild import figures_progress
from engine.recipe.load import read_resolved
from engine.recipe.schema import Recipe
from engine.rundir import RunDir, run_number
from engine.runqueue import QueueRow
from engine.standing import what_to_do

# A problem in words, as `engine.errors.Problem` tells it.
_PROBLEM = re.compile(r"^(?P<found>.*) \(fix: (?P<fix>.*)\)$", re.DOTALL)
_LOG_TAIL_BYTES, _LOG_LINES = 16_000, 14


@dataclass(frozen=True, slots=True)
class Series:
    """A run's numbers step by step; x counts epochs, so that the end of the first one is 1."""

    epochs_at: Sequence[float] = ()
    losses: Sequence[float] = ()
    lrs: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class RunStory:
    """One run.

    Attributes:
        run_dir: Its folder.
        row: What the queue knows of it.
        progress: Where it stands.
        advice: What its loss curve says.
        series: Its steps.
        epochs: Its measured epochs.
        started: Its latest start; None before it.
        recipe: What was asked; None where that can't be read any more.
        recipe_text: The same to the letter.
        forecast: What its rehearsal foretold.
        recoveries: What it mended by itself.
        warnings: What a person should know besides.
        step_s: The usual seconds of a step.
        log_tail: The end of what its worker printed, for a run that failed.
        previews: Its latest drawn validation images, for runs without detections on file.
    """

    run_dir: RunDir
    row: QueueRow
    progress: RunProgress = field(default_factory=RunProgress)
    advice: Advice | None = None
    series: Series = field(default_factory=Series)
    epochs: Sequence[EpochEvent] = ()
    started: RunStarted | None = None
    recipe: Recipe | None = None
    recipe_text: str = ""
    forecast: Forecast | None = None
    recoveries: Sequence[RecoveryEvent] = ()
    warnings: Sequence[str] = ()
    step_s: float | None = None
    log_tail: str = ""
    previews: Sequence[Path] = field(default=())

    @property
    def run(self) -> str:
        """The run's id."""
        return self.row.run

    @property
    def best(self) -> EpochEvent | None:
        """The epoch whose weights are kept."""
        kept = [event for event in self.epochs if event.best]
        return kept[-1] if kept else None

    @property
    def reason(self) -> str:
        """Why it is as it is."""
        return self._told[0]

    @property
    def remedies(self) -> list[str]:
        """What to do about a failure: what its reason says, then how to go on; [] without one."""
        return [*self._told[1:], what_to_do(self.row)] if self.row.state == "failed" else []

    @property
    def _told(self) -> list[str]:
        """The reason, and the remedy that a problem's words hold."""
        match = _PROBLEM.match(self.row.reason)
        return [match["found"], match["fix"]] if match else [self.row.reason]


def read_story(run_dir: RunDir, row: QueueRow | None = None) -> RunStory:
    """Gather one run's story.

    Args:
        run_dir: The run.
        row: Its row in the queue; None for a folder without a queue.
    """
    events = _events(run_dir)
    row = row or _row_from_folder(run_dir, events)
    curve = read_curve(events)
    recipe = _recipe(run_dir)
    steps = [event for event in events if isinstance(event, StepEvent)]
    starts = [event for event in events if isinstance(event, RunStarted)]
    return RunStory(
        run_dir, row, _progress(row, events), advise(curve) if steps else None, _series(steps, starts),
        curve.epochs, starts[-1] if starts else None, recipe, _text(run_dir.recipe),
        read_forecast(run_dir.forecast), [event for event in events if isinstance(event, RecoveryEvent)],
        _warnings(events),
        median(event.step_s for event in steps) if steps else None,
        _log_tail(run_dir.worker_log) if row.state == "failed" else "", _previews(run_dir, events, curve),
    )


def read_stories(runs_dir: Path, runs: Sequence[str]) -> list[RunStory]:
    """The stories of runs of one folder, in the order in which they are named."""
    rows = settle_orphans(read_queue(runs_dir, timeout_s=2.0).rows, runs_dir)
    return [read_story(RunDir(runs_dir / run), rows.get(run)) for run in runs]


def last_night(rows: Sequence[QueueRow], gap_s: float = 6 * 3600.0) -> list[QueueRow]:
    """The runs of the latest stretch of work: going back from the newest, until nothing was at work for a while.

    Args:
        rows: Every run, by number.
        gap_s: Seconds without work that part two nights.
    """
    begun = [(row.started_at, row.ended_at or row.started_at, row) for row in rows if row.started_at is not None]
    begun.sort(key=lambda one: one[1], reverse=True)
    found: list[QueueRow] = []
    edge: float | None = None
    for start, end, row in begun:
        if edge is not None and end < edge - gap_s:
            break
        found.append(row)
        edge = start if edge is None else min(edge, start)
    return sorted(found, key=lambda row: row.number)


def _events(run_dir: RunDir) -> list[Event]:
    try:
        return EventTail(run_dir.events).read_all()
    except OSError:
        return []


def _row_from_folder(run_dir: RunDir, events: Sequence[Event]) -> QueueRow:
    attempt = max((event.attempt for event in events if isinstance(event, RunStarted)), default=0)
    state, reason, cause = state_when_interrupted(run_dir, attempt)
    return QueueRow(
        run_dir.run_id, run_number(run_dir.run_id) or 0, "", "", state, attempt, reason, cause,
        events[0].time if events else 0.0, events[0].time if events else None, events[-1].time if events else None,
    )


def _progress(row: QueueRow, events: Sequence[Event]) -> RunProgress:
    """Where a run stands; of one that is over its row tells it sooner than a million steps do."""
    return (figures_progress(row.figures) if row.figures else None) or fold(events)


def _recipe(run_dir: RunDir) -> Recipe | None:
    with contextlib.suppress(EngineError, OSError):
        return read_resolved(run_dir.resolved)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _series(steps: Sequence[StepEvent], starts: Sequence[RunStarted]) -> Series:
    per_epoch = starts[-1].num_steps / max(1, starts[-1].num_epochs) if starts and starts[-1].num_steps else 1.0
    known = [(event, event.loss) for event in steps if event.loss is not None]
    xs = [(event.step + 1) / per_epoch for event, _ in known]
    return Series(xs, [loss for _, loss in known], [event.lr for event, _ in known])


def _warnings(events: Sequence[Event]) -> list[str]:
    """What a person was warned of, each once."""
    told = (event.text for event in events if isinstance(event, MessageEvent) and event.level != "note")
    return list(dict.fromkeys(told))


def _log_tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-_LOG_LINES:])
    except OSError:
        return ""


def _previews(run_dir: RunDir, events: Sequence[Event], curve: Curve) -> list[Path]:
    """The previews of the best epoch, else of the latest one that has any."""
    drawn = {event.epoch: event for event in events if isinstance(event, PreviewEvent)}
    best = [event.epoch for event in curve.epochs if event.best]
    saved = [event.epoch for event in events if isinstance(event, CheckpointEvent) and event.kind == "best"]
    chosen = next((drawn[epoch] for epoch in (*best[-1:], *saved[-1:], *sorted(drawn)[-1:]) if epoch in drawn), None)
    paths = [run_dir.path / preview.path for preview in chosen.previews] if chosen else []
    return [path for path in paths if path.is_file()]

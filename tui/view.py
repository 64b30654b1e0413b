"""What the dashboard knows of a run: a frozen view, and the pure function that carries it on.

Knows no Textual and opens no files. `apply` folds one event; `apply_all` folds many and takes
stretches of steps at once, so that a log of a million steps is read in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np

from engine.events import (
    CheckpointEvent,
    EpochEvent,
    Event,
    MessageEvent,
    PhaseEvent,
    PreviewEvent,
    RecoveryEvent,
    RunEnded,
    RunStarted,
    StepEvent,
)
from engine.progress import RunProgress, advance, fold
from engine.runqueue import ACTIVE, QueueRow
from tui.pyramid import Floats
from tui.series import StepTable

JournalEvent = RunStarted | MessageEvent | RecoveryEvent | CheckpointEvent | RunEnded

_JOURNAL_LENGTH = 200
# Of a long stretch of steps only the last ones are folded into the progress: its running mean of
# seconds per step forgets older ones (0.95 ** 200 < 1e-4).
_STEPS_FOLDED = 200


@dataclass(frozen=True, slots=True)
class RunView:
    """One run, as far as its files were read."""

    run_id: str
    row: QueueRow | None = None
    """What the queue says; None when the queue is missing or doesn't know the run."""
    worker_alive: bool | None = None
    """Whether a process holds the worker's lock; None where that wasn't looked up."""
    trouble: str = ""
    """Why the run's folder can't be read; "" when it can."""
    progress: RunProgress = field(default_factory=RunProgress)
    phase: PhaseEvent | None = None
    started: RunStarted | None = None
    steps: StepTable = field(default_factory=StepTable)
    """Columns step, loss, lr, elapsed_s, step_s, data_s and one for each part of the loss."""
    epochs: tuple[EpochEvent, ...] = ()
    previews: tuple[PreviewEvent, ...] = ()
    journal: tuple[JournalEvent, ...] = ()
    """The latest starts, messages, checkpoints and ends."""
    journal_steps: tuple[int, ...] = ()
    """For each of them, how many steps were done by then."""

    @property
    def number(self) -> str:
        """The run's number as its folder writes it."""
        return self.run_id.partition("-")[0]

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.run_id.partition("-")[2] or self.run_id

    @property
    def state(self) -> str:
        """The queue's word, or what the run's own events say where there is none."""
        ended = self.progress.ended
        if self.row is not None and not self._ended_unrecorded:
            return self.row.state
        if ended is not None:
            return "queued" if ended.outcome == "stopped" else ended.outcome
        if self.worker_alive:
            return "running"
        return "queued" if self.started is None else "unknown"

    @property
    def _ended_unrecorded(self) -> bool:
        """Its worker ended with a last word that no supervisor lived to record."""
        ended = self.progress.ended
        if self.row is None or self.row.state not in ACTIVE or ended is None:
            return False
        return self.worker_alive is False and ended.attempt == self.row.attempt

    @property
    def is_active(self) -> bool:
        """Whether a worker should be busy with it now."""
        return self.state in ACTIVE

    @property
    def is_orphaned(self) -> bool:
        """Said to be running, was begun, but its worker is gone."""
        begun = self.started is not None and self.progress.ended is None and not self.is_starting
        return self.is_active and self.worker_alive is False and begun

    @property
    def is_starting(self) -> bool:
        """Claimed, but the worker of this attempt hasn't spoken yet."""
        if not self.is_active or self.progress.ended is not None:
            return False
        return self.started is None or (self.row is not None and self.started.attempt < self.row.attempt)

    @property
    def reason(self) -> str:
        """Why it failed or waits, in words; "" when there is nothing to say."""
        if self.row is not None and self.row.reason:
            return self.row.reason
        ended = self.progress.ended
        return ended.reason if ended is not None else ""

    @property
    def cause(self) -> str:
        """The recorded kind of failure; "" otherwise."""
        if self.row is not None and self.row.cause:
            return self.row.cause
        ended = self.progress.ended
        return ended.cause if ended is not None else ""

    @property
    def loss_parts(self) -> tuple[str, ...]:
        """Names of the parts of the loss, in the order in which they first came."""
        return tuple(name for name in self.steps.names if name not in _OWN_COLUMNS)

    def elapsed_s(self, now: float) -> float:
        """Seconds worked on it up to now."""
        return self.progress.elapsed_s + self._since_last_event(now)

    def eta_s(self, now: float) -> float | None:
        """Seconds that the rest should take; None when unknown or when nobody works on it."""
        eta = self.progress.eta_s
        if eta is None or not self.is_active:
            return None
        return max(0.0, eta - self._since_last_event(now))

    def _since_last_event(self, now: float) -> float:
        if not self.is_active or self.is_starting or self.worker_alive is False or self.progress.last_time is None:
            return 0.0
        return max(0.0, now - self.progress.last_time)


_OWN_COLUMNS = ("step", "loss", "lr", "elapsed_s", "step_s", "data_s")


def apply(view: RunView, event: Event) -> RunView:
    """The view after one more event; the input is untouched."""
    return apply_all(view, (event,))


def apply_all(view: RunView, events: Iterable[Event]) -> RunView:
    """The view after all of the events."""
    for is_steps, stretch in groupby(events, key=lambda event: isinstance(event, StepEvent)):
        if is_steps:
            view = _apply_steps(view, [event for event in stretch if isinstance(event, StepEvent)])
        else:
            for event in stretch:
                view = _apply_other(view, event)
    return view


def forget_events(view: RunView) -> RunView:
    """The view as before its first event: its log was replaced and is read again."""
    return RunView(view.run_id, view.row, view.worker_alive, view.trouble)


def _apply_steps(view: RunView, events: Sequence[StepEvent]) -> RunView:
    numbers = np.array([event.step for event in events], dtype=np.float32)
    if np.any(np.diff(numbers) <= 0):
        # Not in order: a damaged or foreign log. One at a time, the table drops what is repeated.
        for event in events:
            view = _append(view, [event])
    else:
        view = _append(view, events)
    return replace(view, progress=fold(events[-_STEPS_FOLDED:], view.progress), phase=None)


def _append(view: RunView, events: Sequence[StepEvent]) -> RunView:
    parts = dict.fromkeys(name for event in events for name in event.losses if name not in _OWN_COLUMNS)
    rows = {
        "step": _floats([event.step for event in events]),
        "loss": _floats([event.loss for event in events]),
        "lr": _floats([event.lr for event in events]),
        "elapsed_s": _floats([event.elapsed_s for event in events]),
        "step_s": _floats([event.step_s for event in events]),
        "data_s": _floats([event.data_s for event in events]),
    }
    rows |= {name: _floats([event.losses.get(name) for event in events]) for name in parts}
    return replace(view, steps=view.steps.extended(rows))


def _floats(values: Sequence[float | None]) -> Floats:
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite and isn't drawn
        return np.array(values, dtype=np.float64).astype(np.float32)


def _apply_other(view: RunView, event: Event) -> RunView:
    view = replace(view, progress=advance(view.progress, event))
    match event:
        case RunStarted():
            return _begin(view, event)
        case PhaseEvent():
            return replace(view, phase=event)
        case EpochEvent():
            kept = tuple(epoch for epoch in view.epochs if epoch.epoch < event.epoch)
            return replace(view, epochs=(*kept, event))
        case PreviewEvent():
            kept_previews = tuple(preview for preview in view.previews if preview.epoch < event.epoch)
            return replace(view, previews=(*kept_previews, event))
        case RunEnded():
            return replace(_note(view, event), phase=None)
        case MessageEvent() | RecoveryEvent() | CheckpointEvent():
            return _note(view, event)
    return view


def _begin(view: RunView, event: RunStarted) -> RunView:
    """A worker takes the run up; what lies at or after its first step will come again."""
    kept = tuple(epoch for epoch in view.epochs if epoch.step < event.first_step)
    return replace(
        _note(view, event), started=event, phase=None, steps=view.steps.before(event.first_step), epochs=kept
    )


def _note(view: RunView, event: JournalEvent) -> RunView:
    return replace(
        view, journal=(*view.journal[1 - _JOURNAL_LENGTH :], event),
        journal_steps=(*view.journal_steps[1 - _JOURNAL_LENGTH :], view.progress.step),
    )

"""What the dashboard knows of a run: a frozen view, and the pure function that carries it on.

Knows no Textual and opens no files. `apply` folds one event; `apply_all` folds many and takes
stretches of steps at once, so that a log of a million steps is read in a second or two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from msgspec.structs import replace as replace_fields

from engine.errors import plain
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
)
from engine.progress import RunProgress, advance, advance_steps
from engine.runqueue import ACTIVE, QueueRow, after_request
from tui.eventreading import OWN_COLUMNS, OtherEvent, Steps, Told, gathered
from tui.series import StepTable

JournalEvent = RunStarted | MessageEvent | RecoveryEvent | CheckpointEvent | RunEnded

_JOURNAL_LENGTH = 200
_OUTLINE_JOURNAL = 20


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
    is_whole: bool = True
    """Whether all was read; else `steps` are a sample from all over the run, and of the epochs and
    previews there are as many as a list of runs needs. Only runs that are looked at are read whole."""
    num_unknown: int = 0
    """Lines of its events that say nothing known here: damaged, or of another version of engine."""

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
        if ended is not None and ended.outcome == "stopped":
            return after_request(self.row.asked if self.row is not None else "", "queued", "")[0]
        if ended is not None:
            return ended.outcome
        if self.worker_alive:
            return "running"
        return "queued" if self.started is None else "unknown"

    @property
    def _ended_unrecorded(self) -> bool:
        """Its worker ended with a last word that no supervisor has recorded: yet, or none lived to do so."""
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
    def is_worked_on(self) -> bool:
        """Somebody is at work on it."""
        return self.is_active and not self.is_orphaned

    @property
    def is_waiting(self) -> bool:
        """It is taken up once somebody works on the queue."""
        return self.state == "queued" or self.is_orphaned

    @property
    def is_starting(self) -> bool:
        """Claimed, but the worker of this attempt hasn't spoken yet."""
        if not self.is_active or self.progress.ended is not None:
            return False
        return self.started is None or (self.row is not None and self.started.attempt < self.row.attempt)

    @property
    def has_answered(self) -> bool:
        """It did what it was asked to, and the queue doesn't say so yet."""
        return self.row is not None and bool(self.row.asked) and not self.is_active

    @property
    def reason(self) -> str:
        """Why it failed or waits, in words; "" when there is nothing to say."""
        if self.row is not None and self.row.reason:
            return plain(self.row.reason)
        ended = self.progress.ended
        return plain(ended.reason) if ended is not None else ""

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
        return tuple(name for name in self.steps.names if name not in OWN_COLUMNS)

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


def apply(view: RunView, event: Event) -> RunView:
    """The view after one more event; the input is untouched."""
    return apply_all(view, (event,))


def apply_all(view: RunView, events: Iterable[Event]) -> RunView:
    """The view after all of the events."""
    return apply_told(view, gathered(events))


def apply_told(view: RunView, told: Iterable[Told]) -> RunView:
    """The view after all that was read."""
    for item in told:
        view = _apply_steps(view, item) if isinstance(item, Steps) else _apply_other(view, item)
    return view


def outlined(view: RunView) -> RunView:
    """The view without what only the panels of the chosen run show; a thousand of them fit into the memory."""
    slim = tuple(
        replace_fields(epoch, ap_per_class={}, val_losses={}) if epoch.ap_per_class or epoch.val_losses else epoch
        for epoch in view.epochs
    )
    return replace(
        view, steps=StepTable(), epochs=slim, previews=view.previews[-1:], journal=view.journal[-_OUTLINE_JOURNAL:],
        journal_steps=view.journal_steps[-_OUTLINE_JOURNAL:], is_whole=False,
    )


def forget_events(view: RunView) -> RunView:
    """The view as before its first event: its log was replaced and is read again."""
    return RunView(view.run_id, view.row, view.worker_alive, view.trouble, is_whole=view.is_whole)


def _apply_steps(view: RunView, steps: Steps) -> RunView:
    table = view.steps
    if steps.columns:
        numbers = steps.columns["step"]
        columns = steps.columns
        if np.any(np.diff(numbers) <= 0):
            # Not in order: a damaged or foreign log. As in a resumed run, a step takes the place of all above it.
            lowest_after = np.minimum.accumulate(numbers[::-1])[::-1][1:]
            kept = np.append(numbers[:-1] < lowest_after, True)
            columns = {name: values[kept] for name, values in columns.items()}
        table = table.extended(columns)
    progress = advance_steps(view.progress, steps.step_s, steps.last)
    return replace(view, steps=table, progress=progress, phase=None)


def _apply_other(view: RunView, event: OtherEvent) -> RunView:
    view = replace(view, progress=advance(view.progress, event))
    match event:
        case RunStarted():
            return _begin(view, event)
        case PhaseEvent():
            return replace(view, phase=event)
        case EpochEvent():
            kept = view.epochs
            if kept and kept[-1].epoch >= event.epoch:
                kept = tuple(epoch for epoch in kept if epoch.epoch < event.epoch)
            return replace(view, epochs=(*kept, event))
        case PreviewEvent():
            kept_previews = tuple(preview for preview in view.previews if preview.epoch < event.epoch)
            return replace(view, previews=(*kept_previews, event))
        case RunEnded():
            return replace(_note(view, event), phase=None)
        case MessageEvent() | RecoveryEvent() | CheckpointEvent():
            return _note(view, event)


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

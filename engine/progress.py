"""Where a run stands, folded from its events: what `engine status` and the live table show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from engine.events import EpochEvent, Event, MessageEvent, PhaseEvent, RecoveryEvent, RunEnded, RunStarted, StepEvent

# Share of the old value in the running mean of seconds per step; about the last 20 steps count.
_STEP_TIME_MEMORY = 0.95


@dataclass(frozen=True, slots=True)
class RunProgress:
    """A run at a glance; counts are one-based for people, None where nothing is known yet."""

    phase: str = ""
    epoch: int = 0
    """Epochs begun."""
    num_epochs: int | None = None
    step: int = 0
    """Steps done."""
    num_steps: int | None = None
    loss: float | None = None
    lr: float | None = None
    step_s: float | None = None
    """Running mean of seconds per step."""
    evaluate_s: float = 0.0
    """Seconds of the latest evaluation."""
    epochs_measured: int = 0
    val_loss: float | None = None
    ap: float | None = None
    ap50: float | None = None
    best_ap: float | None = None
    best_ap50: float | None = None
    best_epoch: int | None = None
    """One-based epoch whose weights are kept as the best."""
    elapsed_s: float = 0.0
    last_time: float | None = None
    """When the latest event happened, seconds since 1970."""
    ended: RunEnded | None = None
    message: str = ""

    @property
    def fraction(self) -> float:
        """Share of the steps done, in [0, 1]."""
        return min(1.0, self.step / self.num_steps) if self.num_steps else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds that the rest should take, from the latest speed; None before the first step."""
        if self.num_steps is None or self.step_s is None or self.ended or self.num_epochs is None:
            return None
        evaluations = max(0, self.num_epochs - self.epochs_measured)
        return max(0, self.num_steps - self.step) * self.step_s + evaluations * self.evaluate_s


def advance(progress: RunProgress, event: Event) -> RunProgress:
    """The progress after one more event; the input is untouched."""
    progress = replace(progress, last_time=event.time)
    match event:
        case RunStarted():
            return replace(
                progress, num_epochs=event.num_epochs, num_steps=event.num_steps, step=event.first_step,
                ended=None, message="",
            )
        case PhaseEvent():
            return replace(progress, phase=event.phase)
        case StepEvent():
            old = progress.step_s if progress.step_s is not None else event.step_s
            mean = _STEP_TIME_MEMORY * old + (1 - _STEP_TIME_MEMORY) * event.step_s
            return replace(
                progress, epoch=event.epoch + 1, step=event.step + 1, loss=event.loss, lr=event.lr,
                step_s=mean, elapsed_s=event.elapsed_s, phase="training",
            )
        case EpochEvent():
            return replace(
                progress, val_loss=event.val_loss, ap=event.ap, ap50=event.ap50,
                best_ap=event.ap if event.best else progress.best_ap,
                best_ap50=event.ap50 if event.best else progress.best_ap50,
                best_epoch=event.epoch + 1 if event.best else progress.best_epoch,
                elapsed_s=event.elapsed_s, evaluate_s=event.evaluate_s, epochs_measured=event.epoch + 1,
            )
        case MessageEvent() | RecoveryEvent():
            return replace(progress, message=event.text)
        case RunEnded():
            return replace(
                progress, ended=event, phase="", elapsed_s=max(progress.elapsed_s, event.elapsed_s)
            )
    return progress


def advance_steps(progress: RunProgress, step_s: Sequence[float], last: StepEvent) -> RunProgress:
    """The progress after a stretch of steps.

    Args:
        progress: Before the stretch; untouched.
        step_s: Seconds of its latest steps, the last one included; those before are forgotten anyway.
        last: Its last step.
    """
    mean = progress.step_s
    for seconds in step_s[:-1]:
        mean = seconds if mean is None else _STEP_TIME_MEMORY * mean + (1 - _STEP_TIME_MEMORY) * seconds
    return advance(replace(progress, step_s=mean), last)


def fold(events: Iterable[Event], start: RunProgress | None = None) -> RunProgress:
    """The progress after all of the events."""
    progress = start or RunProgress()
    for event in events:
        progress = advance(progress, event)
    return progress

"""What a run's loss curve says about it, and what to change: flat, jumping, rising, overfitting and the like.

Pure but for `read_advice`. The training loss is judged by means over stretches of steps, since single steps are noisy
whatever the learning rate; the validation loss and AP by epochs. The thresholds were set on synthetic curves and looked
at on real ones of small datasets; they are meant to speak seldom rather than wrongly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median
from typing import Literal

from engine.events import EpochEvent, Event, EventTail, RecoveryEvent, RunStarted, StepEvent
from engine.rundir import RunDir

Shape = Literal["too short", "fine", "flat", "jumping", "rising", "overfitting", "not yet converged"]

_MOST_STRETCHES = 20
# Shorter stretches are noise, fewer of them no curve.
_LEAST_STRETCH_STEPS, _LEAST_STRETCHES = 5, 4
# A loss that falls by less than this share, all told, stays flat.
_FLAT_FALL = 0.05
# Beyond this AP50 a flat loss is that of a model which had learnt already.
_LEARNT_AP50 = 0.3
# A rise must be of this share, and of so many times what neighbouring stretches differ by.
_RISE, _RISE_NOISES = 1.2, 4.0
# Neighbouring stretches that differ by this share of the loss, up and down again, jump.
_WOBBLE = 0.15
# Steps so many times above their stretch's median are spikes.
_SPIKE, _SPIKE_SHARE = 4.0, 0.02
_OVERFIT_RISE, _OVERFIT_FALL = 1.05, 0.97
_STILL_FALLING, _FALL_NOISES, _STILL_RISING_AP = 0.06, 2.0, 0.02


@dataclass(frozen=True, slots=True)
class Curve:
    """A run's series, as far as its shape goes.

    Attributes:
        step_losses: Training loss of each step that has one.
        epochs: The measured epochs.
        num_epochs: Epochs asked for; 0 where unknown.
        num_spoilt: Steps that were discarded because their loss was none.
        num_rollbacks: How often the run went back to a checkpoint.
    """

    step_losses: Sequence[float] = ()
    epochs: Sequence[EpochEvent] = field(default=())
    num_epochs: int = 0
    num_spoilt: int = 0
    num_rollbacks: int = 0


@dataclass(frozen=True, slots=True)
class Advice:
    """A curve's shape in words.

    Attributes:
        shape: What it is.
        words: What is to be seen, with figures.
        fix: What to do about it; "" for nothing.
    """

    shape: Shape
    words: str
    fix: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing need be done."""
        return self.shape in ("fine", "too short")


def read_curve(events: Iterable[Event]) -> Curve:
    """The series in a run's events."""
    losses: list[float] = []
    epochs: list[EpochEvent] = []
    num_epochs = num_spoilt = num_rollbacks = 0
    for event in events:
        match event:
            case StepEvent(loss=float(loss)):
                losses.append(loss)
            case EpochEvent():
                epochs.append(event)
            case RunStarted():
                num_epochs = event.num_epochs
            case RecoveryEvent(kind="discarded step"):
                num_spoilt += 1
            case RecoveryEvent(kind="rolled back"):
                num_rollbacks += 1
            case _:
                pass
    return Curve(losses, epochs, num_epochs, num_spoilt, num_rollbacks)


def advise(curve: Curve) -> Advice:
    """What a curve's shape says; the gravest thing where it says several."""
    stretches = _stretches(curve.step_losses)
    if len(stretches) < _LEAST_STRETCHES:
        return Advice("too short", "too few steps yet to tell a curve's shape")
    for judge in (_rising, _jumping, _flat, _overfitting, _unfinished):
        advice = judge(curve, stretches)
        if advice is not None:
            return advice
    shape = "so far" if _is_cut_short(curve) and _still_learns(curve, stretches) else "that plateaus"
    return Advice("fine", f"a smooth downward curve {shape}: {_from_to(stretches)}{_best(curve)}")


def read_advice(run_dir: RunDir) -> Advice | None:
    """What the loss curve of a run says; None where its events can't be read, or there is no step yet."""
    try:
        curve = read_curve(EventTail(run_dir.events).read_all())
    except OSError:
        return None
    return advise(curve) if curve.step_losses else None


def _stretches(losses: Sequence[float]) -> list[float]:
    """Mean losses of equal stretches, extremes left out; [] for too few steps."""
    count = min(_MOST_STRETCHES, len(losses) // _LEAST_STRETCH_STEPS)
    bounds = [round(index * len(losses) / count) for index in range(count + 1)] if count else []
    return [_calm_mean(losses[start:end]) for start, end in pairwise(bounds)]


def _calm_mean(values: Sequence[float]) -> float:
    """A mean without the highest and lowest tenth, so that one spoilt batch is no shape."""
    ordered = sorted(values)
    cut = max(1, len(ordered) // 10) if len(ordered) >= 5 else 0
    return fmean(ordered[cut : len(ordered) - cut])


def _rising(curve: Curve, stretches: Sequence[float]) -> Advice | None:
    smooth = [fmean(stretches[index : index + 3]) for index in range(len(stretches) - 2)]
    least, end = min(smooth), smooth[-1]
    if end <= _RISE * least or end - least <= _RISE_NOISES * _noise(stretches):
        return None
    since = smooth.index(least) / len(stretches)
    epoch = f" since epoch {1 + int(since * len(curve.epochs))}" if curve.epochs and since > 0 else ""
    words = f"the loss increases{epoch}: {stretches[0]:.3g} at first, {least:.3g} at its lowest, {end:.3g} at the end"
    return Advice(
        "rising", words,
        "a data problem or a learning rate that is too high: `engine check` the recipe, look at `engine preview-data`, "
        "and try optimizer.lr at a tenth",
    )


def _jumping(curve: Curve, stretches: Sequence[float]) -> Advice | None:
    wobble = _noise(stretches) / max(median(stretches), 1e-9)
    spikes = _spikes(curve.step_losses)
    seen = []
    if wobble > _WOBBLE:
        seen.append(f"by {wobble:.0%} from one stretch to the next")
    if spikes > _SPIKE_SHARE:
        seen.append(f"{spikes:.0%} of the steps above {_SPIKE:g} times their neighbours")
    if curve.num_rollbacks:
        seen.append(f"the run went back to a checkpoint {_times(curve.num_rollbacks)}")
    if curve.num_spoilt > max(3, 0.01 * len(curve.step_losses)):
        seen.append(f"{curve.num_spoilt} steps whose loss was no number or huge")
    if not seen:
        return None
    return Advice(
        "jumping", f"the loss jumps around wildly ({'; '.join(seen)})",
        "the learning rate is too high: lower optimizer.lr to a third or a tenth, or add "
        "schedule.warmup_epochs = 1 and training.clip_grad_norm = 10",
    )


def _noise(stretches: Sequence[float]) -> float:
    """How far a stretch usually lies from the middle between its neighbours, the first steep ones left out."""
    middles = zip(stretches, stretches[1:], stretches[2:], strict=False)
    apart = [abs(here - (before + after) / 2) for before, here, after in middles]
    return median(apart[len(apart) // 4 :])


def _spikes(losses: Sequence[float]) -> float:
    """Share of the steps far above the median of those around them."""
    reach = 10
    high = 0
    for start in range(0, len(losses), reach):
        around = losses[max(0, start - reach) : start + 2 * reach]
        limit = _SPIKE * median(around)
        high += sum(loss > limit for loss in losses[start : start + reach])
    return high / len(losses)


def _flat(curve: Curve, stretches: Sequence[float]) -> Advice | None:
    fall = 1 - _end(stretches) / max(stretches[0], 1e-9)
    if fall >= _FLAT_FALL or (_best_ap50(curve) or 0.0) >= _LEARNT_AP50:
        return None
    return Advice(
        "flat", f"the loss stays flat: {_from_to(stretches)}",
        "the learning rate is too low, or too little may learn: try optimizer.lr at three to ten times, and look at "
        "model.trainable_layers and training.freeze_epochs",
    )


def _overfitting(curve: Curve, stretches: Sequence[float]) -> Advice | None:  # noqa: ARG001 - one face for all judges
    known = [one for one in curve.epochs if one.val_loss is not None and one.train_loss is not None]
    if len(known) < 4:
        return None
    val = [one.val_loss or 0.0 for one in known]
    best = min(range(len(val)), key=val.__getitem__)
    late = known[-max(2, len(known) // 5) :]
    rises = fmean(one.val_loss or 0.0 for one in late) > _OVERFIT_RISE * val[best]
    falls = (known[-1].train_loss or 0.0) < _OVERFIT_FALL * (known[best].train_loss or 0.0)
    # Scores that grow surer raise the loss while AP still rises: no harm is done then.
    aps = [one.ap or 0.0 for one in known]
    gains = max(aps) > 0 and max(aps[-len(late) :]) >= max(aps) - 1e-9
    if best >= len(known) - 2 or not rises or not falls or gains:
        return None
    return Advice(
        "overfitting",
        f"it learns the training photos by heart: the validation loss is lowest at epoch {known[best].epoch + 1} "
        f"({val[best]:.3g}) and {val[-1]:.3g} at the end, while the training loss goes on falling",
        "the best model is kept all the same; more photos, stronger [augmentation] or [early_stopping] would help, "
        "more epochs won't",
    )


def _unfinished(curve: Curve, stretches: Sequence[float]) -> Advice | None:
    seen = "" if _is_cut_short(curve) else _still_learns(curve, stretches)
    if not seen:
        return None
    return Advice(
        "not yet converged", f"not yet converged: {seen}{_best(curve)}",
        f"train longer: training.epochs = {2 * max(curve.num_epochs, len(curve.epochs), 1)}",
    )


def _is_cut_short(curve: Curve) -> bool:
    """Whether epochs are left: stopped early on purpose, failed, or still at work."""
    return 0 < len(curve.epochs) < curve.num_epochs


def _still_learns(curve: Curve, stretches: Sequence[float]) -> str:
    """How it still gets better at the end, in words; "" where it doesn't."""
    gain = _late_gain(curve.epochs)
    if gain is not None:
        words = f"AP rose by {gain:.3f} over the last quarter of the epochs"
        return words if gain >= _STILL_RISING_AP else ""
    before, late = fmean(stretches[-6:-3] or stretches[:1]), fmean(stretches[-3:])
    fall = before - late
    falls = fall > _STILL_FALLING * before and fall > _FALL_NOISES * _noise(stretches)
    return f"the loss still falls, from {before:.3g} to {late:.3g} of late" if falls else ""


def _late_gain(epochs: Sequence[EpochEvent]) -> float | None:
    """How much the best AP of the last quarter of the epochs is above that of all before; None where unmeasured."""
    aps = [one.ap for one in epochs if one.ap is not None]
    cut = len(aps) - max(1, math.ceil(len(aps) / 4))
    return max(aps[cut:]) - max(aps[:cut]) if cut > 0 else None


def _end(stretches: Sequence[float]) -> float:
    return fmean(stretches[-2:])


def _from_to(stretches: Sequence[float]) -> str:
    return f"{stretches[0]:.3g} at first, {_end(stretches):.3g} at the end"


def _best_ap50(curve: Curve) -> float | None:
    return max((one.ap50 for one in curve.epochs if one.ap50 is not None), default=None)


def _best(curve: Curve) -> str:
    kept = [one for one in curve.epochs if one.best]
    return f"; best at epoch {kept[-1].epoch + 1} of {curve.num_epochs or len(curve.epochs)}" if kept else ""


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")

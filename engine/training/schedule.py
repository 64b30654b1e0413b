"""The learning rate as a pure function of the step, so that no resume can reset it.

What a step can't know, how often reduce-on-plateau has dropped, is a frozen memory for the checkpoint.
The curves are those of torch.optim.lr_scheduler; the tests compare them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from engine.recipe.schema import Metric, Recipe, Schedule
from engine.training.best import best_metric, improves

# Where warm-up starts, as a share of the full rate; torchvision's reference training uses the same.
_WARMUP_START = 0.001
# Where one-cycle starts, as a share of its peak; torch's and fastai's default.
_ONECYCLE_START = 1 / 25


def lr_factor(step: int, *, steps_per_epoch: int, num_steps: int, schedule: Schedule, drops: int = 0) -> float:
    """What the recipe's learning rate is multiplied by at a step.

    Args:
        step: Zero-based optimizer step.
        steps_per_epoch: Optimizer steps in an epoch.
        num_steps: Optimizer steps in the whole run.
        schedule: The recipe's `[schedule]`.
        drops: How often the plateau schedule has dropped so far; `Plateau.drops`.

    Returns:
        A factor in [0, 1].
    """
    factor = _decay(step, steps_per_epoch, num_steps, schedule, drops)
    warmup = schedule.warmup_steps or schedule.warmup_epochs * steps_per_epoch
    if step < warmup:
        factor *= _between(_WARMUP_START, 1, step / warmup)
    return factor


def _decay(step: int, steps_per_epoch: int, num_steps: int, schedule: Schedule, drops: int) -> float:
    """The factor without warm-up."""
    epoch, share = step // steps_per_epoch, min(1.0, step / num_steps)
    match schedule.kind:
        case "step":
            return float(schedule.gamma ** (epoch // schedule.step_size))
        case "multistep":
            return float(schedule.gamma ** bisect_right(schedule.milestones, epoch))
        case "plateau":
            return float(schedule.gamma**drops)
        case "cosine":
            return _cosine(1, schedule.final_factor, share)
        case "linear":
            return _between(1, schedule.final_factor, share)
        case "polynomial":
            return _between(1, schedule.final_factor, 1 - (1 - share) ** schedule.power)
        case "onecycle":
            return _onecycle(step, num_steps, schedule)
        case "constant":
            return 1.0


def _onecycle(step: int, num_steps: int, schedule: Schedule) -> float:
    last = num_steps - 1
    # A run too short to rise starts at the peak.
    step, peak = min(step, last), max(0.0, schedule.peak_at * num_steps - 1)
    if step <= peak:
        return _cosine(_ONECYCLE_START, 1, step / peak if peak else 1.0)
    return _cosine(1, schedule.final_factor, (step - peak) / (last - peak))


def _between(start: float, end: float, share: float) -> float:
    """Straight from start to end; share in [0, 1]."""
    return start + (end - start) * share


def _cosine(start: float, end: float, share: float) -> float:
    """Along half a cosine wave from start to end; share in [0, 1]."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


# --- reduce on plateau ---


@dataclass(frozen=True, slots=True)
class Plateau:
    """The memory behind the plateau schedule.

    Attributes:
        best: Best value so far of the metric that decides; None before anything was measured.
        epochs_without: Epochs without a better value since then, or since the last drop.
        drops: How often the learning rate has dropped.
    """

    best: float | None = None
    epochs_without: int = 0
    drops: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint; `Plateau(**values)` reads them back."""
        return asdict(self)


def update_plateau(plateau: Plateau, recipe: Recipe, values: Mapping[Metric, float | None]) -> Plateau:
    """The memory after an epoch; unchanged under every other schedule.

    The metric is the one that decides which weights are kept. An epoch in which it couldn't be
    measured is one without improvement. Where torch's ReduceLROnPlateau waits `patience` epochs and
    drops after one more, this drops after `patience` epochs, as early stopping counts.

    Args:
        plateau: Before the epoch.
        recipe: Whose metric and patience decide.
        values: What was measured.
    """
    if recipe.schedule.kind != "plateau":
        return plateau
    metric = best_metric(recipe)
    if improves(metric, values[metric], plateau.best):
        return replace(plateau, best=values[metric], epochs_without=0)
    if plateau.epochs_without + 1 < recipe.schedule.patience:
        return replace(plateau, epochs_without=plateau.epochs_without + 1)
    return replace(plateau, epochs_without=0, drops=plateau.drops + 1)

"""The learning rate as a pure function of the step, so that no resume can reset it."""

from __future__ import annotations

import math

from engine.recipe.schema import Schedule

# Where warm-up starts, as a share of the full rate; torchvision's reference training uses the same.
_WARMUP_START = 0.001


def lr_factor(step: int, *, steps_per_epoch: int, num_steps: int, schedule: Schedule) -> float:
    """What the recipe's learning rate is multiplied by at a step.

    Args:
        step: Zero-based optimizer step.
        steps_per_epoch: Optimizer steps in an epoch.
        num_steps: Optimizer steps in the whole run.
        schedule: The recipe's `[schedule]`.

    Returns:
        A factor in [0, 1].
    """
    factor = _decay(step, steps_per_epoch, num_steps, schedule)
    if step < schedule.warmup_steps:
        factor *= _WARMUP_START + (1 - _WARMUP_START) * step / schedule.warmup_steps
    return factor


def _decay(step: int, steps_per_epoch: int, num_steps: int, schedule: Schedule) -> float:
    if schedule.kind == "step":
        return float(schedule.gamma ** (step // steps_per_epoch // schedule.step_size))
    if schedule.kind == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / num_steps))
    return 1.0

"""From a loss to changed weights, in every number format.

With fp16, small gradients would vanish, so the loss is scaled up before the backward pass and the
gradients down again before they are clipped. A scale that was too large shows as infinite gradients;
it is lowered and the step left out, which is no divergence. The order matters and is kept here:

    backward(loss, scaler)                                   # each micro-batch
    update = update_weights(optimizer, scaler, max_norm)     # then once: unscale, norm, judge, clip, step
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.nn.utils import clip_grad_norm_, get_total_norm

from engine.recipe.schema import Precision

# "taken": the weights changed. "overflow": fp16's scale was too large and is lowered; the next step will do.
# "diverged": the gradients themselves are infinite or not numbers. Only the first touches a weight.
Verdict = Literal["taken", "overflow", "diverged"]

# With a scale at or below this, gradients are no larger than without one: it isn't the scale that makes them infinite.
_LEAST_SCALE = 1.0


@dataclass(frozen=True, slots=True)
class Update:
    """How an optimizer step went.

    Attributes:
        gradient_norm: Total norm of the unscaled gradients before clipping; may be infinite or not a number.
        verdict: Whether the weights changed, and why not.
    """

    gradient_norm: float
    verdict: Verdict


def make_scaler(precision: Precision, device: torch.device) -> GradScaler:
    """The scaler of the loss: at work for "fp16", and one that does nothing for the other formats.

    Its `state_dict` belongs in the checkpoint; it is empty where the scaler does nothing.
    """
    return GradScaler(device.type, enabled=precision == "fp16")


def backward(loss: Tensor, scaler: GradScaler) -> None:
    """Add a loss's gradients, scaled, to those there are.

    Args:
        loss: 0-d, with a graph. Under accumulation already this micro-batch's share.
        scaler: Of `make_scaler`.
    """
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped


def update_weights(optimizer: torch.optim.Optimizer, scaler: GradScaler, max_norm: float | None = None) -> Update:
    """Take an optimizer step with the gradients of the backward passes before, if they are sound.

    Weights and optimizer state are untouched unless the verdict is "taken". The gradients are spent:
    set them to None before the next backward pass, whatever the verdict.

    Args:
        optimizer: Whose parameters have gradients.
        scaler: The one that scaled the losses.
        max_norm: Longer gradients are scaled down to this norm; None leaves them.

    Raises:
        RuntimeError: Memory ran out; some weights may be changed and others not. The scaler is ready for a next step.
    """
    try:
        return _judged_update(optimizer, scaler, max_norm)
    except BaseException:
        if scaler.is_enabled():
            scaler.update(scaler.get_scale())  # unchanged, and ready for a next step
        raise


def _norm(parameters: Sequence[Tensor]) -> float:
    return get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None]).item()


def _judged_update(optimizer: torch.optim.Optimizer, scaler: GradScaler, max_norm: float | None) -> Update:
    scaler.unscale_(optimizer)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = _norm(parameters) if max_norm is None else clip_grad_norm_(parameters, max_norm).item()
    if math.isfinite(norm):
        scaler.step(optimizer)
        scaler.update()
        return Update(norm, "taken")
    before = scaler.get_scale()
    scaler.update()  # lowers the scale where it found infinite gradients
    lowered = scaler.get_scale() < before
    return Update(norm, "overflow" if lowered and before > _LEAST_SCALE else "diverged")

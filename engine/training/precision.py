"""From a loss to changed weights, in every number format.

With fp16, small gradients would vanish, so the loss is scaled up before the backward pass and the
gradients down again before they are clipped. A scale that was too large shows as infinite gradients;
it is lowered and the step left out, which is no divergence. The order matters and is kept here:

    backward(loss, scaler)                                   # each micro-batch
    norm = ready_gradients(optimizer, scaler, max_norm)      # then once: unscale, norm, clip
    verdict = apply_gradients(optimizer, scaler, norm)       # judge, step; or `forget_gradients`

The norm stays on the device until the caller reads it, along with whatever else it waits for: on a GPU each
number that is read back by itself has the host wait for everything before it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
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


def ready_gradients(optimizer: torch.optim.Optimizer, scaler: GradScaler, max_norm: float | None = None) -> Tensor:
    """Unscale the gradients of the backward passes before, and clip them; nothing is read back, no weight changes.

    Follow it with `apply_gradients` or `forget_gradients`.

    Args:
        optimizer: Whose parameters have gradients.
        scaler: The one that scaled the losses.
        max_norm: Longer gradients are scaled down to this norm; None leaves them.

    Returns:
        0-d, the total norm before clipping; may be infinite or not a number.

    Raises:
        RuntimeError: Memory ran out. The scaler is ready for a next step.
    """
    with _ready_again(scaler):
        scaler.unscale_(optimizer)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if max_norm is not None:
            return clip_grad_norm_(parameters, max_norm)
        return get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])


def apply_gradients(optimizer: torch.optim.Optimizer, scaler: GradScaler, norm: float) -> Verdict:
    """Take an optimizer step with the gradients made ready, if they are sound.

    Weights and optimizer state are untouched unless the verdict is "taken". The gradients are spent:
    set them to None before the next backward pass, whatever the verdict.

    Args:
        optimizer: Whose gradients `ready_gradients` made ready.
        scaler: The one that scaled the losses.
        norm: What `ready_gradients` gave.

    Raises:
        RuntimeError: Memory ran out; some weights may be changed and others not. The scaler is ready for a next step.
    """
    with _ready_again(scaler):
        if math.isfinite(norm):
            scaler.step(optimizer)
            scaler.update()
            return "taken"
        before = scaler.get_scale()
        scaler.update()  # lowers the scale where it found infinite gradients
        lowered = scaler.get_scale() < before
        return "overflow" if lowered and before > _LEAST_SCALE else "diverged"


def forget_gradients(scaler: GradScaler) -> None:
    """Leave out a step whose gradients were made ready; the scale stays as it is."""
    if scaler.is_enabled():
        scaler.update(scaler.get_scale())


def update_weights(optimizer: torch.optim.Optimizer, scaler: GradScaler, max_norm: float | None = None) -> Update:
    """Make the gradients ready and apply them, for whoever has nothing else to read back; see there.

    Raises:
        RuntimeError: Memory ran out; some weights may be changed and others not. The scaler is ready for a next step.
    """
    norm = ready_gradients(optimizer, scaler, max_norm).item()
    return Update(norm, apply_gradients(optimizer, scaler, norm))


@contextlib.contextmanager
def _ready_again(scaler: GradScaler) -> Iterator[None]:
    """Have a scaler begin a next step as if this one hadn't been, where it fails."""
    try:
        yield
    except BaseException:
        forget_gradients(scaler)
        raise

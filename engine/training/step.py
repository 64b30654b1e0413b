"""One optimizer step, whole: micro-batches added up, and nothing changed unless everything is finite.

A batch that doesn't fit into memory is tried again in halves; the effective batch, and so the learning
rate, stay as they are. A loss or gradient that isn't a number, or a loss that exploded, leaves weights,
optimizer and statistics as they were before the step. What that is judged by, the losses of all micro-batches and
the norm of the gradients, is read back from the device at once: a GPU then waits once a step for the host.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from engine.catalogue import ARCHS
from engine.data.augment import in_force, min_size_at
from engine.data.batch import Batch
from engine.models.compiled import falls_back
from engine.models.detector import Detector
from engine.recipe.schema import Model, Precision, Recipe
from engine.training.memory import OutOfMemory, is_out_of_memory, release
from engine.training.precision import apply_gradients, backward, forget_gradients, ready_gradients

# Times the least loss of a batch's images that makes another one's stand out.
_FAR_ABOVE = 10


class UpdateBroken(Exception):
    """Something went wrong while the weights were being changed: they may be half old, half new."""


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What a step came to.

    Attributes:
        loss: Total loss of the batch; may be infinite or not a number.
        losses: Its parts by torchvision's names.
        fault: Why the step was discarded, in words; "" when the weights were changed.
    """

    loss: float
    losses: dict[str, float]
    fault: str = ""


class Remembered:
    """What a forward pass changes besides gradients: random states and batch statistics."""

    def __init__(self, detector: nn.Module, device: torch.device) -> None:
        self._device = device
        self._random = torch.get_rng_state()
        self._device_random = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self._statistics = [
            (buffer, buffer.clone())
            for module in detector.modules()
            if isinstance(module, _BatchNorm) and module.training
            for buffer in module.buffers(recurse=False)
        ]

    def restore(self) -> None:
        """Make everything as it was."""
        torch.set_rng_state(self._random)
        if self._device_random is not None:
            torch.cuda.set_rng_state(self._device_random, self._device)
        for buffer, before in self._statistics:
            buffer.copy_(before)

    @property
    def random(self) -> dict[str, Tensor]:
        """The random states, for a replay bundle."""
        found = {"torch": self._random}
        return found if self._device_random is None else {**found, "cuda": self._device_random}


class Stepper:
    """Makes optimizer steps.

    Args:
        detector: In training mode, on `device`.
        optimizer: Over its parameters.
        scaler: Scales the loss under fp16; disabled otherwise.
        device: Where to compute.
        precision: Number format of the forward pass.
        clip_grad_norm: Greatest norm of the gradients, or None.
        exploding_loss: A loss above this is discarded.
        micro_batch_size: Images at a time; halved when memory runs out.
        on_halved: Told the new micro-batch size after memory ran out.
    """

    def __init__(
        self, detector: Detector, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, *,
        device: torch.device, precision: Precision, clip_grad_norm: float | None, exploding_loss: float,
        micro_batch_size: int, on_halved: Callable[[int], None],
    ) -> None:
        self._detector, self._optimizer, self._scaler = detector, optimizer, scaler
        self._device, self._precision = device, precision
        self._clip_grad_norm, self._exploding_loss = clip_grad_norm, exploding_loss
        self._on_halved = on_halved
        self.micro_batch_size = micro_batch_size

    def run(self, batch: Batch) -> tuple[StepFigures, Remembered]:
        """Make one step, or discard it.

        Args:
            batch: A whole batch, on the CPU.

        Returns:
            The figures, and what everything random was before, for a replay.

        Raises:
            OutOfMemory: Not even a single image fits.
            UpdateBroken: Memory ran out while the weights were being changed.
        """
        before = Remembered(self._detector, self._device)
        losses, norm = self._with_gradients(batch, before)
        total = sum(losses.values())
        fault = describe_fault(total, self._exploding_loss)
        if fault:
            forget_gradients(self._scaler)
        elif self._diverges(norm):
            fault = "the gradients are no longer numbers"
        if fault:
            before.restore()
        self._optimizer.zero_grad(set_to_none=True)
        return StepFigures(total, losses, fault), before

    def _with_gradients(self, batch: Batch, before: Remembered) -> tuple[dict[str, float], float]:
        """The losses of a batch and the norm of their gradients, which are ready to be applied."""
        while True:
            self._optimizer.zero_grad(set_to_none=True)
            try:
                losses = collect_losses(
                    self._detector, batch, self._device, self._precision, self.micro_batch_size,
                    on_loss=lambda loss: backward(loss, self._scaler),
                )
                return losses.read_with(ready_gradients(self._optimizer, self._scaler, self._clip_grad_norm))
            except Exception as error:
                anew = falls_back(self._detector, error)
                if not anew and not is_out_of_memory(error):
                    raise
            # Outside of the except block, for an error holds on to everything that was computed before it.
            self._optimizer.zero_grad(set_to_none=True)
            before.restore()
            batch.call_back()
            release(self._device)
            if anew:
                continue
            if self.micro_batch_size <= 1 or len(batch) <= 1:
                raise OutOfMemory
            self.micro_batch_size = max(1, min(self.micro_batch_size, len(batch)) // 2)
            self._on_halved(self.micro_batch_size)

    def _diverges(self, norm: float) -> bool:
        """Change the weights, unless the gradients are no numbers even without a scale."""
        try:
            return apply_gradients(self._optimizer, self._scaler, norm) == "diverged"
        except Exception as error:
            if is_out_of_memory(error):
                raise UpdateBroken from error
            raise

    def spoilt_by(self, batch: Batch, before: Remembered) -> list[int]:
        """Places of the images that spoil the loss on their own; every random state is left as it is."""
        after = Remembered(self._detector, self._device)
        alone_losses: dict[int, float] = {}
        for sample in batch.samples:
            before.restore()
            alone = Batch([sample])
            with torch.no_grad():
                losses = collect_losses(self._detector, alone, self._device, self._precision, 1).read()
            alone_losses[alone.places[0]] = sum(losses.values())
        after.restore()
        return spoilers_among(alone_losses, self._exploding_loss)


@dataclass(frozen=True, slots=True)
class CollectedLosses:
    """The parts of a batch's loss, micro-batch by micro-batch, still on the device.

    Attributes:
        names: Of the parts, torchvision's.
        values: Of each micro-batch (len(names),).
        shares: Share of each micro-batch in the batch.
    """

    names: tuple[str, ...]
    values: tuple[Tensor, ...]
    shares: tuple[float, ...]

    def read(self) -> dict[str, float]:
        """Each part of the batch's loss, by one transfer."""
        return self.read_with(self.values[0].new_zeros(()))[0]

    def read_with(self, number: Tensor) -> tuple[dict[str, float], float]:
        """Each part of the batch's loss, and another number, 0-d float32, by one transfer."""
        *numbers, other = torch.cat([*self.values, number.to(self.values[0].device)[None]]).tolist()
        sums = dict.fromkeys(self.names, 0.0)
        for place, share in enumerate(self.shares):
            first = place * len(self.names)
            for name, value in zip(self.names, numbers[first : first + len(self.names)], strict=True):
                sums[name] += value * share
        return sums, other


def collect_losses(
    detector: Detector, batch: Batch, device: torch.device, precision: Precision, micro_batch_size: int, *,
    on_loss: Callable[[Tensor], object] | None = None,
) -> CollectedLosses:
    """The parts of a whole batch's loss, so many images in memory at a time; nothing is read back.

    Args:
        detector: In training mode.
        batch: A whole batch, on the CPU.
        device: Where to compute.
        precision: Number format of the forward pass.
        micro_batch_size: Images at a time.
        on_loss: Given each micro-batch's share of the total loss, 0-d with its graph.
    """
    names: tuple[str, ...] = ()
    values, shares = [], []
    for part in batch.split(micro_batch_size):
        on_device = part.to(device)
        losses = detector.losses(on_device.images, on_device.targets, precision)
        share = len(part) / len(batch)
        stacked = torch.stack(list(losses.values()))
        if on_loss is not None:
            total = stacked.sum()
            on_loss(total * share if share < 1 else total)
        names = tuple(losses)
        values.append(stacked.detach())
        shares.append(share)
    return CollectedLosses(names, tuple(values), tuple(shares))


def spoilers_among(losses: Mapping[int, float], exploding_loss: float) -> list[int]:
    """The images whose loss alone is spoilt, and far from the best of the others'.

    Where weights went astray every image's loss is huge, some a little above the bound and some a little below:
    that is no fault of theirs.

    Args:
        losses: Total loss of each image by itself, by place.
        exploding_loss: A loss above this is spoilt.
    """
    least = min(losses.values(), key=lambda loss: loss if math.isfinite(loss) else math.inf, default=math.inf)
    return [
        place for place, loss in losses.items()
        if describe_fault(loss, exploding_loss)
        and not (math.isfinite(loss) and len(losses) > 1 and loss < _FAR_ABOVE * least)
    ]


def describe_fault(loss: float, exploding_loss: float) -> str:
    """What is wrong with a total loss, in words; "" when nothing is."""
    if not math.isfinite(loss):
        return "the loss is no longer a number"
    return f"the loss exploded to {loss:.3g}" if loss > exploding_loss else ""


def min_size_of(step: int, epoch: int, recipe: Recipe) -> int | None:
    """The shorter side in pixels that a step's images are resized to; None for the recipe's own."""
    augmentation = in_force(recipe.augmentation, epoch, recipe.training.epochs)
    return min_size_at(step, recipe.training.seed, augmentation)


def set_input_size(detector: Detector, model: Model, min_size: int | None) -> None:
    """Have images resized to another shorter side, the longer one's bound in proportion; None for the recipe's own.

    A detector of a fixed size keeps it.
    """
    if ARCHS[model.arch].fixed_size:
        return
    transform = detector.network.transform
    share = 1.0 if min_size is None else min_size / model.input_min_size
    transform.min_size = (min_size or model.input_min_size,)
    transform.max_size = max(transform.min_size[0], round(share * model.input_max_size))

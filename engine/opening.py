"""A run's first steps at its own learning rate, taken before the night: a rate that spoils the loss shows at once.

The steps are those that the run will take: same weights, same images in the same order, judged as training judges
them. A run that diverges goes back to its start with a lower rate, a few times; only a rate that is too high even
then is an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from engine.alike import opening_key
from engine.data.batch import Batch
from engine.data.dataset import Draw
from engine.data.order import EpochOrder
from engine.errors import Problem, Where
from engine.models.detector import Detector
from engine.models.precision import pick_precision
from engine.recipe.schema import Recipe, Recovery
from engine.training.memory import OutOfMemory, is_out_of_memory
from engine.training.optim import build_optimizer, set_lr, set_training_mode
from engine.training.precision import make_scaler
from engine.training.schedule import lr_factor
from engine.training.step import Stepper, min_size_of, set_input_size

# Two changes of the weights show what their first two batches' losses become.
_LEAST_STEPS = 3
_MOST_STEPS = 8
# From then on no further step is taken while all is well.
_ENOUGH_S = 3.0


@dataclass(frozen=True, slots=True)
class Opening:
    """The first steps of a run.

    Attributes:
        lr: The recipe's learning rate, times what going back would leave of it.
        faults: What was wrong with each step, in words; "" where nothing was.
    """

    lr: float
    faults: tuple[str, ...]

    def diverged(self, settings: Recovery) -> bool:
        """Whether the run would have to go back."""
        return _in_a_row(self.faults) >= settings.max_discarded_steps


@dataclass(frozen=True, slots=True)
class Openings:
    """Takes first steps; the detector's weights are changed and put back.

    Attributes:
        detector: With the weights that runs begin with.
        order: Which images make each batch.
        load: Loads a batch of them.
        micro_batch_size: Images in memory at a time.
        device: Where to compute.
    """

    detector: Detector
    order: EpochOrder
    load: Callable[[Sequence[Draw]], Batch]
    micro_batch_size: int
    device: torch.device

    def problems(self, recipes: Sequence[Recipe], tell: Callable[[str], None]) -> tuple[tuple[Problem, ...], ...]:
        """What is to be said of each recipe's learning rate; nothing where memory doesn't suffice for a look.

        Args:
            recipes: That share a rehearsal.
            tell: Told what is being done.
        """
        found: dict[int, tuple[Problem, ...]] = {}
        fine: set[bytes] = set()  # what differs from these in nothing but a lower rate needs no steps of its own
        for place, recipe in sorted(enumerate(recipes), key=lambda one: -one[1].optimizer.lr):
            key = opening_key(recipe)
            found[place] = () if key in fine else self._problems(recipe, tell)
            if not found[place]:
                fine.add(key)
        return tuple(found[place] for place in range(len(recipes)))

    def _problems(self, recipe: Recipe, tell: Callable[[str], None]) -> tuple[Problem, ...]:
        network, settings = self.detector.network, recipe.recovery
        tell(f"the first steps at the learning rate {recipe.optimizer.lr:g}")
        try:
            begun = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
            try:
                opening = self._opening(recipe, 1.0)
                if not opening.diverged(settings):
                    return ()
                network.load_state_dict(begun)
                least = self._opening(recipe, settings.rollback_lr_factor**settings.max_rollbacks)
            finally:
                network.load_state_dict(begun)
        except OutOfMemory:
            return ()
        except Exception as error:
            if is_out_of_memory(error):
                return ()
            raise
        return (_problem(recipe, opening, least),)

    def _opening(self, recipe: Recipe, lr_scale: float) -> Opening:
        """Steps until they went well for long enough, or as many in a row were discarded as training bears."""
        torch.manual_seed(recipe.training.seed)
        optimizer = build_optimizer(self.detector, recipe.optimizer, fused=recipe.hardware.fused_optimizer)
        precision = pick_precision(recipe.hardware.precision, self.device)
        stepper = Stepper(
            self.detector, optimizer, make_scaler(precision, self.device), device=self.device, precision=precision,
            clip_grad_norm=recipe.training.clip_grad_norm, exploding_loss=recipe.recovery.exploding_loss,
            micro_batch_size=self.micro_batch_size, on_halved=lambda _: None,
        )
        length, faults, started = len(self.order), list[str](), time.monotonic()
        for step, draws in enumerate(self._batches(recipe.training.epochs)):
            factor = lr_factor(
                step, steps_per_epoch=length, num_steps=length * recipe.training.epochs, schedule=recipe.schedule
            )
            set_lr(optimizer, recipe.optimizer.lr * lr_scale * factor)
            epoch = step // length
            set_training_mode(self.detector, optimizer, freeze_backbone=epoch < recipe.training.freeze_epochs)
            set_input_size(self.detector, recipe.model, min_size_of(step, epoch, recipe))
            figures, _ = stepper.run(self.load(draws))
            faults.append(figures.fault)
            long_enough = step + 1 >= _MOST_STEPS or time.monotonic() - started > _ENOUGH_S
            if not figures.fault and step + 1 >= _LEAST_STEPS and long_enough:
                break
            if _in_a_row(faults) >= recipe.recovery.max_discarded_steps:
                break
        return Opening(recipe.optimizer.lr * lr_scale, tuple(faults))

    def _batches(self, num_epochs: int) -> Iterator[list[Draw]]:
        for epoch in range(num_epochs):
            self.order.epoch = epoch
            yield from self.order


def _in_a_row(faults: Iterable[str]) -> int:
    """How many of the latest steps were discarded."""
    count = 0
    for fault in faults:
        count = count + 1 if fault else 0
    return count


def _problem(recipe: Recipe, opening: Opening, least: Opening) -> Problem:
    step, fault = next((step, fault) for step, fault in enumerate(opening.faults) if fault)
    found = f"at the learning rate {opening.lr:g} {fault} after {step} step{'s' if step != 1 else ''}"
    hopeless = least.diverged(recipe.recovery)
    if not hopeless:
        found += f"; the run would go back and try lower ones, of which {least.lr:g} goes well at first"
    elif recipe.recovery.max_rollbacks:
        found += f", and likewise at {least.lr:g}, the lowest that the run would try by itself"
    usual = {"sgd": 0.005, "adamw": 0.0001}[recipe.optimizer.name]
    fix = f"lower optimizer.lr ({usual:g} is usual with {recipe.optimizer.name})"
    fix += ", or set schedule.warmup_steps = 500 or training.clip_grad_norm = 10"
    return Problem("T308", Where(item="optimizer.lr"), found, fix, "error" if hopeless else "warning")

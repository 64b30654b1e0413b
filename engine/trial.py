"""A detector tried out on a dataset's worst batch and on typical ones: real steps that teach nothing.

The learning rate is 0, so weights stay as they began and everything else, gradients, the optimizer's
memory, the moving average, takes the room it will take. Nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

import psutil
import torch

from engine.annotations import ImageRecord, read_split
from engine.catalogue import ARCHS
from engine.data.batch import Batch
from engine.data.dataset import DetectionDataset, Draw
from engine.data.loading import pick_num_workers
from engine.data.order import EpochOrder, repeat_factors
from engine.devicememory import apply_memory_limit, forget_peak, free_memory_bytes, peak_memory_bytes
from engine.errors import DataError, has_errors
from engine.forecast import Doing, Figures, step_pace
from engine.models import build_detector
from engine.models.detector import pick_device
from engine.models.precision import pick_precision
from engine.models.speed import prepared
from engine.opening import Openings
from engine.recipe.schema import Recipe
from engine.training.ema import WeightAverage
from engine.training.optim import build_optimizer, set_lr, set_training_mode
from engine.training.precision import backward, make_scaler, update_weights
from engine.worstcase import worst_batches

Tell = Callable[[Doing], None]

# Typical steps are taken until they took so long together, and evaluation likewise.
_TIMING_S = 3.0


class Trial:
    """A recipe's detector, optimizer and data, ready for steps.

    Args:
        recipe: What to try.
        tell: Told what comes next and with which images.

    Raises:
        EngineError: Data, weights or device aren't as the recipe says.
    """

    def __init__(self, recipe: Recipe, tell: Tell) -> None:
        tell(Doing(words="starting"))
        self.recipe, self._tell = recipe, tell
        self.device = pick_device(recipe.hardware.device)
        free = free_memory_bytes(self.device)
        limit = apply_memory_limit(recipe.hardware.memory_limit_gb, self.device, at_most=free)
        self.available_bytes = free if limit is None else min(free, limit)
        self.train_data = DetectionDataset(_read("train", recipe), recipe.augmentation, recipe.training.seed)
        self.val_data = DetectionDataset(_read("val", recipe))
        torch.manual_seed(recipe.training.seed)
        tell(Doing(words="building the detector"))
        # Of several sizes the greatest is the worst case; `typical` puts all of them back.
        sizes = recipe.augmentation.multi_scale or (recipe.model.input_min_size,)
        self.model = recipe.model if ARCHS[recipe.model.arch].fixed_size else recipe.model.model_copy(
            update={"min_size": max(sizes), "max_size": max(recipe.model.input_max_size, *sizes)}
        )
        self._typical_sizes = sizes
        self.detector = prepared(build_detector(self.model, recipe.classes.names), recipe.hardware, self.device)
        self.optimizer = build_optimizer(self.detector, recipe.optimizer, fused=recipe.hardware.fused_optimizer)
        set_lr(self.optimizer, 0.0)
        decay = recipe.training.ema_decay
        self._average = WeightAverage(self.detector.network, decay) if decay else None
        # Without fp16's scaling, whose first steps are left out until its scale suits.
        self._scaler = make_scaler("fp32", self.device)
        self.startup_s = time.time() - psutil.Process().create_time()
        self.base_bytes = peak_memory_bytes(self.device)
        self.images: tuple[str, ...] = ()
        """Those of the latest batch."""
        self.num_steps = 0
        self.not_finite: list[tuple[str, ...]] = []
        """Images of the batches whose loss wasn't a number."""

    # --- the worst case ---

    def strain(self, micro_batch_size: int, batch_size: int) -> float:
        """Two steps with the worst batch, and an evaluation; returns seconds of the second step.

        Only in the second one the optimizer's memory is there from the start, and the gradients of a
        former micro-batch where a batch is made of several.
        """
        forget_peak(self.device)
        seconds = 0.0
        batches = worst_batches(self.train_data.records, self.model, micro_batch_size)
        for places in (batches[0], batches[-1]) if batches else ():
            batch = self._load(self.train_data, [Draw(0, place) for place in places], augmented=False)
            self._announce("the largest images", batch, micro_batch_size)
            if micro_batch_size >= batch_size:
                self.optimizer.zero_grad(set_to_none=True)
            seconds = self._timed(lambda batch=batch: self._step([batch]))  # type: ignore[misc]
        self.optimizer.zero_grad(set_to_none=True)
        for places in worst_batches(self.val_data.records, self.model, micro_batch_size):
            batch = self._load(self.val_data, [Draw(0, place) for place in places])
            self._announce("evaluating the largest images", batch, micro_batch_size)
            self._evaluate(batch)
        return seconds

    def strain_at(self, share: float) -> None:
        """Strain with one image at a share of the recipe's input size."""
        low, high = self.size_at(share)
        self._resize((low,), high)
        try:
            self.strain(1, 1)
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            self._resize((self.model.input_min_size,), self.model.input_max_size)

    def size_at(self, share: float) -> tuple[int, int]:
        """The input's least and greatest side in pixels at a share of the recipe's."""
        return int(self.model.input_min_size * share), int(self.model.input_max_size * share)

    def _resize(self, min_sizes: tuple[int, ...], max_size: int) -> None:
        if not ARCHS[self.model.arch].fixed_size:
            self.detector.network.transform.min_size = min_sizes
            self.detector.network.transform.max_size = max_size

    def worst_images(self) -> tuple[str, ...]:
        """The images that one at a time is tried with."""
        places = [place for batch in worst_batches(self.train_data.records, self.model, 1) for place in batch]
        return tuple(str(self.train_data.records[place].image_path) for place in places)

    # --- typical steps ---

    def figures(self, batch_size: int, micro_batch_size: int) -> Figures:
        """Strain, then time typical steps and evaluation."""
        self.strain(micro_batch_size, batch_size)
        order = self._order(batch_size)
        self._resize(self._typical_sizes, self.model.input_max_size)
        step_s = self._training_pace(order, batch_size, micro_batch_size)
        evaluate_image_s = self._evaluation_pace(micro_batch_size)
        model_bytes = sum(tensor.nbytes for tensor in self.detector.network.state_dict().values())
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        remembered = sum(value.nbytes for value in states if isinstance(value, torch.Tensor))
        return Figures(
            device=_device_name(self.device), batch_size=batch_size, micro_batch_size=micro_batch_size,
            startup_s=self.startup_s, step_s=step_s, evaluate_image_s=evaluate_image_s,
            peak_bytes=peak_memory_bytes(self.device), available_bytes=self.available_bytes,
            num_train_images=order.num_draws, num_val_images=len(self.val_data), model_bytes=model_bytes,
            state_bytes=model_bytes + remembered,
        )

    def openings(self, batch_size: int, micro_batch_size: int) -> Openings:
        """What takes first steps at real learning rates; the last thing to be done with a trial."""
        return Openings(
            self.detector, self._order(batch_size), lambda draws: self._load(self.train_data, draws), micro_batch_size,
            self.device,
        )

    def _order(self, batch_size: int) -> EpochOrder:
        records, training = self.train_data.records, self.recipe.training
        rare = training.repeat_threshold
        factors = None if rare is None else repeat_factors(records, len(self.recipe.classes.names), rare)
        return EpochOrder(len(records), batch_size, training.seed, factors)

    def _training_pace(self, order: EpochOrder, batch_size: int, micro_batch_size: int) -> float:
        loading = computing = 0.0
        num_images = 0
        for draws in order:
            begun = time.perf_counter()
            batch = self._load(self.train_data, draws)
            loading += time.perf_counter() - begun
            self._announce("typical images", batch, micro_batch_size)
            computing += self._timed(lambda batch=batch: self._step(batch.split(micro_batch_size)))  # type: ignore[misc]
            self.optimizer.zero_grad(set_to_none=True)
            num_images += len(draws)
            if loading + computing >= _TIMING_S:
                break
        scale = min(batch_size, order.num_draws) / max(1, num_images)
        return self._pace(computing * scale, loading * scale)

    def _evaluation_pace(self, micro_batch_size: int) -> float:
        count = len(self.val_data)
        # Images from all over the split: neighbours are often alike.
        stride = max(1, count // (4 * micro_batch_size))
        draws = [Draw(0, place) for first in range(stride) for place in range(first, count, stride)]
        loading = computing = 0.0
        done = 0
        while done < count and loading + computing < _TIMING_S:
            begun = time.perf_counter()
            batch = self._load(self.val_data, draws[done : done + micro_batch_size])
            loading += time.perf_counter() - begun
            self._announce("evaluating typical images", batch, micro_batch_size)
            computing += self._timed(lambda batch=batch: self._evaluate(batch))  # type: ignore[misc]
            done += len(batch)
        return self._pace(computing, loading) / max(1, done)

    def _pace(self, compute_s: float, load_s: float) -> float:
        num_workers = pick_num_workers(self.recipe.hardware.num_workers, self.device)
        cores = psutil.cpu_count() or 1
        on_cpu = self.device.type == "cpu"
        return step_pace(compute_s, load_s, num_workers=num_workers, num_cores=cores, shared_cores=on_cpu)

    # --- steps ---

    def _load(self, dataset: DetectionDataset, draws: Sequence[Draw], *, augmented: bool = True) -> Batch:
        source = dataset if augmented else DetectionDataset(dataset.records)
        return Batch([source[drawn] for drawn in draws])

    def _announce(self, words: str, batch: Batch, micro_batch_size: int) -> None:
        data = self.val_data if words.startswith("evaluating") else self.train_data
        self.images = tuple(str(data.records[place].image_path) for place in batch.places)
        self._tell(Doing(words=words, micro_batch_size=micro_batch_size, images=self.images))

    def _step(self, micro_batches: Sequence[Batch]) -> None:
        set_training_mode(self.detector, self.optimizer)
        self.num_steps += 1
        for batch in micro_batches:
            on_device = batch.to(self.device)
            precision = pick_precision(self.recipe.hardware.precision, self.device)
            losses = self.detector.losses(on_device.images, on_device.targets, precision)
            total = torch.stack(list(losses.values())).sum()
            if not torch.isfinite(total):
                self.not_finite.append(self.images)
                return
            backward(total / len(micro_batches), self._scaler)
        update_weights(self.optimizer, self._scaler, self.recipe.training.clip_grad_norm)
        if self._average is not None:
            self._average.update(self.detector.network)

    def _evaluate(self, batch: Batch) -> None:
        on_device = batch.to(self.device)
        self.detector.detect_with_losses(on_device.images, on_device.targets)

    def _timed(self, action: Callable[[], None]) -> float:
        begun = time.perf_counter()
        action()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter() - begun


def _read(split: Literal["train", "val"], recipe: Recipe) -> tuple[ImageRecord, ...]:
    found = read_split(recipe.dataset, recipe.classes, split)
    if has_errors(found.problems):
        raise DataError([problem for problem in found.problems if problem.severity == "error"])
    return found.records


def _device_name(device: torch.device) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)

"""Measuring a model after an epoch, however much memory and however many files are left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from engine.data.dataset import DetectionDataset
from engine.data.loading import BatchStream, LoaderTrouble
from engine.data.order import FixedOrder
from engine.errors import DataError, EngineError, Problem
from engine.evaluation.validate import Validation, validate
from engine.models.detector import Detector
from engine.recipe.schema import Metric, Recipe
from engine.training.best import best_metric, improves
from engine.training.ema import WeightAverage
from engine.training.memory import OutOfMemory, is_out_of_memory, release
from engine.training.recovery import num_may_be_set_aside
from engine.training.supply import Pace, Tell, instead

# How often the loaders of one pass may hang or die before the run fails.
_MAX_TROUBLES = 5

OnBatch = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """What an epoch's model is worth.

    Attributes:
        validation: The figures and detections of the weights that measured better.
        weights: Which those are.
    """

    validation: Validation
    weights: Literal["trained", "averaged"] = "trained"

    @property
    def values(self) -> Mapping[Metric, float | None]:
        """The figures that may decide which weights are best."""
        return self.validation.values


class Measurer:
    """Measures a model on the validation images.

    Args:
        data: The validation images.
        recipe: Whose metric decides.
        device: Where to compute.
        num_workers: Loader processes.
        pace: When waiting for data has been too long.
        tell: Makes a recovery known.

    Attributes:
        data: The validation images.
        batch_size: Images in memory at a time; less after memory ran out.
    """

    def __init__(
        self, data: DetectionDataset, recipe: Recipe, device: torch.device, *, num_workers: int, pace: Pace, tell: Tell
    ) -> None:
        assert recipe.training.batch_size != "auto"  # resolved before a run is queued
        self.data = data
        self._recipe, self._device, self._pace, self._tell = recipe, device, pace, tell
        self.batch_size = min(recipe.training.batch_size, recipe.training.micro_batch_size or 1024)
        self._sends_ahead = True
        self._stream = self._open(num_workers)
        self._num_broken = 0

    def shrink_to(self, batch_size: int) -> None:
        """Measure with at most so many images at a time from now on."""
        if batch_size < self.batch_size:
            self.batch_size = batch_size
            self._stream.close()
            self._stream = self._open(self._stream.num_workers)

    def _open(self, num_workers: int) -> BatchStream:
        order = FixedOrder.of(self.data.records, self.batch_size)
        return BatchStream(
            self.data, order, num_workers=num_workers, device=self._device, sends_ahead=self._sends_ahead
        )

    def measure(self, detector: Detector, average: WeightAverage | None, on_batch: OnBatch) -> Measured:
        """Measure the weights, and their average if there is one; the better of both by the recipe's metric.

        Args:
            detector: On the device; left in eval mode.
            average: The moving average of its weights.
            on_batch: Told images done and images in all.

        Raises:
            DataError: More images can't be read any more than the recipe allows.
            OutOfMemory: Not even a single image fits.
        """
        passes = 1 if average is None else 2
        total = passes * len(self.data)
        trained = Measured(self._validate(detector, lambda done: on_batch(done, total)))
        if average is not None:
            with average.swapped_in(detector.network):
                validation = self._validate(detector, lambda done: on_batch(len(self.data) + done, total))
            averaged, metric = Measured(validation, "averaged"), best_metric(self._recipe)
            if improves(metric, averaged.values[metric], trained.values[metric]):
                return self._judged(averaged)
        return self._judged(trained)

    def _validate(self, detector: Detector, on_batch: Callable[[int], None]) -> Validation:
        """One pass; begun anew with smaller batches or other loaders where that helps."""
        troubles = 0
        while True:
            try:
                batches = self._stream.batches(self._pace.patience_s)
                return validate(detector, self.data, batches, self._device, on_batch)
            except LoaderTrouble as trouble:
                troubles += 1
                if troubles > _MAX_TROUBLES:
                    raise self._hopeless(trouble) from None
                self._mend(trouble)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                error.__traceback__ = None  # it holds on to everything that was computed
                self._shrink()

    def _shrink(self) -> None:
        release(self._device)
        if self.batch_size <= 1:
            raise OutOfMemory
        self._sends_ahead = False
        self.shrink_to(self.batch_size // 2)
        self._tell("out of memory", f"while measuring; measuring anew with {self.batch_size} image(s) at a time")

    def _mend(self, trouble: LoaderTrouble) -> None:
        before = self._stream.num_workers
        words = trouble.words or f"nothing was loaded for {trouble.waited_s:.0f} s"
        if trouble.reason == "died":
            self._tell("loader restarted", f"while measuring: {words}; {instead(before, before // 2)}")
            self._stream.restart(before // 2)
            return
        self._stream.write_stacks()
        # One process is kept, for loading in our own could hang the training itself.
        after = max(1, before // 2)
        images = tuple(str(self.data.records[place].image_path) for place in trouble.places)
        self._tell("stalled", f"while measuring: {words}; {instead(before, after)}", images=images)
        self._stream.restart(after)

    def _hopeless(self, trouble: LoaderTrouble) -> EngineError:
        image = str(self.data.records[trouble.places[0]].image_path) if trouble.places else ""
        return DataError.of(
            "T213", image, f"the validation images can't be loaded: {trouble.words or 'loading hangs'}",
            "look whether the drive that holds them answers, then retry the run",
        )

    def _judged(self, measured: Measured) -> Measured:
        """Tell of images that broke since the last time; refuse when they are too many."""
        broken = measured.validation.broken
        allowed = num_may_be_set_aside(len(self.data), self._recipe.recovery)
        if len(broken) > allowed or (broken and len(broken) == len(self.data)):
            raise DataError([self._too_many(broken, allowed)])
        if len(broken) > self._num_broken:
            names = tuple(problem.where.path for problem in broken)
            text = f"{broken[-1].where.path}: {broken[-1].found}; measured without {len(broken)} validation image(s)"
            self._tell("set aside", text, images=names)
        self._num_broken = len(broken)
        return measured

    def _too_many(self, broken: tuple[Problem, ...], allowed: int) -> Problem:
        first = broken[0]
        found = (
            f"{first.found}; {len(broken)} of {len(self.data)} validation images can't be read any more and "
            f"recovery.max_set_aside = {self._recipe.recovery.max_set_aside} allows {allowed}"
        )
        fix = "mend the files (`engine check` names them) and retry the run, or raise recovery.max_set_aside"
        return Problem("T212", first.where, found, fix)

    def close(self) -> None:
        """End the loader processes."""
        self._stream.close()

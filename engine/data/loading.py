"""The order of images and the loaders that bring them as batches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from engine.data.dataset import BrokenSample, DetectionDataset, Draw, Sample
from engine.errors import DataError, Problem
from engine.models.detector import Target


class Batch:
    """Images of one step, with their targets and places in the dataset.

    Attributes:
        images: (3, H, W) float32 tensors in [0, 1] after `to`, uint8 before.
        targets: One an image.
        places: Each image's record in the dataset.
        problems: What was wrong with images that couldn't be loaded.
    """

    def __init__(self, samples: Sequence[Sample | BrokenSample]) -> None:
        whole = [sample for sample in samples if isinstance(sample, Sample)]
        self.images: list[Tensor] = [sample.image for sample in whole]
        self.targets: list[Target] = [sample.target for sample in whole]
        self.places: list[int] = [sample.place for sample in whole]
        self.problems: list[Problem] = [
            problem for sample in samples if isinstance(sample, BrokenSample) for problem in sample.problems
        ]

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, pixels scaled to [0, 1] there: bytes are cheaper to move.

        Raises:
            DataError: An image of the batch couldn't be loaded.
        """
        if self.problems:
            raise DataError(self.problems)
        moved = Batch(())
        moved.images = [image.to(device, non_blocking=True).float().div_(255) for image in self.images]
        moved.targets = [
            {
                "boxes_xyxy": target["boxes_xyxy"].to(device, non_blocking=True),
                "labels": target["labels"].to(device, non_blocking=True),
            }
            for target in self.targets
        ]
        moved.places = self.places
        return moved

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; the loader calls this when told to."""
        self.images = [image.pin_memory() for image in self.images]
        return self


class EpochOrder(Sampler[list[Draw]]):
    """Batches of a shuffled epoch; the order follows from seed and epoch alone.

    Set `epoch` and `first_batch` before iterating.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int) -> None:
        self._num_images = num_images
        self._batch_size = batch_size
        self._seed = seed
        self.epoch = 0
        self.first_batch = 0

    def __len__(self) -> int:
        return (self._num_images + self._batch_size - 1) // self._batch_size

    def __iter__(self) -> Iterator[list[Draw]]:
        order = np.random.default_rng([self._seed, self.epoch]).permutation(self._num_images).tolist()
        for batch in range(self.first_batch, len(self)):
            start = batch * self._batch_size
            yield [Draw(self.epoch, place) for place in order[start : start + self._batch_size]]


class FixedOrder(Sampler[list[Draw]]):
    """Batches of every image once, in the records' order."""

    def __init__(self, num_images: int, batch_size: int) -> None:
        self._num_images = num_images
        self._batch_size = batch_size

    def __len__(self) -> int:
        return (self._num_images + self._batch_size - 1) // self._batch_size

    def __iter__(self) -> Iterator[list[Draw]]:
        for start in range(0, self._num_images, self._batch_size):
            yield [Draw(0, place) for place in range(start, min(start + self._batch_size, self._num_images))]


def make_loader(
    dataset: DetectionDataset, order: Sampler[list[Draw]], *, num_workers: int, device: torch.device
) -> DataLoader[Batch]:
    """A loader that keeps its processes from one epoch to the next."""
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # the collate function turns samples into a Batch
        batch_sampler=order,
        num_workers=num_workers,
        collate_fn=Batch,
        # Its own, so that starting a loader draws nothing from the random state that training goes by:
        # a resumed epoch starts one more often than an uninterrupted one.
        generator=torch.Generator(),
        persistent_workers=num_workers > 0,
        pin_memory=device.type == "cuda",
    )


def pick_num_workers(wanted: int | str, device: torch.device) -> int:
    """How many loader processes a recipe means by "auto".

    On a CPU the training itself needs the cores, so one process at most keeps ahead of it; beside a
    GPU the cores are free for loading.
    """
    if not isinstance(wanted, str):
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if device.type == "cpu":
        return min(1, cores - 1)
    return max(1, min(8, cores - 1))

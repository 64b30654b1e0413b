"""Image records as tensors, with augmentation that follows from seed, epoch and image alone.

No worker holds a random state: what happens to an image in an epoch is the same whichever process
loads it, which is what makes a resumed run repeat an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as transforms

from engine.annotations import ImageRecord, load_rgb
from engine.errors import DataError, Problem
from engine.models.detector import Target
from engine.recipe.schema import Augmentation


class Sample(NamedTuple):
    """One image with what is to be found in it.

    Attributes:
        image: (3, H, W) uint8 RGB.
        target: Boxes in this image's pixels and zero-based labels.
        place: Position of the record in the dataset.
    """

    image: Tensor
    target: Target
    place: int


class Draw(NamedTuple):
    """An image to load and the epoch it is loaded for.

    Attributes:
        epoch: Zero-based epoch.
        place: Position of the record in the dataset.
        repeat: How often the image has come in this epoch already; each time it is changed otherwise.
        avoid: Places that must not be put beside it in a mosaic either.
    """

    epoch: int
    place: int
    repeat: int = 0
    avoid: frozenset[int] = frozenset()


class BrokenSample(NamedTuple):
    """An image that broke since the check; a value, because loader processes garble exceptions.

    Attributes:
        problems: What is wrong with it.
        place: Position of the record in the dataset.
    """

    problems: tuple[Problem, ...]
    place: int


class DetectionDataset(Dataset[Sample | BrokenSample]):
    """Records of one split.

    Args:
        records: The images.
        augmentation: Changes to make, or None to load pictures as they are.
        seed: The recipe's seed.
    """

    def __init__(self, records: Sequence[ImageRecord], augmentation: Augmentation | None = None, seed: int = 0) -> None:
        self.records = tuple(records)
        self._augmentation = augmentation
        self._seed = seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, drawn: Draw) -> Sample | BrokenSample:
        """Load one image; crowds are left out of its target, for a crowd isn't one object."""
        record = self.records[drawn.place]
        try:
            image = load_image(record)
        except DataError as error:
            return BrokenSample(tuple(error.problems), drawn.place)
        boxes = torch.from_numpy(record.boxes_xyxy[~record.crowd])
        if self._augmentation is not None:
            random = np.random.default_rng([self._seed, drawn.epoch, drawn.place])
            image, boxes = augment(image, boxes, self._augmentation, random)
        labels = torch.from_numpy(record.labels[~record.crowd])
        return Sample(image, {"boxes_xyxy": boxes, "labels": labels}, drawn.place)


def load_image(record: ImageRecord) -> Tensor:
    """The record's picture as (3, H, W) uint8 RGB.

    Raises:
        DataError: The file can't be decoded.
    """
    pixels = np.array(load_rgb(record.image_path, apply_exif=record.apply_exif), dtype=np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def augment(
    image: Tensor, boxes_xyxy: Tensor, augmentation: Augmentation, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Change a training image as its recipe says, boxes along with it.

    Args:
        image: (3, H, W).
        boxes_xyxy: (N, 4) in pixels. N may be 0.
        augmentation: What may happen.
        random: Where chance comes from.

    Returns:
        New image and boxes; the inputs are untouched.
    """
    if random.random() < augmentation.horizontal_flip:
        width = image.shape[-1]
        image = transforms.horizontal_flip(image)
        boxes_xyxy = torch.stack(
            [width - boxes_xyxy[:, 2], boxes_xyxy[:, 1], width - boxes_xyxy[:, 0], boxes_xyxy[:, 3]], dim=1
        )
    return image, boxes_xyxy

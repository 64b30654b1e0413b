"""Image records as tensors, with augmentation that follows from seed and what is drawn alone.

No worker holds a random state: what happens to an image in an epoch is the same whichever process
loads it, which is what makes a resumed run repeat an uninterrupted one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from engine.annotations import ImageRecord, load_rgb
from engine.data.augment import augment, in_force
from engine.data.mosaic import NUM_PARTNERS
from engine.data.picture import Picture
from engine.errors import DataError, Problem
from engine.models.detector import Target
from engine.recipe.schema import Augmentation

# Images that are tried for the three beside a mosaic's first; among four or more, enough nearly always fit.
_PARTNER_TRIES = 16


class Sample(NamedTuple):
    """One image with what is to be found in it.

    Attributes:
        image: (3, H, W) uint8 RGB.
        target: Boxes in this image's pixels and zero-based labels.
        place: Position of the record in the dataset.
        partners: Places of the other images of a mosaic.
        num_dropped: Objects of which augmentation left too little to be demanded.
        repeat: As in what was drawn.
    """

    image: Tensor
    target: Target
    place: int
    partners: tuple[int, ...] = ()
    num_dropped: int = 0
    repeat: int = 0


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
        num_epochs: Epochs that the run will have, for what ends before them; None: none is the last.
    """

    def __init__(
        self, records: Sequence[ImageRecord], augmentation: Augmentation | None = None, seed: int = 0,
        num_epochs: int | None = None,
    ) -> None:
        self.records = tuple(records)
        self._augmentation = augmentation
        self._seed = seed
        self._num_epochs = num_epochs

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, drawn: Draw) -> Sample | BrokenSample:
        """Load one image; crowds are left out of its target, for a crowd isn't one object."""
        try:
            picture = load_picture(self.records[drawn.place])
        except DataError as error:
            return BrokenSample(tuple(error.problems), drawn.place)
        partners: list[int] = []
        if self._augmentation is not None:
            repeat = [drawn.repeat] if drawn.repeat else []
            random = np.random.default_rng([self._seed, drawn.epoch, drawn.place, *repeat])
            augmentation = in_force(self._augmentation, drawn.epoch, self._num_epochs)

            def load_partners(random: np.random.Generator) -> list[Picture]:
                loaded = self._load_partners(random, drawn)
                partners.extend(loaded)
                return _three(list(loaded.values()), picture)

            picture = augment(picture, augmentation, random, load_partners)
        target: Target = {"boxes_xyxy": picture.boxes_xyxy, "labels": picture.labels}
        return Sample(picture.image, target, drawn.place, tuple(partners), picture.num_dropped, drawn.repeat)

    def _load_partners(self, random: np.random.Generator, drawn: Draw) -> dict[int, Picture]:
        """Up to three other images, by place; broken ones and those to be avoided are passed over."""
        found: dict[int, Picture] = {}
        for place in random.integers(len(self), size=_PARTNER_TRIES).tolist():
            if len(found) == NUM_PARTNERS:
                break
            if place != drawn.place and place not in found and place not in drawn.avoid:
                with contextlib.suppress(DataError):
                    found[place] = load_picture(self.records[place])
        return found


def _three(partners: Sequence[Picture], picture: Picture) -> list[Picture]:
    """As many partners as a mosaic needs; where others are too few, the picture itself comes again."""
    return [*partners, *[picture] * (NUM_PARTNERS - len(partners))]


def load_picture(record: ImageRecord) -> Picture:
    """A record's image with its objects, crowds left out.

    Raises:
        DataError: The file can't be decoded.
    """
    labels = torch.from_numpy(record.labels[~record.crowd])
    return Picture.of(load_image(record), torch.from_numpy(record.boxes_xyxy[~record.crowd]), labels)


def load_image(record: ImageRecord) -> Tensor:
    """The record's picture as (3, H, W) uint8 RGB.

    Raises:
        DataError: The file can't be decoded.
    """
    pixels = np.array(load_rgb(record.image_path, apply_exif=record.apply_exif), dtype=np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1)

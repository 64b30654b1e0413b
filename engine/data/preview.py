"""What a model will see of a training set: the first images of an epoch, changed and resized as in training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from engine.annotations import ImageRecord
from engine.catalogue import ARCHS
from engine.data.augment import in_force, min_size_at
from engine.data.dataset import BrokenSample, DetectionDataset, Draw, Sample
from engine.data.order import EpochOrder, repeat_factors
from engine.recipe.schema import Model, Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """An image as the network gets it, but for the normalisation of its colours.

    Attributes:
        records: The image's record, then those of the others in its mosaic.
        pixels: (H, W, 3) uint8 RGB, at the network's input size.
        boxes_xyxy: (N, 4) in its pixels. N may be 0.
        labels: (N,) zero-based.
        num_dropped: Objects of which augmentation left too little to be demanded.
    """

    records: tuple[ImageRecord, ...]
    pixels: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    num_dropped: int


@dataclass(frozen=True, slots=True)
class Repeats:
    """How repeat-factor sampling lengthens an epoch.

    Attributes:
        num_images: Images of the training set.
        num_draws: Images that come in an epoch, repetitions included.
        num_repeated: Images that come more often than once on average.
        greatest: How often the most repeated image comes on average.
    """

    num_images: int
    num_draws: int
    num_repeated: int
    greatest: float


def repeats(recipe: Recipe, records: Sequence[ImageRecord]) -> Repeats | None:
    """What `training.repeat_threshold` does to an epoch; None without it."""
    factors = _factors(recipe, records)
    if factors is None:
        return None
    order = EpochOrder(len(records), 1, 0, factors)
    greatest = float(factors.max(initial=1.0))
    return Repeats(len(records), order.num_draws, int((factors > 1).sum()), greatest)


def look(
    recipe: Recipe, records: Sequence[ImageRecord], *, epoch: int, num_images: int
) -> Iterator[Seen | BrokenSample]:
    """The first images of an epoch, in the order of training.

    The input size of each step (`multi_scale`) is counted in the recipe's batches; with
    batch_size = "auto", which nobody knows before the run, as if a batch were one image.

    Args:
        recipe: Whose augmentation, seed and input size count.
        records: The training images.
        epoch: Zero-based epoch.
        num_images: How many at most; an epoch may have fewer.

    Yields:
        Each image; what is wrong with one that can't be loaded.
    """
    training = recipe.training
    batch_size = 1 if training.batch_size == "auto" else training.batch_size
    order = EpochOrder(len(records), batch_size, training.seed, _factors(recipe, records))
    order.epoch = epoch
    data = DetectionDataset(records, recipe.augmentation, training.seed, training.epochs)
    augmentation = in_force(recipe.augmentation, epoch, training.epochs)
    for step, drawn in islice(_numbered(order, first_step=epoch * len(order)), num_images):
        sample = data[drawn]
        size = min_size_at(step, training.seed, augmentation)
        yield sample if isinstance(sample, BrokenSample) else _as_seen(sample, records, recipe.model, size)


def _numbered(order: EpochOrder, first_step: int) -> Iterator[tuple[int, Draw]]:
    for step, batch in enumerate(order, first_step):
        for drawn in batch:
            yield step, drawn


def _factors(recipe: Recipe, records: Sequence[ImageRecord]) -> NDArray[np.float64] | None:
    threshold = recipe.training.repeat_threshold
    return None if threshold is None else repeat_factors(records, len(recipe.classes.names), threshold)


def _as_seen(sample: Sample, records: Sequence[ImageRecord], model: Model, min_size: int | None) -> Seen:
    """A sample resized by the very class that the networks resize with."""
    arch = ARCHS[model.arch]
    shorter = min_size or model.input_min_size
    # In proportion, as the training bounds the longer side.
    longer = max(shorter, round(model.input_max_size * shorter / model.input_min_size))
    fixed = (arch.min_size, arch.min_size) if arch.fixed_size else None
    resize = GeneralizedRCNNTransform(shorter, longer, [0.0] * 3, [1.0] * 3, size_divisible=1, fixed_size=fixed).eval()
    batch, [target] = resize([sample.image.float() / 255], [{"boxes": sample.target["boxes_xyxy"]}])
    pixels = (batch.tensors[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    shown = tuple(records[place] for place in (sample.place, *sample.partners))
    return Seen(shown, pixels, target["boxes"].numpy(), sample.target["labels"].numpy(), sample.num_dropped)

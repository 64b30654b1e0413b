"""Choose a detector that this machine can train in a night, and settings that go with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.annotations import ImageRecord
from engine.catalogue import ARCHS
from engine.errors import Where
from engine.needs import WeightsCheck
from engine.recipe.schema import Model

# For a CPU, best first: what has learnt COCO already needs the fewest steps.
_LIGHT = (
    ("fasterrcnn_mobilenet_v3_large_320_fpn", "coco"),
    ("fasterrcnn_resnet18_fpn", "imagenet"),
    ("fasterrcnn_mobilenet_v2_fpn", "imagenet"),
)
_FROM_NOTHING = "fasterrcnn_resnet18_fpn"
_CPU_SIDES = (320, 480, 640)
# A side of less is two cells of the finest feature map: too little to tell one thing from another.
_LEAST_SIDE_PX = 8.0
_TOLERATED_SHARE = 0.1
_CPU_STEPS, _GPU_STEPS = 4_000, 20_000


@dataclass(frozen=True, slots=True)
class Choice:
    """A detector and how to train it.

    Attributes:
        arch: As in `model.arch`.
        weights: As in `model.weights`.
        why: The reason, in words.
        min_size: Shorter side that images are resized to; None for the detector's own.
        max_size: Upper bound of the longer side; None likewise.
        epochs: Passes over the training images.
    """

    arch: str
    weights: str
    why: str
    min_size: int | None
    max_size: int | None
    epochs: int

    @property
    def from_nothing(self) -> bool:
        """Whether every weight begins random."""
        return self.weights == "none"


def choose(train: Sequence[ImageRecord], *, has_gpu: bool, batch_size: int, weights: WeightsCheck) -> Choice:
    """Choose a detector.

    Args:
        train: The training images.
        has_gpu: Whether there is a GPU that torch calls "cuda".
        batch_size: Images in a step.
        weights: Tells which published weights are at hand or can be fetched.
    """
    steps = max(1, len(train) // batch_size)
    if has_gpu:
        epochs = _within(_GPU_STEPS // steps, 12, 50)
        return Choice("fasterrcnn_resnet50_fpn", "coco", "the most accurate; for a GPU", None, None, epochs)
    epochs = _within(_CPU_STEPS // steps, 10, 50)
    side = input_side(train)
    for at_hand in (True, False):
        for arch, word in _LIGHT:
            if _available(weights, Model(arch=arch, weights=word), at_hand=at_hand):
                own = side == ARCHS[arch].min_size
                low, high = (None, None) if own else (side, 2 * side)
                return Choice(arch, word, "light enough for a CPU", low, high, epochs)
    why = "light enough for a CPU; no published weights are at hand or can be reached"
    return Choice(_FROM_NOTHING, "none", why, side, 2 * side, epochs)


def _available(weights: WeightsCheck, model: Model, *, at_hand: bool) -> bool:
    """Whether weights lie in the cache and are sound, or (not `at_hand`) can be fetched."""
    codes = [problem.code for problem in weights.problems(model, Where())]
    return codes == ([] if at_hand else ["W100"])


def _within(value: int, low: int, high: int) -> int:
    return min(high, max(low, value))


def input_side(records: Sequence[ImageRecord], sides: Sequence[int] = _CPU_SIDES) -> int:
    """The least shorter side, of some, at which hardly any box is too small to be learnt.

    Args:
        records: Images; may be empty.
        sides: Shorter sides in pixels, rising; the longer side may be twice as long.
    """
    labelled = [record for record in records if len(record.labels)]
    for side in sides:
        least = [_fit(record, side) * _least_sides(record) for record in labelled]
        if not least or np.mean(np.concatenate(least) < _LEAST_SIDE_PX) <= _TOLERATED_SHARE:
            return side
    return sides[-1]


def _least_sides(record: ImageRecord) -> NDArray[np.float32]:
    """The shorter side of each box."""
    sides: NDArray[np.float32] = (record.boxes_xyxy[:, 2:] - record.boxes_xyxy[:, :2]).min(axis=1)
    return sides


def _fit(record: ImageRecord, side: int) -> float:
    """The factor by which torchvision resizes an image to a shorter side, the longer one at most twice as long."""
    shorter, longer = sorted((record.width, record.height))
    return min(side / shorter, 2 * side / longer)

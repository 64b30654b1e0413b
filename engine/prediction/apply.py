"""A model applied to pictures in memory: batches of equal shape, tiles, thresholds, classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import EngineError
from engine.evaluation.drawing import DrawnBoxes
from engine.evaluation.predict import Predictor
from engine.models import Detection
from engine.models.detector import to_cpu
from engine.models.inference import detect_prepared, make_ready, prepared_picture
from engine.prediction.choices import Choices, unknown_classes
from engine.prediction.tiles import Tile, merged, tiles_of

Pixels = NDArray[np.uint8]

# On a CPU one picture keeps the cores busy already; more at a time brought nothing there.
_BATCH_SIZES = {"cpu": 1, "mps": 4, "cuda": 8}


class Applier:
    """Applies a model to pictures; makes it ready for nothing but that.

    Args:
        predictor: The model; changed in place.
        batch_size: Pictures or tiles at a time; what suits the device when left out.
    """

    def __init__(self, predictor: Predictor, batch_size: int | None = None) -> None:
        make_ready(predictor.detector)
        self.predictor = predictor
        self.batch_size = batch_size or _BATCH_SIZES.get(predictor.device.type, 1)

    def apply(self, pictures: Sequence[Pixels], choices: Choices) -> list[DrawnBoxes]:
        """Objects in each picture, best first, in its pixels.

        Args:
            pictures: (H, W, 3) RGB, of any sizes.
            choices: What is wanted of them.

        Raises:
            EngineError: A class is chosen that the model doesn't know (X108), or memory doesn't hold even one
                picture (X109).
        """
        least = least_scores(self.predictor.class_names, choices)
        parts = [
            (index, tile)
            for index, pixels in enumerate(pictures)
            for tile in tiles_of((pixels.shape[1], pixels.shape[0]), choices.tile, choices.overlap)
        ]
        found: list[list[tuple[Tile, DrawnBoxes]]] = [[] for _ in pictures]
        for start in range(0, len(parts), self.batch_size):
            some = parts[start : start + self.batch_size]
            crops = [pictures[i][tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] for i, tile in some]
            for (index, tile), one in zip(some, self._detect(crops), strict=True):
                found[index].append((tile, one))
        return [
            _at_least(merged(of_one, (pixels.shape[1], pixels.shape[0])), least)
            for of_one, pixels in zip(found, pictures, strict=True)
        ]

    def _detect(self, crops: Sequence[Pixels]) -> list[DrawnBoxes]:
        detector, device = self.predictor.detector, self.predictor.device
        images = [prepared_picture(detector, crop, device) for crop in crops]
        by_shape: dict[torch.Size, list[int]] = defaultdict(list)
        for place, image in enumerate(images):
            by_shape[image.shape].append(place)
        results: dict[int, DrawnBoxes] = {}
        for places in by_shape.values():
            sizes = [(crops[place].shape[0], crops[place].shape[1]) for place in places]
            found = self._within_memory([images[place] for place in places], sizes)
            results |= zip(places, map(_plain, found), strict=True)
        return [results[place] for place in range(len(crops))]

    def _within_memory(self, images: list[torch.Tensor], sizes: list[tuple[int, int]]) -> list[Detection]:
        """The detections, one picture at a time where a GPU's memory doesn't hold several."""
        try:
            return detect_prepared(self.predictor.detector, images, sizes)
        except torch.OutOfMemoryError as error:
            if len(images) == 1:
                raise EngineError.of(
                    "X109", "", f"the memory of {self.predictor.device} doesn't hold this model with one picture",
                    "free it of other programs, or use --device cpu",
                ) from error
        self.batch_size = 1
        return [
            one for place, image in enumerate(images) for one in self._within_memory([image], [sizes[place]])
        ]


def least_scores(class_names: Sequence[str], choices: Choices) -> NDArray[np.float32]:
    """The least score of each class that is told, above 1 for those that weren't chosen.

    Raises:
        EngineError: A class is chosen that the model doesn't know (X108).
    """
    unknown = unknown_classes(class_names, choices.classes)
    if unknown:
        raise EngineError.of("X108", "", unknown, f"name some of: {', '.join(class_names)}")
    return np.array([
        choices.thresholds.get(name, choices.threshold) if not choices.classes or name in choices.classes else 2.0
        for name in class_names
    ], np.float32)


def _plain(found: Detection) -> DrawnBoxes:
    found = to_cpu(found)
    return DrawnBoxes(found["boxes_xyxy"].numpy(), found["labels"].numpy(), found["scores"].numpy())


def _at_least(found: DrawnBoxes, least: NDArray[np.float32]) -> DrawnBoxes:
    assert found.scores is not None  # predictions have scores
    keep = found.scores >= least[found.labels]
    return DrawnBoxes(found.boxes_xyxy[keep], found.labels[keep], found.scores[keep])

"""Which images of a split make the batch that takes the most memory. Pure; opens no file.

Memory goes by the pixels of the padded batch, after the network's own resize, and by the objects of
one image: torchvision compares every anchor with every box, image by image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.annotations import ImageRecord
from engine.catalogue import ARCHS
from engine.recipe.schema import Model


def network_sizes(records: Sequence[ImageRecord], model: Model) -> NDArray[np.float64]:
    """Width and height of each image as the network sees it, (N, 2) in pixels; N may be 0.

    Source:
        torchvision's GeneralizedRCNNTransform: the shorter side becomes min_size unless the longer
        one would then exceed max_size. SSDs stretch every image to one size.
    """
    sizes = np.array([(record.width, record.height) for record in records], dtype=np.float64).reshape(-1, 2)
    if ARCHS[model.arch].fixed_size:
        return np.full_like(sizes, model.input_min_size)
    if not len(sizes):
        return sizes
    scale = np.minimum(model.input_min_size / sizes.min(axis=1), model.input_max_size / sizes.max(axis=1))
    resized: NDArray[np.float64] = sizes * scale[:, None]
    return resized


def worst_batches(records: Sequence[ImageRecord], model: Model, num_images: int) -> list[list[int]]:
    """The batches to try memory with: the largest images, with the most crowded one among them.

    Args:
        records: A split; may be empty.
        model: What resizes them.
        num_images: Images in memory at a time, 1 or more.

    Returns:
        Places in `records`: one batch, two if a single image at a time is either the largest or the
        most crowded, none without images.
    """
    if not records:
        return []
    sizes = network_sizes(records, model)
    num_boxes = np.array([int((~record.crowd).sum()) for record in records])
    area = sizes.prod(axis=1)
    by_area = [int(place) for place in np.lexsort((-num_boxes, -area))]
    crowded = int(np.lexsort((-area, -num_boxes))[0])
    if num_images == 1:
        return [[place] for place in dict.fromkeys((by_area[0], crowded))]
    # A batch is padded to its widest and its tallest image: a portrait among landscapes makes it a square.
    extremes = [int(place) for place in sizes.argmax(axis=0)]
    candidates = [_first([crowded, *by_area], num_images), _first([crowded, *extremes, *by_area], num_images)]
    return [max(candidates, key=lambda batch: float(sizes[batch].max(axis=0).prod()) * len(batch))]


def _first(places: Sequence[int], count: int) -> list[int]:
    return list(dict.fromkeys(places))[:count]

"""Large pictures in tiles: where they lie, and how what is found in them becomes one list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import batched_nms

from engine.evaluation.drawing import DrawnBoxes

_NMS_IOU = 0.5
# A box that ends so close to a tile's inner edge was cut off there, in pixels.
_CUT_WITHIN = 2.0
# Share of a cut box that a whole one must cover to stand for it.
_COVERED = 0.6


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a picture, in its pixels."""

    x: int
    y: int
    width: int
    height: int


def tiles_of(size: tuple[int, int], side: int | None, overlap: float) -> list[Tile]:
    """The parts of a picture that are looked at: the whole, and tiles where it is larger than one.

    The whole is among them because an object larger than a tile is found nowhere else.

    Args:
        size: (width, height) of the picture.
        side: Width and height of a tile in pixels; None for the whole picture only.
        overlap: Share of a tile that its neighbour shows too, in [0, 1).
    """
    width, height = size
    whole = Tile(0, 0, width, height)
    if side is None or max(size) <= side:
        return [whole]
    places = product(_starts(height, side, overlap), _starts(width, side, overlap))
    return [whole, *(Tile(x, y, min(side, width), min(side, height)) for y, x in places)]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Where tiles begin along one side; evenly, so that the last doesn't overlap more than the others."""
    if length <= side:
        return [0]
    num_steps = int(np.ceil((length - side) / max(1, int(side * (1 - overlap)))))
    return [round(step * (length - side) / num_steps) for step in range(num_steps + 1)]


def merged(parts: Sequence[tuple[Tile, DrawnBoxes]], size: tuple[int, int]) -> DrawnBoxes:
    """What was found in the parts of a picture as one list, best first, in the picture's pixels.

    Class by class, of boxes that overlap by half the surest stays; a box that a tile's edge cut off goes where a
    whole one covers most of it.

    Args:
        parts: Each part with what was found in it, in its own pixels.
        size: (width, height) of the picture.
    """
    if len(parts) == 1:
        return parts[0][1]
    offsets = [np.array([tile.x, tile.y, tile.x, tile.y], np.float32) for tile, _ in parts]
    boxes = np.concatenate([found.boxes_xyxy + offset for (_, found), offset in zip(parts, offsets, strict=True)])
    labels = np.concatenate([found.labels for _, found in parts])
    scores = np.concatenate([_scores(found) for _, found in parts])
    cut = np.concatenate([_is_cut(found.boxes_xyxy, tile, size) for tile, found in parts])
    keep = ~_stood_for(boxes, labels, cut)
    boxes, labels, scores = boxes[keep], labels[keep], scores[keep]
    chosen = batched_nms(torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(labels), _NMS_IOU).numpy()
    return DrawnBoxes(boxes[chosen], labels[chosen], scores[chosen])


def _scores(found: DrawnBoxes) -> NDArray[np.float32]:
    assert found.scores is not None  # predictions have scores
    return found.scores


def _is_cut(boxes: NDArray[np.float32], tile: Tile, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which boxes end at an edge of the tile that isn't the picture's, (N,)."""
    width, height = size
    return (
        ((boxes[:, 0] < _CUT_WITHIN) & (tile.x > 0))
        | ((boxes[:, 1] < _CUT_WITHIN) & (tile.y > 0))
        | ((boxes[:, 2] > tile.width - _CUT_WITHIN) & (tile.x + tile.width < width))
        | ((boxes[:, 3] > tile.height - _CUT_WITHIN) & (tile.y + tile.height < height))
    )


def _stood_for(
    boxes: NDArray[np.float32], labels: NDArray[np.int64], cut: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which cut boxes a whole one of the same class covers, (N,)."""
    gone = np.zeros(len(boxes), dtype=np.bool_)
    for label in np.unique(labels[cut]):
        pieces, whole = np.flatnonzero(cut & (labels == label)), np.flatnonzero(~cut & (labels == label))
        if not len(whole):
            continue
        low = np.maximum(boxes[pieces, None, :2], boxes[None, whole, :2])
        high = np.minimum(boxes[pieces, None, 2:], boxes[None, whole, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=2)
        area = np.maximum(1e-6, (boxes[pieces, 2:] - boxes[pieces, :2]).prod(axis=1))
        gone[pieces] = (shared / area[:, None] > _COVERED).any(axis=1)
    return gone

"""Four training images put together into one.

The result is as large as the first image, so it costs no more memory than that one. A point near the
middle divides it; each image fills its quarter wholly, at the largest part of it that has the
quarter's proportions, so objects come out about half as large and in new company.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from engine.data.picture import Picture

NUM_PARTNERS = 3
"""Images that come beside the first."""
# Where the dividing point may lie, as shares of width and height.
_MIDDLE = (0.35, 0.65)


def mosaic(
    picture: Picture, partners: Sequence[Picture], random: np.random.Generator, min_visible: float
) -> Picture:
    """Put a picture and three others together.

    Args:
        picture: The first one; the result has its size.
        partners: Three others, of any sizes.
        random: Where chance comes from.
        min_visible: An object of which less than this share is left is dropped.

    Returns:
        The four in one, in random places; the picture itself when it is too small to be divided.
    """
    height, width = picture.height, picture.width
    if min(height, width) < 2:
        return picture
    row, column = (_between(random.uniform(*_MIDDLE), size) for size in (height, width))
    corners = [(0, 0, row, column), (0, column, row, width), (row, 0, height, column), (row, column, height, width)]
    four = [picture, *partners]
    canvas = torch.empty_like(picture.image, memory_format=torch.contiguous_format)
    parts = []
    for index, (top, left, bottom, right) in zip(random.permutation(len(four)).tolist(), corners, strict=True):
        part = _filling(four[index], bottom - top, right - left, random, min_visible)
        canvas[:, top:bottom, left:right] = part.image
        shift = torch.tensor([left, top, left, top], dtype=torch.float32)
        parts.append(replace(part, boxes_xyxy=part.boxes_xyxy + shift))
    return Picture(
        canvas, torch.cat([part.boxes_xyxy for part in parts]), torch.cat([part.labels for part in parts]),
        torch.cat([part.visible for part in parts]), sum(part.num_dropped for part in parts),
    )  # fmt: skip


def _between(share: float, size: int) -> int:
    """A share of a size of 2 or more, in whole pixels, with something on either side."""
    return min(size - 1, max(1, round(share * size)))


def _filling(
    picture: Picture, height: int, width: int, random: np.random.Generator, min_visible: float
) -> Picture:
    """The largest part of a picture with the proportions of (height, width), scaled to it."""
    scale = max(height / picture.height, width / picture.width)
    rows = min(picture.height, max(1, round(height / scale)))
    columns = min(picture.width, max(1, round(width / scale)))
    top = int(random.integers(picture.height - rows + 1))
    left = int(random.integers(picture.width - columns + 1))
    return picture.cut(top, left, rows, columns, min_visible).resized(height, width)

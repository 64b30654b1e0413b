"""Draws a picture with half and quarter blocks: two colours a cell, where no pixels can be sent.

Each cell stands for 2 x 2 pixels; of the eight ways to split them in two groups the one that loses
least is taken. That shows edges, such as those of boxes, twice as sharp as half blocks alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Colours = NDArray[np.uint8]

# Block character -> which of upper left, upper right, lower left, lower right it covers.
_SHAPES = {
    " ": (0, 0, 0, 0), "▘": (1, 0, 0, 0), "▝": (0, 1, 0, 0), "▖": (0, 0, 1, 0), "▗": (0, 0, 0, 1),
    "▀": (1, 1, 0, 0), "▌": (1, 0, 1, 0), "▚": (1, 0, 0, 1),
}  # fmt: skip
_CHARS = np.array(list(_SHAPES), dtype="<U1")
_COVERS = np.array(list(_SHAPES.values()), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Blocks:
    """A drawn picture: characters (rows, columns), and their two colours (rows, columns, 3)."""

    chars: NDArray[np.str_]
    fore: Colours
    back: Colours


def fitted(image_size: tuple[int, int], width: int, height: int, cell_ratio: float = 2.0) -> tuple[int, int]:
    """The largest size in cells with the picture's proportions.

    Args:
        image_size: Pixels, (width, height).
        width: Columns there are.
        height: Rows there are.
        cell_ratio: Height of a cell over its width.
    """
    image_width, image_height = image_size
    scale = min(width / image_width, height * cell_ratio / image_height)
    return max(1, round(image_width * scale)), max(1, round(image_height * scale / cell_ratio))


def draw_blocks(image: Image.Image, columns: int, rows: int) -> Blocks:
    """Draw an RGB picture into that many cells, whatever its proportions."""
    small = image.resize((columns * 2, rows * 2), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float32).reshape(rows, 2, columns, 2, 3)
    quads = pixels.transpose(0, 2, 1, 3, 4).reshape(rows, columns, 4, 3)
    covered = _COVERS.sum(axis=1)[:, None]
    fore = np.einsum("sq,rcqk->rcsk", _COVERS, quads) / np.maximum(covered, 1)
    back = np.einsum("sq,rcqk->rcsk", 1 - _COVERS, quads) / (4 - covered)
    # What a split keeps of the differences within the cell (between-group sum of squares).
    kept = (covered * fore**2 + (4 - covered) * back**2).sum(axis=3)
    shape = kept.argmax(axis=2)
    chosen = shape[:, :, None, None]
    return Blocks(
        _CHARS[shape],
        np.take_along_axis(fore, chosen, axis=2)[:, :, 0].astype(np.uint8),
        np.take_along_axis(back, chosen, axis=2)[:, :, 0].astype(np.uint8),
    )

"""The shape of anything on the desk, and what several of them share: keys and texture sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from engine.sample.brush import Brush, Rgb
from engine.sample.space import Points
from engine.sample.textures import ink


@dataclass(frozen=True, eq=False)
class Prop:
    """Something that can stand on the desk, in its own frame.

    Attributes:
        name: The class it is labelled with; None for clutter.
        half: Half the size of its footprint, centimetres along x and y.
        height: Centimetres; things lower than about a centimetre may lie under others.
        solids: Convex sets of points (N, 3): together they bound what is painted and cast the shadow.
        paint: Paints it.
        shift: The footprint's middle; a lid or a handle overhangs on one side only.
    """

    name: str | None
    half: tuple[float, float]
    height: float
    solids: tuple[Points, ...]
    paint: Callable[[Brush], None]
    shift: tuple[float, float] = (0.0, 0.0)


def draw_keys(
    draw: ImageDraw.ImageDraw,
    box: tuple[float, float, float, float],
    rows: tuple[tuple[float, ...], ...],
    colour: Rgb,
    *,
    relief: bool = True,
    accent: Rgb | None = None,
) -> None:
    """Draw rows of keys of the given relative widths; with relief they have bright tops."""
    left, top, right, bottom = box
    pitch = (bottom - top) / len(rows)
    gap = max(pitch * 0.12, 1.0)
    plain = _key_inks(colour, relief=relief)
    marked = plain if accent is None else _key_inks(accent, relief=relief)
    for row, widths in enumerate(rows):
        unit = (right - left) / sum(widths)
        x, y = left, top + row * pitch
        for width in widths:
            cell = (x + gap / 2, y + gap / 2, x + width * unit - gap / 2, y + pitch - gap / 2)
            _draw_key(draw, cell, marked if 1.3 < width < 4 else plain)
            x += width * unit


def _key_inks(colour: Rgb, *, relief: bool) -> tuple[tuple[int, int, int], ...]:
    """Return the inks of a key's skirt, its top and its legend."""
    key = np.array(colour)
    legend = key * 0.45 if sum(colour) > 330 else key + 95
    return ink(key * 0.7 if relief else key), ink(key), ink(legend)


def _draw_key(
    draw: ImageDraw.ImageDraw,
    cell: tuple[float, float, float, float],
    inks: tuple[tuple[int, int, int], ...],
) -> None:
    x0, y0, x1, y1 = cell
    if x1 - x0 < 1 or y1 - y0 < 1:
        return
    skirt, top, legend = inks
    draw.rectangle(cell, fill=skirt)
    inset = (y1 - y0) * 0.14
    if skirt != top and min(x1 - x0, y1 - y0) > 3 * inset + 1:
        draw.rectangle((x0 + inset, y0 + inset / 2, x1 - inset, y1 - 2 * inset), fill=top)
    if y1 - y0 > 7:
        x, y, r = x0 + (y1 - y0) * 0.4, (y0 + y1) / 2 - inset / 2, max((y1 - y0) * 0.09, 0.5)
        draw.rectangle((x - r, y - 2 * r, x + r, y + r), fill=legend)


def texture_size(brush: Brush, half: tuple[float, float]) -> tuple[int, int]:
    """Return the pixels a face of this half size needs; more would alias when laid down."""
    scale = min(max(brush.scale, 2.0), 30.0)
    return max(round(2 * half[0] * scale), 16), max(round(2 * half[1] * scale), 12)


def rgb(colour: Points | Rgb) -> Rgb:
    """Return a colour as three plain numbers."""
    red, green, blue = np.asarray(colour, dtype=float).tolist()
    return red, green, blue

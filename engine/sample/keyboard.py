"""A keyboard: compact, without a number pad, or full."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from engine.sample.brush import Brush, Rgb, block, rounded
from engine.sample.prop import Prop, draw_keys, texture_size
from engine.sample.space import turn_x
from engine.sample.textures import ink, round_corners, vivid

_BOARD_ROWS: tuple[tuple[float, ...], ...] = (
    (*(1.0,) * 13, 2.0),
    (1.5, *(1.0,) * 12, 1.5),
    (1.75, *(1.0,) * 11, 2.25),
    (2.25, *(1.0,) * 10, 2.75),
    (1.25, 1.25, 1.25, 6.25, 1.25, 1.25, 1.25, 1.25),
)
_KEY_SETS: tuple[tuple[Rgb, Rgb], ...] = (
    ((238, 238, 236), (204, 206, 208)),
    ((44, 45, 50), (26, 26, 30)),
    ((70, 72, 78), (44, 45, 50)),
    ((226, 220, 200), (190, 182, 160)),
    ((36, 37, 42), (168, 170, 176)),
    ((214, 222, 226), (92, 112, 134)),
    ((240, 226, 220), (196, 142, 140)),
)


def keyboard(rng: np.random.Generator) -> Prop:
    """Return a keyboard: compact, without a number pad, or full."""
    pads = int(rng.choice([0, 1, 2], p=[0.35, 0.3, 0.35]))
    has_function_row = pads > 0 or rng.random() < 0.5
    depth = float(rng.uniform(12.0, 14.5)) * (1.0 if has_function_row else 0.87)
    width = (30.5, 36.5, 44.0)[pads] * float(rng.uniform(0.93, 1.04))
    thick, tilt = float(rng.uniform(0.8, 2.4)), math.radians(float(rng.uniform(1.0, 6.0)))
    key, case = _KEY_SETS[rng.integers(len(_KEY_SETS))]
    accent = vivid(rng) if rng.random() < 0.25 else None
    half, lean = (width / 2, depth / 2), turn_x(tilt)
    lift = (0.0, 0.0, half[1] * math.sin(tilt))

    def paint(brush: Brush) -> None:
        tilted = brush.within(brush.frame.child(lift, lean))
        tilted.prism(rounded(half, 0.9), 0.0, thick, case)
        size = texture_size(tilted, half)
        texture = Image.new("RGB", size, ink(case))
        _draw_board(ImageDraw.Draw(texture), size, pads, key, accent, top_row=has_function_row)
        tilted.top(round_corners(texture, size[1] * 0.06), half, thick)

    body = block(half, 0.0, thick) @ lean.T + np.array(lift)
    return Prop("keyboard", half, thick + 2 * lift[2], (body,), paint)


def _draw_board(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    pads: int,
    key: Rgb,
    accent: Rgb | None,
    *,
    top_row: bool,
) -> None:
    width, height = size
    edge = height * 0.06
    left, right = edge, width - edge
    rows = 6 if top_row else 5
    pitch = (height - 2 * edge) / (rows + (0.25 if top_row else 0.0))
    main = right - (right - left) * (0.0, 0.175, 0.34)[pads]
    keys_top = height - edge - 5 * pitch
    if top_row:
        for first in range(3):
            x = left + (main - left) * (0.12 + 0.3 * first)
            cell = (x, edge, x + (main - left) * 0.27, edge + pitch)
            draw_keys(draw, cell, ((1.0,) * 4,), key)
        draw_keys(draw, (left, edge, left + (main - left) * 0.07, edge + pitch), ((1.0,),), accent or key)
    draw_keys(draw, (left, keys_top, main, height - edge), _BOARD_ROWS, key, accent=accent)
    unit = (right - left) * 0.05
    if pads:
        x = main + unit * 0.25
        draw_keys(draw, (x, keys_top, x + 3 * unit, keys_top + 2 * pitch), ((1.0,) * 3,) * 2, key)
        arrows = height - edge - 2 * pitch
        draw_keys(draw, (x + unit, arrows, x + 2 * unit, arrows + pitch), ((1.0,),), key)
        draw_keys(draw, (x, arrows + pitch, x + 3 * unit, height - edge), ((1.0,) * 3,), key)
    if pads == 2:
        x = right - unit * 3.1
        draw_keys(draw, (x, keys_top, right, height - edge), ((1.0,) * 4,) * 5, key)

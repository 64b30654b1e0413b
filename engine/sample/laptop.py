"""An open laptop: a deck with keys and, hinged to it, a lid with a screen."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from engine.sample.brush import UP, Brush, Rgb, block, flat_corners, rounded
from engine.sample.prop import Prop, draw_keys, rgb, texture_size
from engine.sample.screens import screen
from engine.sample.space import turn_x
from engine.sample.textures import ink, round_corners, vivid

_SHELLS: tuple[Rgb, ...] = (
    (196, 198, 202),
    (142, 145, 150),
    (64, 66, 72),
    (36, 37, 41),
    (228, 228, 226),
    (206, 186, 164),
    (78, 96, 122),
)
_LAPTOP_ROWS: tuple[tuple[float, ...], ...] = (
    (1.0,) * 14,
    (*(1.0,) * 13, 1.5),
    (1.5, *(1.0,) * 13),
    (1.8, *(1.0,) * 11, 1.7),
    (2.2, *(1.0,) * 10, 2.3),
    (1.0, 1.0, 1.2, 5.5, 1.2, 1.0, 1.0, 1.0, 1.0),
)


def laptop(rng: np.random.Generator) -> Prop:
    """Return an open laptop, its screen towards -y."""
    width = float(rng.uniform(28.0, 36.0))
    depth, thick = width * float(rng.uniform(0.64, 0.72)), float(rng.uniform(1.2, 2.0))
    opening = math.radians(float(rng.uniform(92.0, 128.0)))
    shell = _SHELLS[rng.integers(len(_SHELLS))]
    bezel = (22, 22, 25) if rng.random() < 0.8 else rgb(np.array(shell) * 0.9)
    seed = int(rng.integers(2**32))
    half = (width / 2, depth / 2)
    hinge, lean = (0.0, depth / 2 - 0.4, thick), turn_x(math.pi - opening)
    lid = block((half[0], depth / 2), -0.7, 0.0) + np.array([0.0, depth / 2, 0.0])

    def paint(brush: Brush) -> None:
        raised = brush.within(brush.frame.child(hinge, lean))
        from_front = raised.faces_camera(np.zeros(3), UP)
        if from_front:
            _paint_lid(raised, half, shell, bezel, seed)
        _paint_base(brush, half, thick, shell, seed)
        if not from_front:
            _paint_lid(raised, half, shell, bezel, seed)

    lid_points = lid @ lean.T + np.array(hinge)
    solids = (block(half, 0.0, thick), lid_points)
    over = max(float(lid_points[:, 1].max()) - half[1], 0.0) / 2
    return Prop("laptop", (half[0], half[1] + over), depth, solids, paint, (0.0, over))


def _paint_lid(brush: Brush, half: tuple[float, float], shell: Rgb, bezel: Rgb, seed: int) -> None:
    rng = np.random.default_rng([seed, 1])
    outline = rounded(half, 1.1) + np.array([0.0, half[1]])
    brush.prism(outline, -0.6, 0.0, shell)
    size = texture_size(brush, half)
    front = Image.new("RGB", size, ink(bezel))
    edge = round(0.045 * size[0])
    shown = screen(rng, (max(size[0] - 2 * edge, 8), max(size[1] - round(2.6 * edge), 8)))
    front.paste(shown, (edge, edge))
    middle = np.array([0.0, half[1], 0.0])
    corners = flat_corners((half[0] - 0.2, half[1] - 0.2), 0.0) + middle
    brush.face(round_corners(front, size[0] * 0.03), corners, glows=True)
    back = Image.new("RGBA", size, (*ink(shell), 0))
    x, y, r = size[0] / 2, size[1] / 2, size[1] * 0.09
    mark = ink(np.array(shell) * 0.6 if sum(shell) > 300 else np.array(shell) + 90)
    ImageDraw.Draw(back).ellipse((x - r, y - r, x + r, y + r), fill=(*mark, 255))
    behind = flat_corners(half, -0.6)[[1, 0, 3, 2]] + middle
    brush.face(back, behind)


def _paint_base(brush: Brush, half: tuple[float, float], thick: float, shell: Rgb, seed: int) -> None:
    rng = np.random.default_rng([seed, 2])
    brush.prism(rounded(half, 1.1), 0.0, thick, shell)
    size = texture_size(brush, half)
    deck = Image.new("RGB", size, ink(shell))
    draw = ImageDraw.Draw(deck)
    width, height = size
    keys_dark = sum(shell) < 330 or rng.random() < 0.75
    key = (34, 35, 39) if keys_dark else (236, 236, 236)
    well = (width * 0.07, height * 0.1, width * 0.93, height * 0.55)
    draw.rectangle(well, fill=ink(np.array(shell) * 0.72))
    draw_keys(draw, well, _LAPTOP_ROWS, key, relief=False)
    pad = (width * 0.34, height * 0.62, width * 0.66, height * 0.94)
    draw.rounded_rectangle(
        pad, radius=width * 0.01, fill=ink(np.array(shell) * 0.9), outline=ink(np.array(shell) * 0.75)
    )
    if rng.random() < 0.3:
        spot = (width * 0.08, height * 0.68, width * 0.2, height * 0.88)
        draw.rectangle(spot, fill=ink(vivid(rng)))
    brush.top(round_corners(deck, width * 0.03), (half[0] - 0.15, half[1] - 0.15), thick)

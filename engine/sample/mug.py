"""A mug: the smallest and roundest of the labelled things."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import ImageDraw

from engine.sample.brush import UP, Brush, Rgb, ring
from engine.sample.prop import Prop, rgb
from engine.sample.space import Points
from engine.sample.textures import vivid

_GLAZES: tuple[Rgb, ...] = (
    (240, 238, 232),
    (236, 230, 216),
    (40, 44, 52),
    (186, 52, 48),
    (44, 86, 140),
    (58, 120, 104),
    (222, 168, 60),
    (126, 138, 148),
    (214, 140, 128),
    (98, 60, 44),
)
_DRINKS: tuple[Rgb, ...] = ((46, 26, 16), (118, 76, 46), (150, 84, 34), (178, 138, 100))


def mug(rng: np.random.Generator) -> Prop:
    """Return a mug: a turned body with a drink in it and a handle along its x axis."""
    radius, height = float(rng.uniform(3.7, 4.9)), float(rng.uniform(8.2, 11.0))
    foot = radius * float(rng.choice([1.0, 0.94, 0.78]))
    belly = radius * float(rng.uniform(0.98, 1.1))
    profile = np.array(
        [(foot * 0.92, 0.0), (foot, 0.5), ((foot + belly) / 2, height * 0.25),
         (belly, height * 0.5), (belly, height * 0.75), (radius, height)]
    )  # fmt: skip
    glaze = _GLAZES[rng.integers(len(_GLAZES))] if rng.random() < 0.75 else vivid(rng)
    skin = _mug_skin(rng, np.array(glaze), height)
    lining = np.array((238, 234, 226)) if rng.random() < 0.5 else np.array(glaze) * 0.92
    drink = _DRINKS[rng.integers(len(_DRINKS))] if rng.random() < 0.75 else None
    level = height * float(rng.uniform(0.68, 0.9))
    handle, thick = _handle_path(rng, belly * 0.98, height), float(rng.uniform(0.5, 0.75))

    def paint(brush: Brush) -> None:
        outward = np.array([1.0, 0.0, 0.0])
        handle_in_front = brush.faces_camera(outward * radius, outward)
        if not handle_in_front:
            brush.tube(handle, thick, rgb(glaze))
        _paint_opening(brush, profile, lining, drink, level)
        brush.revolve(profile, skin)
        _paint_rim(brush, radius, height, lining)
        if handle_in_front:
            brush.tube(handle, thick, rgb(glaze))

    angles = np.linspace(0, 2 * math.pi, 20)
    body = np.concatenate([ring(foot, 0.0, angles), ring(belly, height, angles)])
    arc = np.concatenate([handle + np.array([0, side, 0]) for side in (-thick, thick)])
    arc = np.concatenate([arc, arc + np.array([thick, 0, thick])])
    reach = (float(handle[:, 0].max()) + thick - radius) / 2
    return Prop("mug", (radius + reach, radius), height, (body, arc), paint, (reach, 0.0))


def _mug_skin(rng: np.random.Generator, glaze: Points, height: float) -> Callable[[Points, Points], Points]:
    """Return the pattern on a mug: plain, banded, two-toned, striped or with a picture."""
    other = np.array(vivid(rng)) if rng.random() < 0.7 else np.array((240.0, 236.0, 226.0))
    kind, where, width = rng.integers(5), rng.uniform(0.3, 0.7), rng.uniform(0.08, 0.2)
    spot = rng.uniform(0, 2 * math.pi)

    def skin(angle: Points, z: Points) -> Points:
        level = z / height
        marked = {
            1: np.abs(level - where) < width,
            2: level < where,
            3: np.sin(angle * 8 + spot) > 0.2,
            4: (np.cos(angle - spot) > 0.75) & (np.abs(level - 0.5) < 0.28),
        }.get(int(kind), np.zeros(z.shape, dtype=bool))
        return np.where(marked[..., None], other, glaze)

    return skin


def _handle_path(rng: np.random.Generator, radius: float, height: float) -> Points:
    reach = float(rng.uniform(2.6, 3.6))
    angles = np.linspace(-math.pi / 2, math.pi / 2, 13)
    square = float(rng.uniform(0.55, 1.0))  # 1 is an ellipse, less is closer to a D
    x = radius - 0.3 + reach * np.abs(np.cos(angles)) ** square
    z = height * (0.5 + 0.32 * np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** square)
    return np.stack([x, np.zeros_like(x), z], axis=-1)


def _paint_opening(brush: Brush, profile: Points, lining: Points, drink: Rgb | None, level: float) -> None:
    inner = profile * np.array([0.91, 1.0])
    brush.revolve(inner, lambda _, z: 0.78 * np.broadcast_to(lining, (*z.shape, 3)), inside=True)
    if drink is None:
        return
    radius = float(np.interp(level, inner[:, 1], inner[:, 0]))
    brush.disc(radius, level, rgb(np.array(drink) * 0.75))
    brush.disc(radius * 0.9, level, drink)
    brush.disc(radius * 0.3, level, rgb(np.array(drink) + 26), radius * 0.3, radius * 0.35)


def _paint_rim(brush: Brush, radius: float, height: float, lining: Points) -> None:
    """Draw the lip as a line around the opening, brighter than the lining: glaze pools there."""
    angles = np.linspace(0, 2 * math.pi, 41)
    pixels = [(x, y) for x, y in brush.pixels(ring(radius * 0.96, height, angles)).tolist()]
    width = max(round(radius * 0.09 * brush.scale), 1)
    lip = brush.shade(rgb(lining * 1.04 + 6), UP)
    ImageDraw.Draw(brush.patch).line(pixels, fill=lip, width=width)

"""Surfaces: noise, wood and other desk tops, walls, and the print on screens, pages and covers."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from engine.sample.brush import Rgb

Field = NDArray[np.float32]

WOODS: tuple[tuple[Rgb, Rgb], ...] = (
    ((214, 178, 132), (172, 128, 82)),
    ((181, 130, 84), (128, 82, 47)),
    ((122, 82, 54), (72, 45, 29)),
    ((228, 205, 172), (198, 168, 128)),
    ((160, 108, 66), (104, 62, 36)),
)
PLAINS: tuple[Rgb, ...] = (
    (226, 224, 219),
    (198, 199, 200),
    (92, 96, 101),
    (58, 62, 68),
    (205, 196, 180),
    (120, 136, 142),
)
WALLS: tuple[Rgb, ...] = (
    (214, 208, 196),
    (188, 198, 204),
    (170, 182, 168),
    (226, 222, 216),
    (112, 122, 134),
    (202, 178, 158),
)

_WOODEN = 0.62
"""Share of desks that are made of wood."""


def noise(rng: np.random.Generator, size: tuple[int, int], cells: tuple[int, int]) -> Field:
    """Return smooth noise about 0 with spread 1.

    Args:
        rng: Where the noise comes from.
        size: Pixels, (width, height).
        cells: Independent values across, (columns, rows): few make broad clouds.
    """
    grid = rng.standard_normal((cells[1], cells[0]), dtype=np.float32)
    image = Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def desk_top(rng: np.random.Generator, size: tuple[int, int], reach: tuple[float, float]) -> Image.Image:
    """Return a desk's surface, RGB: wood in two out of three, else laminate, cloth or stone.

    Args:
        rng: Where the pattern comes from.
        size: Pixels, (width, height); the grain of wood runs along the width.
        reach: Centimetres that the texture covers, (width, height).
    """
    return _wood(rng, size, reach) if rng.random() < _WOODEN else _plain(rng, size)


def _wood(rng: np.random.Generator, size: tuple[int, int], reach: tuple[float, float]) -> Image.Image:
    light, dark = (np.array(c, dtype=np.float32) for c in WOODS[rng.integers(len(WOODS))])
    along, across, height = int(reach[0] / 30) + 2, reach[1], size[1]
    rings = 1.3 * noise(rng, size, (along, int(across / 9) + 2))
    rings += 0.55 * noise(rng, size, (along, int(across / 2.5) + 2))
    grain = 0.8 * np.sin(2.6 * rings)
    grain += 0.5 * noise(rng, size, (2 * along, min(int(across * 2) + 2, height)))
    grain += 0.35 * noise(rng, size, (4 * along, height))
    board = np.arange(height) * int(rng.integers(1, int(across / 9) + 3)) // height
    grain += rng.normal(0.0, 0.45, int(board[-1]) + 1).astype(np.float32)[board][:, None]
    mix = np.clip(0.45 + rng.uniform(0.14, 0.26) * grain, -0.1, 1.1)[..., None]
    pixels = light * (1 - mix) + dark * mix
    seams = np.flatnonzero(np.diff(board))
    pixels[seams] *= 0.62
    pixels[seams + 1] *= 0.85
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _plain(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    colour = np.array(PLAINS[rng.integers(len(PLAINS))], dtype=np.float32)
    fine = rng.uniform(1.0, 7.0) * noise(rng, size, (size[0] // 2, size[1] // 2))
    broad = 4.0 * noise(rng, size, (6, 6))
    if rng.random() < 0.35:  # woven cloth: threads both ways
        fine += 5.0 * noise(rng, size, (size[0] // 2, 3)) + 5.0 * noise(rng, size, (3, size[1] // 2))
    pixels = colour + (fine + broad)[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def wall(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Return what lies behind the desk, RGB, out of focus: wall, frames, shelves, a window."""
    small = (max(size[0] // 4, 8), max(size[1] // 4, 8))
    colour = np.array(WALLS[rng.integers(len(WALLS))], dtype=np.float32)
    image = Image.fromarray(np.clip(colour + 5.0 * noise(rng, small, (4, 4))[..., None], 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 8))):
        x, y = rng.uniform(-0.1, 1.0) * small[0], rng.uniform(-0.1, 0.5) * small[1]
        across, down = rng.uniform(0.04, 0.3) * small[0], rng.uniform(0.08, 0.4) * small[1]
        tint = colour * rng.uniform(0.45, 1.2) + rng.normal(0, 18, 3)
        draw.rectangle((x, y, x + across, y + down), fill=ink(tint))
    blurred = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(2.0, 5.0))))
    return blurred.resize(size, Image.Resampling.BICUBIC)


def ink(colour: NDArray[np.floating] | Rgb) -> tuple[int, int, int]:
    """Return a colour clipped to whole numbers of 0..255."""
    red, green, blue = np.clip(np.asarray(colour, dtype=float), 0, 255).astype(int).tolist()
    return red, green, blue


def vivid(rng: np.random.Generator) -> Rgb:
    """Return a random clear colour."""
    rgb = colorsys.hsv_to_rgb(float(rng.random()), float(rng.uniform(0.25, 0.78)), float(rng.uniform(0.4, 0.92)))
    return rgb[0] * 255, rgb[1] * 255, rgb[2] * 255


def round_corners(texture: Image.Image, radius: float) -> Image.Image:
    """Return the texture as RGBA with its corners cut round."""
    mask = Image.new("L", texture.size, 0)
    box = (0, 0, texture.width - 1, texture.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius=radius, fill=255)
    rgba = texture.convert("RGBA")
    rgba.putalpha(mask)
    return rgba


def text_lines(
    draw: ImageDraw.ImageDraw,
    box: tuple[float, float, float, float],
    rng: np.random.Generator,
    inks: tuple[tuple[int, int, int], ...],
    line_height: float,
) -> None:
    """Fill a box with lines of words, drawn as bars: print that is too small to read."""
    left, y, right, bottom = box
    step = max(line_height, 2.0)
    while y + step * 0.5 < bottom:
        x = left + (rng.integers(0, 3) * step if len(inks) > 1 else 0.0)
        end = left + (right - left) * rng.uniform(0.35, 1.0)
        while x < end:
            word = rng.uniform(0.8, 3.2) * step
            colour = inks[rng.integers(len(inks))]
            draw.rectangle((x, y, min(x + word, right), y + step * 0.4), fill=colour)
            x += word + step * 0.45
        y += step


def page(rng: np.random.Generator, size: tuple[int, int], paper: Rgb) -> Image.Image:
    """Return a printed or written page, RGB."""
    image = Image.new("RGB", size, ink(paper))
    draw = ImageDraw.Draw(image)
    width, height = size
    tone = ink(np.array(paper) * rng.uniform(0.25, 0.6))
    if rng.random() < 0.25:
        for y in range(height // 12, height, max(height // 16, 3)):
            draw.line((0, y, width, y), fill=ink(np.array(paper) * 0.88))
    margin = 0.12 * width
    top = 0.1 * height
    if rng.random() < 0.6:
        draw.rectangle((margin, top, margin + 0.5 * width, top + 0.04 * height), fill=tone)
        top += 0.1 * height
    if rng.random() < 0.4:
        draw.rectangle((margin, top, width - margin, top + 0.28 * height), fill=ink(vivid(rng)))
        top += 0.34 * height
    text_lines(draw, (margin, top, width - margin, height * 0.92), rng, (tone,), height / 36)
    return image


def cover(rng: np.random.Generator, size: tuple[int, int], colour: Rgb) -> Image.Image:
    """Return a book's cover, RGB: a title, perhaps a picture or a band."""
    image = Image.new("RGB", size, ink(colour))
    draw = ImageDraw.Draw(image)
    width, height = size
    other = ink(vivid(rng))
    pale = ink(np.array(colour) * 0.2 + 190)
    kind = rng.integers(4)
    if kind == 0:
        draw.rectangle((0, height * 0.55, width, height * 0.8), fill=other)
    elif kind == 1:
        draw.ellipse((width * 0.2, height * 0.42, width * 0.8, height * 0.86), fill=other)
    elif kind == 2:
        draw.polygon(((0, height), (width, height * 0.45), (width, height)), fill=other)
    top = height * rng.uniform(0.08, 0.2)
    draw.rectangle((width * 0.15, top, width * 0.8, top + height * 0.06), fill=pale)
    draw.rectangle((width * 0.15, top + height * 0.1, width * 0.55, top + height * 0.13), fill=pale)
    draw.rectangle((0, 0, width * 0.04, height), fill=ink(np.array(colour) * 0.75))
    return image

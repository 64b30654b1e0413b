"""What else lies on a desk and carries no label: some of it like the labelled things.

A pot, a tin and a bowl are round like a mug; a tablet shines like a laptop; a calculator and a remote
control have keys like a keyboard. A detector has to tell them apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from engine.sample.brush import Brush, Rgb, block, flat_corners, ring, rounded
from engine.sample.prop import Prop, draw_keys, rgb, texture_size
from engine.sample.screens import screen
from engine.sample.space import Frame, Points, turn_x, turn_z
from engine.sample.textures import cover, ink, page, round_corners, vivid

_PAPERS: tuple[Rgb, ...] = ((246, 244, 238), (250, 250, 250), (244, 234, 206), (232, 238, 244))
_CERAMICS: tuple[Rgb, ...] = ((188, 106, 72), (232, 228, 220), (70, 78, 84), (150, 160, 150))
_BLACKS: tuple[Rgb, ...] = ((26, 26, 30), (48, 50, 56), (210, 212, 214), (96, 108, 128))


def _slab(
    half: tuple[float, float],
    thick: float,
    colour: Rgb,
    texture: Callable[[tuple[int, int]], Image.Image],
    *,
    corner: float = 0.3,
) -> Prop:
    """Return a flat thing with something on its upper face."""

    def paint(brush: Brush) -> None:
        brush.prism(rounded(half, corner), 0.0, thick, colour)
        face = texture(texture_size(brush, half))
        brush.top(round_corners(face, corner * face.width / (2 * half[0])), half, thick)

    return Prop(None, half, thick, (block(half, 0.0, thick),), paint)


def paper(rng: np.random.Generator) -> Prop:
    """Return a sheet of paper or a notebook page."""
    half = (10.5, 14.85) if rng.random() < 0.6 else (7.4, 10.5)
    colour, seed = _PAPERS[rng.integers(len(_PAPERS))], int(rng.integers(2**32))
    thick = float(rng.choice([0.05, 0.7]))
    return _slab(half, thick, colour, lambda size: page(np.random.default_rng(seed), size, colour))


def sticky_note(rng: np.random.Generator) -> Prop:
    """Return a small coloured note."""
    colour, seed = rgb(np.array(vivid(rng)) * 0.3 + 170), int(rng.integers(2**32))
    return _slab((3.8, 3.8), 0.1, colour, lambda size: page(np.random.default_rng(seed), size, colour))


def book(rng: np.random.Generator) -> Prop:
    """Return a closed book or a stack of them."""
    number = int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))
    parts, z = [], 0.0
    for _ in range(number):
        half = (float(rng.uniform(6.5, 9.5)), float(rng.uniform(9.5, 13.0)))
        thick, twist = float(rng.uniform(1.2, 3.6)), float(rng.normal(0, 0.12))
        parts.append((half, z, thick, twist, vivid(rng), int(rng.integers(2**32))))
        z += thick

    def paint(brush: Brush) -> None:
        for half, low, thick, twist, colour, seed in parts:
            turned = brush.within(brush.frame.child((0.0, 0.0, low), turn_z(twist)))
            turned.prism(rounded(half, 0.15), 0.0, thick, (232, 224, 204))
            turned.prism(rounded(half, 0.15), thick - 0.25, thick, colour)
            turned.prism(np.array([[-half[0], -half[1]], [-half[0] + 0.5, -half[1]],
                                   [-half[0] + 0.5, half[1]], [-half[0], half[1]]]),
                         0.0, thick, colour)  # fmt: skip
            size = texture_size(brush, half)
            turned.top(cover(np.random.default_rng(seed), size, colour), half, thick)

    widest = (max(p[0][0] for p in parts) + 0.8, max(p[0][1] for p in parts) + 0.8)
    return Prop(None, widest, z, (block(widest, 0.0, z),), paint)


def phone(rng: np.random.Generator) -> Prop:
    """Return a phone, its screen lit or dark."""
    return _glass_slab(rng, (3.6, 7.4), lit=rng.random() < 0.5)


def tablet(rng: np.random.Generator) -> Prop:
    """Return a tablet lying flat: as bright as a laptop's screen, but without a deck."""
    return _glass_slab(rng, (12.2, 8.8), lit=rng.random() < 0.7)


def _glass_slab(rng: np.random.Generator, half: tuple[float, float], *, lit: bool) -> Prop:
    seed, colour = int(rng.integers(2**32)), _BLACKS[rng.integers(len(_BLACKS))]

    def texture(size: tuple[int, int]) -> Image.Image:
        front = Image.new("RGB", size, (20, 20, 23))
        edge = max(round(min(size) * 0.05), 1)
        inner = (size[0] - 2 * edge, size[1] - 2 * edge)
        if lit and min(inner) > 4:
            front.paste(screen(np.random.default_rng(seed), inner), (edge, edge))
        else:
            shine = ((0, size[1]), (size[0] * 0.5, 0), (size[0] * 0.8, 0), (size[0] * 0.2, size[1]))
            ImageDraw.Draw(front).polygon(shine, fill=(44, 46, 52))
        return front

    return _slab(half, 0.8, colour, texture, corner=0.9)


def calculator(rng: np.random.Generator) -> Prop:
    """Return a calculator or a remote control: a few keys, but no keyboard."""
    remote = rng.random() < 0.4
    half = (2.3, 8.5) if remote else (3.8, 6.6)
    case = _BLACKS[rng.integers(len(_BLACKS))]
    key = (206, 206, 204) if sum(case) < 300 else (70, 72, 78)
    accent = vivid(rng)

    def texture(size: tuple[int, int]) -> Image.Image:
        front = Image.new("RGB", size, ink(case))
        draw = ImageDraw.Draw(front)
        width, height = size
        show = (width * 0.12, height * 0.07, width * 0.88, height * 0.24)
        draw.rectangle(show, fill=ink(accent) if remote else (158, 172, 152))
        rows = ((1.0,) * 3,) * 6 if remote else ((1.0,) * 4,) * 5
        draw_keys(draw, (width * 0.1, height * 0.3, width * 0.9, height * 0.95), rows, key)
        return front

    return _slab(half, 1.3, case, texture, corner=0.7)


def coaster(rng: np.random.Generator) -> Prop:
    """Return a round coaster."""
    radius, colour = float(rng.uniform(4.6, 5.6)), vivid(rng)
    angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)

    def paint(brush: Brush) -> None:
        brush.prism(ring(radius, 0.0, angles)[:, :2], 0.0, 0.5, colour)
        brush.disc(radius * 0.82, 0.5, rgb(np.array(colour) * 0.85))
        brush.disc(radius * 0.62, 0.5, rgb(np.array(colour) * 1.08))

    disc = np.concatenate([ring(radius, z, angles) for z in (0.0, 0.5)])
    return Prop(None, (radius, radius), 0.5, (disc,), paint)


def pen(rng: np.random.Generator) -> Prop:
    """Return a pen or a pencil."""
    length, radius, colour = float(rng.uniform(13, 17)), 0.42, vivid(rng)
    tip: Rgb = (214, 178, 134) if rng.random() < 0.4 else (44, 44, 48)

    def paint(brush: Brush) -> None:
        line = np.array([[-length / 2, 0, radius], [length / 2, 0, radius]])
        at = line[0] + (line[1] - line[0]) * np.array([[0.86], [0.94], [0.1]])
        brush.tube(np.array([line[0], at[0]]), radius, colour)
        brush.tube(at[:2], radius * 0.8, tip)
        brush.tube(np.array([at[1], line[1]]), radius * 0.35, (40, 40, 42))
        brush.tube(np.array([line[0], at[2]]), radius, rgb(np.array(colour) * 0.5))

    half = (length / 2, radius)
    return Prop(None, half, 2 * radius, (block(half, 0.0, 2 * radius),), paint)


def cable(rng: np.random.Generator) -> Prop:
    """Return a cable that wanders over the desk."""
    length = float(rng.uniform(22, 50))
    x = np.linspace(-length / 2, length / 2, 40)
    phases = rng.uniform(0, 2 * math.pi, 3)
    waves = [np.sin(x / length * turn * math.pi + phases[i]) for i, turn in enumerate((2, 4, 7))]
    y = rng.uniform(3, 8) * waves[0] + rng.uniform(1, 4) * waves[1] + waves[2]
    path = np.stack([x, y, np.full_like(x, 0.25)], axis=-1)
    colour = ((40, 40, 44), (228, 228, 226), (122, 124, 128))[rng.integers(3)]
    half = (length / 2, float(np.abs(y).max()) + 0.3)

    def paint(brush: Brush) -> None:
        brush.tube(path, 0.25, colour)

    pieces = tuple(path[start : start + 6] + np.array([[0, 0.2, 0.1]]) for start in range(0, 40, 5))
    reach = path + np.array([[0.0, -0.3, 0.0]])
    return Prop(None, half, 0.4, (*(p for p in pieces if len(p) > 2), reach[:1], reach[-1:]), paint)


def mouse(rng: np.random.Generator) -> Prop:
    """Return a computer mouse."""
    colour = ((36, 37, 41), (236, 236, 234), (96, 100, 108), vivid(rng))[rng.integers(4)]
    half, height = (3.1, 5.4), 2.9
    angles = np.linspace(0, math.pi / 2, 10)
    dome = np.stack([np.cos(angles) ** 0.6, np.sin(angles)], axis=-1)
    stretch = np.diag([half[0], half[1], height])

    def paint(brush: Brush) -> None:
        shell = brush.within(Frame(brush.frame.rotation @ stretch, brush.frame.origin))
        shell.revolve(dome, lambda _, z: np.broadcast_to(np.array(colour), (*z.shape, 3)))
        dark = rgb(np.array(colour) * 0.6)
        along = np.cos(angles[:-3]) ** 0.6
        seam = np.stack([0 * along, half[1] * along, height * np.sin(angles[:-3])], axis=-1)
        brush.tube(seam, 0.1, dark)
        brush.tube(seam[3:5], 0.3, (52, 52, 56))

    around = np.linspace(0, 2 * math.pi, 16)
    body = np.concatenate([ring(r, z, around) for r, z in ((1.0, 0.0), (0.94, 0.4), (0.5, 1.0))]) * stretch.diagonal()
    return Prop(None, half, height, (body,), paint)


def tin(rng: np.random.Generator) -> Prop:
    """Return a tin, a tumbler, a bowl or a pot of pens: round and open like a mug, without a handle."""
    radius, height = float(rng.uniform(3.4, 5.2)), float(rng.uniform(5.0, 12.0))
    foot = radius * float(rng.uniform(0.62, 1.0))
    colour = np.array(vivid(rng) if rng.random() < 0.6 else _CERAMICS[rng.integers(4)])
    band = np.array(vivid(rng))
    banded, pens = rng.random() < 0.4, int(rng.integers(0, 5)) if height > 8 else 0
    tips = [rng.uniform(-1, 1, 2) * radius for _ in range(pens)]
    inks = [vivid(rng) for _ in range(pens)]
    profile = np.array([(foot, 0.0), (foot + (radius - foot) * 0.6, height * 0.5), (radius, height)])

    def skin(_: Points, z: Points) -> Points:
        marked = (np.abs(z / height - 0.5) < 0.25) & banded
        return np.where(marked[..., None], band, colour)

    def paint(brush: Brush) -> None:
        inner = profile * np.array([0.93, 1.0])
        brush.revolve(inner, lambda _, z: np.broadcast_to(colour * 0.5, (*z.shape, 3)), inside=True)
        brush.disc(foot * 0.9, 0.3, rgb(colour * 0.35))
        for tip, tint in zip(tips, inks, strict=True):
            path = np.array([[tip[0] * 0.3, tip[1] * 0.3, 1.0], [tip[0], tip[1], height + 4.5]])
            brush.tube(path, 0.4, tint)
        brush.revolve(profile, skin)

    top = height + (5.0 if pens else 0.0)
    around = np.linspace(0, 2 * math.pi, 20)
    body = np.concatenate([ring(foot, 0.0, around), ring(radius, height, around)])
    return Prop(None, (radius, radius), height, (body, body * np.array([0.8, 0.8, top / height])), paint)


def plant(rng: np.random.Generator) -> Prop:
    """Return a potted plant."""
    radius, height = float(rng.uniform(4.0, 6.0)), float(rng.uniform(6.0, 9.0))
    pot = np.array(_CERAMICS[rng.integers(len(_CERAMICS))])
    green = np.array((46, 116, 54)) * rng.uniform(0.7, 1.3) + rng.normal(0, 14, 3)
    leaves = [_leaf(rng, radius, height) for _ in range(int(rng.integers(12, 26)))]
    shades = rng.uniform(0.7, 1.25, len(leaves))
    profile = np.array([(radius * 0.7, 0.0), (radius * 0.95, height * 0.86), (radius * 1.06, height * 0.88),
                        (radius * 1.06, height)])  # fmt: skip

    def paint(brush: Brush) -> None:
        brush.revolve(profile, lambda _, z: np.broadcast_to(pot, (*z.shape, 3)))
        brush.disc(radius * 0.96, height, (62, 44, 34))
        far_first = sorted(range(len(leaves)), key=lambda k: -_depth(brush, leaves[k]))
        for k in far_first:
            brush.polygon(leaves[k], (*ink(green * shades[k]), 255))
            vein = np.array([leaves[k][0], leaves[k][len(leaves[k]) // 2]])
            brush.tube(vein, 0.07, rgb(green * shades[k] * 1.2))

    points = np.concatenate(leaves)
    around = np.linspace(0, 2 * math.pi, 20)
    crown = (points, np.concatenate([ring(radius * k, z, around) for k, z in ((0.7, 0.0), (1.06, height))]))
    return Prop(None, (radius, radius), height, crown, paint)


def _leaf(rng: np.random.Generator, radius: float, height: float) -> Points:
    """Return a leaf's outline (N, 3): it grows from the pot's middle up and outwards."""
    turn, rise = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 1.3)
    length, width = rng.uniform(6, 11), rng.uniform(0.9, 2.2)
    along = np.linspace(0, 1, 7)
    spine = np.stack([along * math.cos(rise) * length, np.zeros(7),
                      height + length * (along * math.sin(rise) - 0.35 * along**2)], axis=-1)  # fmt: skip
    side = np.stack([np.zeros(7), np.sin(along * math.pi) * width, np.zeros(7)], axis=-1)
    outline = np.concatenate([spine + side, (spine - side)[::-1]])
    moved: Points = outline @ turn_z(float(turn)).T + np.array([0.3 * radius * math.cos(turn), 0, 0])
    return moved


def _depth(brush: Brush, points: Points) -> float:
    middle = brush.frame.to_world(points.mean(axis=0))
    return float((middle - brush.camera.eye) @ brush.camera.forward)


def picture_frame(rng: np.random.Generator) -> Prop:
    """Return a standing picture frame: upright like a laptop's lid, but alone."""
    half, height = (float(rng.uniform(6, 9)), 2.0), float(rng.uniform(10, 15))
    rim = ((60, 42, 30), (226, 224, 218), (34, 34, 38), (176, 142, 90))[rng.integers(4)]
    seed, lean = int(rng.integers(2**32)), turn_x(math.radians(float(rng.uniform(70, 80))))

    def paint(brush: Brush) -> None:
        upright = brush.within(brush.frame.child((0.0, 0.0, 0.0), lean))
        middle = np.array([0.0, height / 2, 0.0])
        size = texture_size(brush, (half[0], height / 2))
        photo = Image.new("RGB", size, (240, 238, 232))
        edge = max(round(size[0] * 0.09), 1)
        inner = (max(size[0] - 2 * edge, 4), max(size[1] - 2 * edge, 4))
        photo.paste(cover(np.random.default_rng(seed), inner, vivid(rng)), (edge, edge))
        upright.prism(rounded((half[0], height / 2), 0.1) + middle[:2], -0.9, 0.0, rim)
        upright.face(photo, flat_corners((half[0] - 0.9, height / 2 - 0.9), 0.0) + middle)

    board = (block((half[0], height / 2), -0.9, 0.0) + np.array([0, height / 2, 0])) @ lean.T
    return Prop(None, (half[0], 4.0), height, (board,), paint)


UNDERLAYS = (paper, paper, sticky_note, cable, coaster)
"""Flat enough that other things stand on them."""
OVERLAYS = (pen, paper, sticky_note, cable)
"""Light enough to lie across a keyboard or a laptop's deck."""
STANDING = (
    book, book, phone, tablet, calculator, pen, pen, mouse, mouse, tin, plant, picture_frame,
    coaster,
)  # fmt: skip

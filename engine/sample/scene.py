"""One sample picture: draw a seed's choices, render them, and measure the boxes from the pixels."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.sample.backdrop import backdrop, cast_shadow
from engine.sample.brush import Sprite, start_brush
from engine.sample.layout import Placed, arrange, wanted_names
from engine.sample.photo import develop
from engine.sample.space import Camera, Light, light_from, look_at_desk

SAMPLE_CLASSES = ("mug", "laptop", "keyboard")
LANDSCAPE, PORTRAIT = (320, 240), (240, 320)

_SUPERSAMPLE = 2
_EMPTY_SHARE = 0.05
_PORTRAIT_SHARE = 0.2
_LEAST_SEEN = 0.4
"""A labelled thing of which less is seen, beside its neighbours or in the frame, is taken away."""
_SMALLEST_SIDE = 7
"""Pixels; a thing with a smaller box is taken away too: nobody would label it."""
_REDRAWS = 8
"""How often a picture is drawn anew when nothing labelled found a place on it; few need one."""


@dataclass(frozen=True)
class SampleObject:
    """A labelled thing in a picture.

    Attributes:
        name: One of ``SAMPLE_CLASSES``.
        box_xyxy: Whole pixels with 0 <= xmin < xmax <= width, tight around what is seen of it.
        truncated: The picture's edge cuts it off.
        occluded: Something stands in front of a part of it.
        difficult: It is small, or little of it is seen.
    """

    name: str
    box_xyxy: tuple[int, int, int, int]
    truncated: bool
    occluded: bool
    difficult: bool


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn picture, RGB, what is on it, and the quality at which its JPEG is to be saved."""

    image: Image.Image
    objects: tuple[SampleObject, ...]
    jpeg_quality: int


@dataclass(frozen=True, eq=False)
class Rendered:
    """A rendering before it becomes a photo.

    Attributes:
        canvas: RGB, twice the size of the picture.
        owner: Of each canvas pixel, one more than the index of the thing seen there; 0 is the desk.
        whole: Canvas pixels each thing would cover with nothing in front, beyond the frame included.
        in_frame: The same within the frame.
    """

    canvas: Image.Image
    owner: NDArray[np.uint8]
    whole: tuple[int, ...]
    in_frame: tuple[int, ...]


def draw_scene(seed: int, split: str, index: int, size: tuple[int, int] | None = None) -> Scene:
    """Draw one picture; it depends on the arguments and on nothing else.

    Args:
        seed: The data set's seed, zero or more.
        split: ``train``, ``val`` or ``test``; only ``train`` has pictures that are meant to show no object.
        index: Zero-based number of the picture in its split.
        size: Pixels, (width, height); None draws 320x240 or, in one of five, 240x320.
    """
    rng = _generator(seed, split, index)
    upright = rng.random() < _PORTRAIT_SHARE
    wanted = size or (PORTRAIT if upright else LANDSCAPE)
    if is_empty(seed, split, index):
        return _draw(rng, wanted, ())
    scene = _draw(rng, wanted, wanted_names(rng))
    for _ in range(_REDRAWS):
        if scene.objects:
            break
        scene = _draw(rng, wanted, wanted_names(rng))
    return scene


def _draw(rng: np.random.Generator, size: tuple[int, int], names: tuple[str, ...]) -> Scene:
    width, height = size
    camera = _camera(rng, (width * _SUPERSAMPLE, height * _SUPERSAMPLE), len(names))
    light = _light(rng)
    things = arrange(rng, camera, names)
    ground = backdrop(rng, camera)
    things, rendered = _render_what_shows(ground, camera, light, things)
    return Scene(
        image=develop(rng, rendered.canvas, size),
        objects=measure(things, rendered),
        jpeg_quality=int(rng.integers(68, 95)),
    )


def is_empty(seed: int, split: str, index: int) -> bool:
    """Say whether a picture shows clutter only: some of the training pictures do."""
    chance = _generator(seed, f"{split} empty", index).random()
    return bool(chance < _EMPTY_SHARE) and split == "train"


def _generator(seed: int, purpose: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), index])


def _camera(rng: np.random.Generator, size: tuple[int, int], crowd: int) -> Camera:
    """Return a camera that stands back further, the more there is to see."""
    return look_at_desk(
        size,
        distance=float(rng.uniform(36, 50) + 7.0 * crowd),
        elevation=math.radians(float(rng.triangular(26, 44, 82))),
        roll=float(rng.normal(0.0, 0.05)),
        zoom=float(rng.uniform(0.85, 1.15)),
    )


def _light(rng: np.random.Generator) -> Light:
    hard = float(rng.random())
    return light_from(
        azimuth=float(rng.uniform(0, 2 * math.pi)),
        elevation=math.radians(float(rng.uniform(35, 75))),
        ambient=0.72 - 0.3 * hard,
        shadow=0.3 + 0.3 * hard,
        softness=0.3 - 0.22 * hard,
    )


def _render_what_shows(
    ground: Image.Image, camera: Camera, light: Light, things: tuple[Placed, ...]
) -> tuple[tuple[Placed, ...], Rendered]:
    """Render; take away labelled things that are hardly seen, and render again without them."""
    rendered = render(ground, camera, light, things)
    kept = tuple(t for i, t in enumerate(things) if t.prop.name is None or _shows(i, rendered))
    if len(kept) == len(things):
        return things, rendered
    return _render_what_shows(ground, camera, light, kept)


def render(ground: Image.Image, camera: Camera, light: Light, things: tuple[Placed, ...]) -> Rendered:
    """Paint the things, in order, over a copy of the ground."""
    canvas, owner = ground.copy(), Image.new("L", ground.size, 0)
    whole, in_frame = [], []
    for number, thing in enumerate(things, start=1):
        cast_shadow(canvas, camera, light, thing)
        sprite = _sprite(camera, light, thing)
        if sprite is None:
            whole.append(0)
            in_frame.append(0)
            continue
        alpha = sprite.image.getchannel("A")
        canvas.paste(sprite.image, sprite.offset, sprite.image)
        solid = alpha.point([0] * 128 + [255] * 128)
        owner.paste(number, sprite.offset, solid)
        whole.append(solid.histogram()[255])
        in_frame.append(_inside(solid, sprite.offset, camera.size))
    return Rendered(canvas, np.asarray(owner), tuple(whole), tuple(in_frame))


def _sprite(camera: Camera, light: Light, thing: Placed) -> Sprite | None:
    brush = start_brush(camera, light, thing.frame, thing.prop.solids)
    if brush is None:
        return None
    thing.prop.paint(brush)
    return Sprite(brush.patch, brush.offset)


def _inside(mask: Image.Image, offset: tuple[int, int], size: tuple[int, int]) -> int:
    """Return how many set pixels of a mask lie within the frame."""
    left, top = offset
    box = (max(-left, 0), max(-top, 0), min(size[0] - left, mask.width), min(size[1] - top, mask.height))
    return mask.crop(box).histogram()[255]


def _shows(index: int, rendered: Rendered) -> bool:
    seen = int(np.count_nonzero(rendered.owner == index + 1))
    if seen < _LEAST_SEEN * max(rendered.whole[index], 1):
        return False
    left, top, right, bottom = visible_box(rendered.owner == index + 1)
    return min(right - left, bottom - top) >= _SMALLEST_SIDE


def measure(things: tuple[Placed, ...], rendered: Rendered) -> tuple[SampleObject, ...]:
    """Return the labelled things with the boxes of their visible pixels."""
    objects = []
    for index, thing in enumerate(things):
        if thing.prop.name is None:
            continue
        mask = rendered.owner == index + 1
        box = visible_box(mask)
        seen, inside = int(np.count_nonzero(mask)), rendered.in_frame[index]
        share = seen / rendered.whole[index]
        side = min(box[2] - box[0], box[3] - box[1])
        objects.append(
            SampleObject(
                name=thing.prop.name,
                box_xyxy=box,
                truncated=inside < 0.97 * rendered.whole[index],
                occluded=seen < 0.95 * inside,
                difficult=share < 0.55 or side < 2 * _SMALLEST_SIDE,
            )
        )
    return tuple(objects)


def visible_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the box, in picture pixels, of a mask on the canvas; all zeros where nothing is set.

    A picture pixel belongs to the thing when at least half of its canvas pixels do.
    """
    blocks = mask.reshape(mask.shape[0] // _SUPERSAMPLE, _SUPERSAMPLE, mask.shape[1] // _SUPERSAMPLE, _SUPERSAMPLE)
    covered = blocks.sum(axis=(1, 3)) * 2 >= _SUPERSAMPLE**2
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

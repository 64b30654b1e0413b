"""What stands where on a desk, and in which order it is painted.

Places are drawn in the picture and traced back to the desk, so that things are spread over the frame
and not over the desk. Standing things never run into each other; one still hides another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.sample.clutter import OVERLAYS, STANDING, UNDERLAYS, coaster
from engine.sample.keyboard import keyboard
from engine.sample.laptop import laptop
from engine.sample.mug import mug
from engine.sample.prop import Prop
from engine.sample.space import Camera, Frame, Points, stand

DESK_END = 70.0
"""Centimetres from the desk's origin to its far edge."""

Builder = Callable[[np.random.Generator], Prop]

_BUILDERS: dict[str, Builder] = {"mug": mug, "laptop": laptop, "keyboard": keyboard}
_TRIES = 40
_SMALLEST = {"mug": 5.6, "laptop": 2.2, "keyboard": 2.6}
"""Least pixels per centimetre, on a canvas drawn twice too large, at which a class is still seen well."""
_MOST = {"mug": 4, "laptop": 2, "keyboard": 2}


@dataclass(frozen=True, eq=False)
class Placed:
    """A prop, where it stands, and the corners (4, 2) of its footprint on the desk."""

    prop: Prop
    frame: Frame
    footprint: Points


def wanted_names(rng: np.random.Generator) -> tuple[str, ...]:
    """Return the classes to show, one to five objects, larger things first."""
    number = int(rng.choice([1, 2, 3, 4, 5], p=[0.22, 0.3, 0.26, 0.14, 0.08]))
    names: list[str] = []
    while len(names) < number:
        name = str(rng.choice(["mug", "laptop", "keyboard"], p=[0.4, 0.27, 0.33]))
        if names.count(name) < _MOST[name]:
            names.append(name)
    return tuple(sorted(names, key=["laptop", "keyboard", "mug"].index))


def arrange(rng: np.random.Generator, camera: Camera, names: tuple[str, ...]) -> tuple[Placed, ...]:
    """Return everything on the desk in painting order: what lies under, then far before near."""
    under = [
        _place(rng, camera, UNDERLAYS[rng.integers(len(UNDERLAYS))](rng), []) for _ in range(int(rng.integers(0, 3)))
    ]
    standing: list[Placed] = []
    for name in names:
        _add(standing, _place(rng, camera, _BUILDERS[name](rng), standing))
        if standing and standing[-1].prop.name == "mug" and rng.random() < 0.25:
            x, y = standing[-1].frame.origin[:2].tolist()
            under.append(_put(coaster(rng), x, y, 0.0))
    for _ in range(int(rng.integers(1, 6))):
        clutter = STANDING[rng.integers(len(STANDING))](rng)
        _add(standing, _place(rng, camera, clutter, standing))
    ordered = far_first(standing, camera.eye[:2])
    return tuple([p for p in under if p] + _with_overlays(rng, ordered))


def _add(standing: list[Placed], placed: Placed | None) -> None:
    if placed is not None:
        standing.append(placed)


def _place(rng: np.random.Generator, camera: Camera, prop: Prop, others: list[Placed]) -> Placed | None:
    """Return the prop at a free place in the picture, or None after too many tries."""
    margin = 0.18 if prop.name else 0.02
    for _ in range(_TRIES):
        pixel = rng.uniform(margin, 1 - margin, 2) * np.array(camera.size)
        x, y = camera.on_desk((float(pixel[0]), float(pixel[1])))
        placed = _put(prop, x, y, _yaw(rng, prop))
        if y > DESK_END - max(prop.half) or abs(x) > 2 * DESK_END:
            continue
        if camera.pixels_per_cm(placed.frame.origin) < _SMALLEST.get(prop.name or "", 0.0):
            continue
        if not any(_overlap(placed.footprint, other.footprint) for other in others):
            return placed
    return None


def _put(prop: Prop, x: float, y: float, yaw: float, z: float = 0.0) -> Placed:
    frame = stand(x, y, yaw, z)
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    local = signs * np.array(prop.half) + np.array(prop.shift)
    corners = np.concatenate([local, np.zeros((4, 1))], axis=1)
    return Placed(prop, frame, frame.to_world(corners)[:, :2])


def _yaw(rng: np.random.Generator, prop: Prop) -> float:
    """Return a turn as people leave things: laptops mostly face the camera, mugs turn anyhow."""
    turned = float(rng.normal(0.0, 0.35))
    if prop.name == "laptop" and rng.random() < 0.08:
        return turned + math.pi
    if prop.name == "keyboard" and rng.random() < 0.1:
        return float(rng.uniform(0, 2 * math.pi))
    if prop.name in {"laptop", "keyboard"} or prop.height > 9:
        return turned
    return float(rng.uniform(0, 2 * math.pi))


def _with_overlays(rng: np.random.Generator, ordered: list[Placed]) -> list[Placed]:
    """Lay a pen, a note or a sheet across some keyboards."""
    shown: list[Placed] = []
    for placed in ordered:
        shown.append(placed)
        if placed.prop.name == "keyboard" and rng.random() < 0.16:
            along = rng.uniform(-1, 1) * placed.prop.half[0]
            spot = placed.frame.to_world(np.array([along, rng.uniform(-1, 1) * 6.0, 0.0]))
            lying = OVERLAYS[rng.integers(len(OVERLAYS))](rng)
            turn = float(rng.uniform(0, 2 * math.pi))
            height = placed.prop.height * 0.8
            shown.append(_put(lying, float(spot[0]), float(spot[1]), turn, height))
    return shown


def far_first(standing: list[Placed], eye: Points) -> list[Placed]:
    """Order things so that none is painted over one that hides it.

    Two convex footprints that don't meet have a line between them: the one on the eye's side hides
    the other. Sorting by distance alone fails for a long keyboard beside a mug.
    """
    left, ordered = list(standing), []
    while left:
        by_distance = sorted(left, key=lambda p: -float(np.linalg.norm(p.frame.origin[:2] - eye)))
        free = (p for p in by_distance if not any(_hides(p.footprint, q.footprint, eye) for q in left if q is not p))
        chosen = next(free, by_distance[0])
        ordered.append(chosen)
        left.remove(chosen)
    return ordered


def _widest_gap(a: Points, b: Points) -> tuple[float, Points]:
    """Return the widest gap between two rectangles along any of their edges, and its unit axis a -> b."""
    edges = np.concatenate([a[[1, 2]] - a[[0, 1]], b[[1, 2]] - b[[0, 1]]])
    axes = np.stack([edges[:, 1], -edges[:, 0]], axis=-1) / np.linalg.norm(edges, axis=1, keepdims=True)
    axes = np.concatenate([axes, -axes])
    gaps = (b @ axes.T).min(axis=0) - (a @ axes.T).max(axis=0)
    widest = int(gaps.argmax())
    return float(gaps[widest]), axes[widest]


def _overlap(a: Points, b: Points) -> bool:
    return _widest_gap(a, b)[0] < 0


def _hides(a: Points, b: Points, eye: Points) -> bool:
    """Say whether ``a`` may hide part of ``b`` from the eye."""
    gap, axis = _widest_gap(a, b)
    edge_of_a = float((a @ axis).max())
    return float(eye @ axis) < edge_of_a + gap / 2

"""The small 3-D world behind a sample picture: frames, a pinhole camera and a light.

Lengths are centimetres; the desk is the plane z = 0, x runs right and y away from the camera.
Everything on the desk is projected by one camera, so that scale, foreshortening and occlusion agree
with each other as they do in a photo. This file draws nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

_NEAREST_CM = 4.0
"""Points closer than this, or behind the lens, are projected as if they were this far away."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A place in the world: local points turn by ``rotation`` and then move to ``origin``."""

    rotation: Points
    origin: Points

    def to_world(self, points: Points) -> Points:
        """Turn local points of shape (..., 3) into world points."""
        return points @ self.rotation.T + self.origin

    def child(self, origin: tuple[float, float, float], rotation: Points) -> Frame:
        """Return a frame given relative to this one."""
        return Frame(self.rotation @ rotation, self.to_world(np.array(origin)))


def turn_z(angle: float) -> Points:
    """Return the rotation by ``angle`` radians about the vertical axis."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def turn_x(angle: float) -> Points:
    """Return the rotation by ``angle`` radians about the x axis; positive lifts the far edge."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])


def stand(x: float, y: float, yaw: float, z: float = 0.0) -> Frame:
    """Return the frame of something standing on the desk at (x, y), turned by ``yaw`` radians."""
    return Frame(turn_z(yaw), np.array([x, y, z]))


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera that renders ``size`` pixels (width, height)."""

    size: tuple[int, int]
    eye: Points
    right: Points
    up: Points
    forward: Points
    focal: float

    def project(self, world: Points) -> Points:
        """Return the pixels, shape (..., 2), at which world points (..., 3) appear."""
        rays = world - self.eye
        depth = np.maximum(rays @ self.forward, _NEAREST_CM)
        x = self.size[0] / 2 + self.focal * (rays @ self.right) / depth
        y = self.size[1] / 2 - self.focal * (rays @ self.up) / depth
        return np.stack([x, y], axis=-1)

    def on_desk(self, pixel: tuple[float, float]) -> tuple[float, float]:
        """Return the desk point (x, y) seen at a pixel; above the horizon it is very far away."""
        across = (pixel[0] - self.size[0] / 2) / self.focal
        down = (pixel[1] - self.size[1] / 2) / self.focal
        ray = self.forward + across * self.right - down * self.up
        hit = self.eye - ray * (self.eye[2] / min(ray[2], -1e-3))
        return float(hit[0]), float(hit[1])

    def pixels_per_cm(self, world: Points) -> float:
        """Return the scale of the picture at a world point."""
        depth = float((world - self.eye) @ self.forward)
        return self.focal / max(depth, _NEAREST_CM)


def look_at_desk(size: tuple[int, int], distance: float, elevation: float, roll: float, zoom: float) -> Camera:
    """Return a camera that looks at the desk's origin.

    Args:
        size: Pixels rendered, (width, height).
        distance: Centimetres from the eye to the origin.
        elevation: Radians above the desk; pi / 2 looks straight down.
        roll: Radians by which the camera is held crooked.
        zoom: Focal length over the longer side of the picture; 1.0 is a phone's normal lens.
    """
    sin, cos = math.sin(elevation), math.cos(elevation)
    right, up = np.array([1.0, 0.0, 0.0]), np.array([0.0, sin, cos])
    return Camera(
        size=size,
        eye=distance * np.array([0.0, -cos, sin]),
        right=math.cos(roll) * right + math.sin(roll) * up,
        up=math.cos(roll) * up - math.sin(roll) * right,
        forward=np.array([0.0, cos, -sin]),
        focal=zoom * max(size),
    )


@dataclass(frozen=True, eq=False)
class Light:
    """One main light and what the room reflects.

    Attributes:
        direction: Unit vector towards the light.
        ambient: Share of the light that comes from everywhere, 0 to 1.
        shadow: Darkness of a cast shadow, 0 to 1.
        softness: Blur of a shadow per centimetre of height of what casts it.
    """

    direction: Points
    ambient: float
    shadow: float
    softness: float

    def on(self, normals: Points) -> Points:
        """Return the brightness of surfaces with these unit normals; the desk top has 1."""
        direct = np.maximum(normals @ self.direction, 0.0) / max(float(self.direction[2]), 0.35)
        brightness: Points = np.minimum(self.ambient + (1.0 - self.ambient) * direct, 1.3)
        return brightness


def light_from(azimuth: float, elevation: float, *, ambient: float, shadow: float, softness: float) -> Light:
    """Return a light at the given angles, in radians."""
    flat = math.cos(elevation)
    direction = np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)])
    return Light(direction, ambient, shadow, softness)


def homography(source: Points, target: Points) -> tuple[float, ...]:
    """Return Pillow's eight PERSPECTIVE coefficients that map four points onto four others.

    Args:
        source: (4, 2) pixels of the output picture.
        target: (4, 2) pixels of the input picture, in the same order.

    Raises:
        numpy.linalg.LinAlgError: Three of the points lie on a line.
    """
    rows, values = [], []
    for (x, y), (u, v) in zip(source.tolist(), target.tolist(), strict=True):
        rows.append([x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y])
        rows.append([0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y])
        values += [u, v]
    return tuple(np.linalg.solve(np.array(rows), np.array(values)).tolist())


def convex_hull(points: Points) -> Points:
    """Return the convex hull of (N, 2) points, in order (Andrew's monotone chain)."""
    ordered = sorted(map(tuple, points.tolist()))

    def chain(candidates: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        hull: list[tuple[float, ...]] = []
        for point in candidates:
            while len(hull) > 1 and _turns_right(hull[-2], hull[-1], point):
                hull.pop()
            hull.append(point)
        return hull[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def _turns_right(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) <= 0

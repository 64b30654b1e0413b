"""Painting one thing on the desk: prisms, surfaces of revolution, tubes and textured faces.

A brush paints into a patch of its own, larger than the picture where the thing leaves the frame: the
patch's alpha is the thing's mask, from which its box and its truncation are measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from engine.sample.space import Camera, Frame, Light, Points, homography

Rgb = tuple[float, float, float]
Paint = Callable[[Points, Points], Points]
"""Colours, shape (..., 3), of a surface of revolution at angles and heights of equal shape."""

UP = np.array([0.0, 0.0, 1.0])

_SIDES = 40
_SPECULAR_POWER = 18.0


@dataclass(frozen=True, eq=False)
class Sprite:
    """What a brush has painted: an RGBA patch and the canvas pixel of its top left corner."""

    image: Image.Image
    offset: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Brush:
    """Paints into ``patch`` what stands in ``frame``, seen by ``camera`` under ``light``."""

    camera: Camera
    light: Light
    frame: Frame
    patch: Image.Image
    offset: tuple[int, int]

    @property
    def scale(self) -> float:
        """Pixels per centimetre where the thing stands."""
        return self.camera.pixels_per_cm(self.frame.origin)

    def within(self, frame: Frame) -> Brush:
        """Return a brush that paints into the same patch from another frame."""
        return replace(self, frame=frame)

    def pixels(self, local: Points) -> Points:
        """Return patch pixels (..., 2) of local points (..., 3)."""
        moved: Points = self.camera.project(self.frame.to_world(local)) - np.array(self.offset)
        return moved

    def faces_camera(self, point: Points, normal: Points) -> bool:
        """Say whether a surface at a local point with this local normal can be seen."""
        return bool(self._facing(point, normal) > 0)

    def _facing(self, points: Points, normals: Points) -> Points:
        towards_eye = self.camera.eye - self.frame.to_world(points)
        facing: Points = np.sum(self._turned(normals) * towards_eye, axis=-1)
        return facing

    def _turned(self, normals: Points) -> Points:
        """Return unit normals in the world; right for stretched frames too, hence the inverse."""
        return _unit(normals @ np.linalg.inv(self.frame.rotation))

    def shade(self, colour: Rgb, normal: Points) -> tuple[int, ...]:
        """Return the colour of a surface with this local normal under the light."""
        brightness = float(self.light.on(self._turned(normal)))
        return to_ink(np.array(colour) * brightness)

    def polygon(self, local: Points, ink: tuple[int, ...]) -> None:
        """Fill a polygon of local points (N, 3)."""
        ImageDraw.Draw(self.patch).polygon(_path(self.pixels(local)), fill=ink)

    def prism(self, outline: Points, low: float, high: float, colour: Rgb) -> None:
        """Paint a convex slab: ``outline`` (N, 2), anticlockwise, from ``low`` to ``high``."""
        bottom, top = raise_to(outline, low), raise_to(outline, high)
        edges = np.roll(outline, -1, axis=0) - outline
        normals = np.stack([edges[:, 1], -edges[:, 0], np.zeros(len(edges))], axis=-1)
        for index in np.flatnonzero(self._facing(top, normals) > 0):
            after = (index + 1) % len(outline)
            side = np.array([bottom[index], bottom[after], top[after], top[index]])
            self.polygon(side, self.shade(colour, normals[index]))
        if self.faces_camera(top[0], UP):
            self.polygon(top, self.shade(colour, UP))
        else:
            self.polygon(bottom, self.shade(colour, -UP))

    def face(self, texture: Image.Image, corners: Points, *, glows: bool = False) -> None:
        """Lay a texture on a flat face; from behind, nothing is painted.

        Args:
            texture: RGB or RGBA.
            corners: (4, 3) local points of the texture's corners, clockwise from the top left.
            glows: The face gives its own light and is not shaded, as a screen does.
        """
        pixels = self.pixels(corners)
        if _signed_area(pixels) < 1.0:
            return
        normal = np.cross(corners[3] - corners[0], corners[1] - corners[0])
        lit = texture if glows else brighten(texture, float(self.light.on(self._turned(normal))))
        low = np.maximum(np.floor(pixels.min(axis=0)), 0).astype(int)
        high = np.minimum(np.ceil(pixels.max(axis=0)) + 1, self.patch.size).astype(int)
        if (high <= low).any():
            return
        width, height = texture.size
        target = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=float)
        warped = lit.convert("RGBA").transform(
            (int(high[0] - low[0]), int(high[1] - low[1])),
            Image.Transform.PERSPECTIVE,
            homography(pixels - low, target),
            Image.Resampling.BILINEAR,
        )
        self.patch.alpha_composite(warped, (int(low[0]), int(low[1])))

    def top(self, texture: Image.Image, half: tuple[float, float], z: float) -> None:
        """Lay a texture on the horizontal face of half size ``half`` at height ``z``."""
        self.face(texture, flat_corners(half, z))

    def revolve(self, profile: Points, paint: Paint, *, inside: bool = False) -> None:
        """Paint a surface of revolution about the local z axis.

        Args:
            profile: (M, 2) radius and height, from the bottom up.
            paint: Colours of the surface before shading.
            inside: Paint the inner side, as of a mug's opening.
        """
        angles = np.linspace(0.0, 2 * math.pi, _SIDES + 1)
        middles = (angles[1:] + angles[:-1]) / 2
        rings = np.stack([ring(r, z, angles) for r, z in profile])
        normals = _revolved_normals(np.diff(profile, axis=0), middles) * (-1 if inside else 1)
        centres = (rings[:-1, :-1] + rings[1:, 1:]) / 2
        world = self._turned(normals)
        base = paint(np.broadcast_to(middles, centres.shape[:2]), centres[..., 2])
        shine = 90.0 * np.maximum(world @ self._halfway(), 0.0) ** _SPECULAR_POWER
        colours = base * self.light.on(world)[..., None] + shine[..., None] * (not inside)
        seen = self._facing(centres, normals) > 0
        pixels, draw = self.pixels(rings), ImageDraw.Draw(self.patch)
        for low, side in np.argwhere(seen):
            quad = pixels[[low, low, low + 1, low + 1], [side, side + 1, side + 1, side]]
            draw.polygon(_path(quad), fill=to_ink(colours[low, side]))

    def _halfway(self) -> Points:
        """Return the normal at which the light would be mirrored into the eye."""
        return _unit(self.light.direction + _unit(self.camera.eye - self.frame.origin))

    def disc(self, radius: float, z: float, colour: Rgb, x: float = 0.0, y: float = 0.0) -> None:
        """Paint a horizontal disc."""
        circle = ring(radius, z, np.linspace(0.0, 2 * math.pi, _SIDES)) + np.array([x, y, 0.0])
        self.polygon(circle, self.shade(colour, UP))

    def tube(self, path: Points, radius: float, colour: Rgb) -> None:
        """Paint a round tube along local points (N, 3), lit on the side of the light."""
        pixels = self.pixels(path)
        scale = self.camera.pixels_per_cm(self.frame.to_world(path.mean(axis=0)))
        towards = self.light.direction @ np.stack([self.camera.right, -self.camera.up], axis=1)
        draw = ImageDraw.Draw(self.patch)
        for width, brightness, shift in ((1.0, 0.66, 0.0), (0.72, 0.92, 0.2), (0.3, 1.16, 0.42)):
            ink = to_ink(np.array(colour) * brightness + (8.0 if width < 0.5 else 0.0))
            moved = pixels + towards * shift * radius * scale
            _stroke(draw, moved, max(radius * scale * width, 0.5), ink)


def start_brush(camera: Camera, light: Light, frame: Frame, solids: tuple[Points, ...]) -> Brush | None:
    """Return a brush whose patch holds the given local points, or None where none is in the frame.

    The patch reaches at most half a picture beyond each edge: enough to measure truncation.
    """
    pixels = camera.project(frame.to_world(np.concatenate(solids)))
    width, height = camera.size
    low = np.maximum(np.floor(pixels.min(axis=0)) - 3, [-width // 2, -height // 2]).astype(int)
    high = np.minimum(np.ceil(pixels.max(axis=0)) + 4, [width + width // 2, height + height // 2]).astype(int)
    if (high <= 0).any() or (low >= camera.size).any() or (high - low < 2).any():
        return None
    patch = Image.new("RGBA", (int(high[0] - low[0]), int(high[1] - low[1])))
    return Brush(camera, light, frame, patch, (int(low[0]), int(low[1])))


def ring(radius: float, z: float, angles: Points) -> Points:
    """Return points (N, 3) of a horizontal circle about the z axis."""
    return np.stack([radius * np.cos(angles), radius * np.sin(angles), np.full_like(angles, z)], axis=-1)


def rounded(half: tuple[float, float], radius: float, steps: int = 4) -> Points:
    """Return the outline (N, 2), anticlockwise, of a rectangle with rounded corners."""
    radius = min(radius, *half)
    signs = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    corners = []
    for quarter, (right, up) in enumerate(signs):
        angles = (quarter + np.linspace(0.0, 1.0, steps)) * math.pi / 2
        centre = np.array([right * (half[0] - radius), up * (half[1] - radius)])
        corners.append(centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1))
    return np.concatenate(corners)


def raise_to(outline: Points, z: float) -> Points:
    """Return the outline's points (N, 2) as points (N, 3) at height ``z``."""
    return np.concatenate([outline, np.full((len(outline), 1), z)], axis=1)


def block(half: tuple[float, float], low: float, high: float) -> Points:
    """Return the eight corners (8, 3) of a block about the z axis."""
    square = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * np.array(half)
    return np.concatenate([raise_to(square, low), raise_to(square, high)])


def flat_corners(half: tuple[float, float], z: float) -> Points:
    """Return the corners (4, 3) of a horizontal face, clockwise from the far left one."""
    x, y = half
    return np.array([[-x, y, z], [x, y, z], [x, -y, z], [-x, -y, z]])


def to_ink(colour: Points) -> tuple[int, ...]:
    """Return an opaque RGBA ink of a colour, clipped to 0..255."""
    red, green, blue = np.clip(colour, 0.0, 255.0).astype(int).tolist()
    return red, green, blue, 255


def brighten(texture: Image.Image, factor: float) -> Image.Image:
    """Return the texture with its colours multiplied; its alpha stays."""
    curve = [min(int(value * factor), 255) for value in range(256)]
    alpha = list(range(256)) if texture.mode == "RGBA" else []
    return texture.point(curve * 3 + alpha)


def _revolved_normals(steps: Points, angles: Points) -> Points:
    rise, spread = steps[:, 1][:, None], steps[:, 0][:, None]
    upward = np.broadcast_to(-spread, (len(steps), len(angles)))
    return _unit(np.stack([rise * np.cos(angles), rise * np.sin(angles), upward], axis=-1))


def _unit(vectors: Points) -> Points:
    unit: Points = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    return unit


def _signed_area(pixels: Points) -> float:
    """Return the area of a polygon; positive when its points run clockwise on the screen."""
    x, y = pixels[:, 0], pixels[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def _path(pixels: Points) -> list[tuple[float, float]]:
    return [(x, y) for x, y in pixels.tolist()]


def _stroke(draw: ImageDraw.ImageDraw, pixels: Points, radius: float, ink: tuple[int, ...]) -> None:
    draw.line(_path(pixels), fill=ink, width=max(round(2 * radius), 1))
    if radius > 1.0:
        for x, y in pixels.tolist():
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)

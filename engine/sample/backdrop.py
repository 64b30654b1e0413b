"""Everything behind the things: the desk's surface, the wall, light through a window, and shadows."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from engine.sample.layout import DESK_END, Placed
from engine.sample.space import Camera, Light, Points, convex_hull, homography, turn_z
from engine.sample.textures import desk_top, wall

_TEXTURE = (448, 448)
_SHADOW_INK = (18, 15, 18)


def backdrop(rng: np.random.Generator, camera: Camera) -> Image.Image:
    """Return the empty desk, RGB, with the wall behind it where the camera sees so far."""
    edge = camera.project(np.array([[-400.0, DESK_END, 0.0], [400.0, DESK_END, 0.0]]))
    desk = _desk(rng, camera)
    if rng.random() < 0.22:
        desk = _window_light(rng, camera, desk)
    if edge[:, 1].max() < 0:
        return desk
    behind = wall(rng, camera.size)
    mask = Image.new("L", camera.size, 0)
    far_below = camera.size[1] * 3
    corners = [*map(tuple, edge.tolist()), (edge[1, 0], far_below), (edge[0, 0], far_below)]
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    shade = mask.filter(ImageFilter.GaussianBlur(5)).point([min(v * 2, 150) for v in range(256)])
    behind.paste((30, 26, 24), mask=shade)
    behind.paste(desk, mask=mask.filter(ImageFilter.GaussianBlur(1.2)))
    return behind


def _desk(rng: np.random.Generator, camera: Camera) -> Image.Image:
    width, height = camera.size
    horizon = max(float(camera.project(np.array([0.0, DESK_END, 0.0]))[1]), 0.0)
    seen = np.array([[0, horizon], [width, horizon], [width, height], [0, height]], dtype=np.float64)
    turned = rng.normal(0, 0.08) + (np.pi / 2 if rng.random() < 0.2 else 0.0)
    places = np.array([(*camera.on_desk((x, y)), 0.0) for x, y in seen]) @ turn_z(float(turned)).T
    low, high = places[:, :2].min(axis=0), places[:, :2].max(axis=0)
    reach = high - low
    texture = desk_top(rng, _TEXTURE, (float(reach[0]), float(reach[1])))
    target = (places[:, :2] - low) / reach * np.array(_TEXTURE)
    return texture.transform(
        camera.size,
        Image.Transform.PERSPECTIVE,
        homography(seen, target),
        Image.Resampling.BILINEAR,
        fillcolor=texture.getpixel((0, 0)),
    )


def _window_light(rng: np.random.Generator, camera: Camera, desk: Image.Image) -> Image.Image:
    """Darken the desk but for the slanted panes that a window throws on it."""
    mask = Image.new("L", camera.size, 0)
    draw = ImageDraw.Draw(mask)
    x, y, slant = rng.uniform(-50, 10), rng.uniform(-30, 10), rng.uniform(-0.7, 0.7)
    across, down = rng.uniform(14, 26), rng.uniform(14, 26)
    for column in range(2):
        for row in range(2):
            left, low = x + column * (across + 3), y + row * (down + 3)
            square = np.array([[left, low], [left + across, low], [left + across, low + down],
                               [left, low + down]])  # fmt: skip
            square[:, 0] += slant * square[:, 1]
            pane = camera.project(np.concatenate([square, np.zeros((4, 1))], axis=1))
            draw.polygon([(px, py) for px, py in pane.tolist()], fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(float(rng.uniform(2, 6))))
    dim = desk.point([int(v * 0.8) for v in range(256)] * 3)
    bright = desk.point([min(int(v * 1.12) + 10, 255) for v in range(256)] * 3)
    return Image.composite(bright, dim, mask)


def cast_shadow(canvas: Image.Image, camera: Camera, light: Light, placed: Placed) -> None:
    """Darken the canvas where the thing keeps the light away, and closely around its foot."""
    ground = float(placed.frame.origin[2])
    shadows, feet = [], []
    for solid in placed.prop.solids:
        world = placed.frame.to_world(solid)
        lift = np.clip(world[:, 2:] - ground, 0.0, None)
        fallen = world - light.direction * lift / max(float(light.direction[2]), 0.3)
        fallen[:, 2] = ground
        shadows.append(camera.project(fallen))
        low = world[lift[:, 0] < 1.0]
        if len(low) > 2:
            feet.append(camera.project(low))
    scale = camera.pixels_per_cm(placed.frame.origin)
    blur = max(light.softness * placed.prop.height * scale, 1.5)
    _darken(canvas, shadows, blur, light.shadow)
    _darken(canvas, feet, max(0.5 * scale, 1.5), 0.4)


def _darken(canvas: Image.Image, outlines: list[Points], blur: float, strength: float) -> None:
    """Multiply a blurred union of convex outlines into the canvas, at half its resolution."""
    hulls = [convex_hull(points) for points in outlines if len(points) > 2]
    if not hulls:
        return
    reach = 3 * blur
    every = np.concatenate(hulls)
    low = np.maximum(np.floor((every.min(axis=0) - reach) / 2), 0).astype(int)
    high = np.minimum(np.ceil((every.max(axis=0) + reach) / 2), np.array(canvas.size) // 2).astype(int)
    if (high - low < 1).any():
        return
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    mask = Image.new("L", size, 0)
    draw = ImageDraw.Draw(mask)
    for hull in hulls:
        draw.polygon([(x, y) for x, y in (hull / 2 - low).tolist()], fill=round(255 * strength))
    mask = mask.filter(ImageFilter.GaussianBlur(blur / 2))
    mask = mask.resize((size[0] * 2, size[1] * 2), Image.Resampling.BILINEAR)
    canvas.paste(_SHADOW_INK, (int(low[0]) * 2, int(low[1]) * 2), mask)

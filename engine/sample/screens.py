"""What laptop, phone and tablet screens show: windows, editors, pages, charts, calls, or nothing."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from engine.sample.textures import ink, noise, text_lines, vivid

_CODE_INKS = ((126, 178, 221), (206, 145, 120), (181, 206, 168), (212, 212, 212), (197, 134, 192))


def screen(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Return what a screen shows, RGB."""
    kinds = (_desktop, _editor, _web_page, _dashboard, _call, _dark)
    kind = kinds[rng.choice(len(kinds), p=(0.3, 0.22, 0.18, 0.12, 0.08, 0.1))]
    shown = kind(rng, size)
    glare = np.linspace(1.06, 0.92, size[0], dtype=np.float32)[None, :, None]
    lit = np.asarray(shown, dtype=np.float32) * glare * rng.uniform(0.75, 1.05)
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


def _wallpaper(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    first, second = np.array(vivid(rng)), np.array(vivid(rng)) * rng.uniform(0.4, 1.0)
    mix = np.clip(np.linspace(0, 1, size[1])[:, None] + 0.25 * noise(rng, size, (4, 4)), 0, 1)
    pixels = first * (1 - mix[..., None]) + second * mix[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _window(draw: ImageDraw.ImageDraw, rng: np.random.Generator, box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = box
    bar = max((bottom - top) * 0.1, 2.0)
    dark = rng.random() < 0.4
    body = (34, 36, 42) if dark else (246, 246, 244)
    draw.rectangle((left + 2, top + 2, right + 2, bottom + 2), fill=(20, 22, 26))
    draw.rectangle(box, fill=body)
    draw.rectangle((left, top, right, top + bar), fill=(70, 72, 80) if dark else (214, 214, 216))
    inks = _CODE_INKS if dark else ((96, 98, 104),)
    inner = (left + bar, top + 2 * bar, right - bar, bottom - bar)
    text_lines(draw, inner, rng, inks, (bottom - top) / 13)


def _desktop(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    image = _wallpaper(rng, size)
    draw = ImageDraw.Draw(image)
    width, height = size
    for _ in range(int(rng.integers(1, 3))):
        x, y = rng.uniform(0.03, 0.4) * width, rng.uniform(0.06, 0.3) * height
        box = (x, y, x + rng.uniform(0.4, 0.56) * width, y + rng.uniform(0.45, 0.6) * height)
        _window(draw, rng, box)
    draw.rectangle((0, 0, width, height * 0.04), fill=(28, 30, 36))
    for slot in range(8):
        x = width * (0.29 + slot * 0.055)
        draw.rectangle((x, height * 0.93, x + width * 0.035, height * 0.98), fill=ink(vivid(rng)))
    return image


def _editor(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    width, height = size
    image = Image.new("RGB", size, (30, 31, 36))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width * 0.2, height), fill=(42, 43, 50))
    side = (width * 0.03, height * 0.08, width * 0.18, height * 0.8)
    text_lines(draw, side, rng, ((150, 152, 160),), height / 20)
    code = (width * 0.24, height * 0.07, width * 0.95, height * 0.93)
    text_lines(draw, code, rng, _CODE_INKS, height / 24)
    draw.rectangle((0, height * 0.96, width, height), fill=(0, 122, 190))
    return image


def _web_page(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    width, height = size
    image = Image.new("RGB", size, (250, 250, 249))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width, height * 0.1), fill=(222, 224, 228))
    draw.rectangle((width * 0.1, height * 0.1, width * 0.9, height * 0.4), fill=ink(vivid(rng)))
    for column in range(3):
        left = width * (0.1 + column * 0.28)
        box = (left, height * 0.45, left + width * 0.24, height * 0.62)
        draw.rectangle(box, fill=ink(vivid(rng)))
        words = (left, height * 0.66, left + width * 0.24, height * 0.96)
        text_lines(draw, words, rng, ((104, 106, 112),), height / 22)
    return image


def _dashboard(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    width, height = size
    ground = (22, 26, 36) if rng.random() < 0.6 else (240, 242, 246)
    image = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(image)
    for panel in range(4):
        left, top = width * (0.05 + 0.48 * (panel % 2)), height * (0.08 + 0.47 * (panel // 2))
        right, bottom = left + width * 0.42, top + height * 0.38
        draw.rectangle((left, top, right, bottom), fill=(52, 58, 72))
        tint = ink(vivid(rng))
        values = np.cumsum(rng.normal(0, 1, 12))
        heights = (values - values.min()) / (np.ptp(values) + 1e-6)
        xs = np.linspace(left + 2, right - 2, 12)
        ys = bottom - 2 - heights * (bottom - top) * 0.8
        if panel % 2:
            draw.line(list(zip(xs.tolist(), ys.tolist(), strict=True)), fill=tint, width=2)
            continue
        for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
            draw.rectangle((x, y, x + (right - left) / 16, bottom - 1), fill=tint)
    return image


def _call(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    width, height = size
    image = Image.new("RGB", size, (24, 24, 28))
    draw = ImageDraw.Draw(image)
    for person in range(4):
        left, top = width * (0.03 + 0.48 * (person % 2)), height * (0.04 + 0.46 * (person // 2))
        right, bottom = left + width * 0.45, top + height * 0.42
        draw.rectangle((left, top, right, bottom), fill=ink(np.array(vivid(rng)) * 0.7))
        x, y, head = (left + right) / 2, top + height * 0.17, height * 0.08
        skin = ink(np.array((224, 172, 138)) * rng.uniform(0.5, 1.0))
        draw.pieslice((x - head * 2, y + head, x + head * 2, y + head * 5), 180, 360, fill=(60, 64, 84))
        draw.ellipse((x - head, y - head * 1.2, x + head, y + head * 1.2), fill=skin)
    return image


def _dark(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    sheen = 16 + 14 * np.clip(noise(rng, size, (3, 3)), -1, 1) + np.linspace(26, 0, size[0])
    pixels = np.stack([sheen, sheen * 1.02, sheen * 1.12], axis=-1)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

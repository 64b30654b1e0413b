"""From a clean drawing to a photo: light fall-off, colour cast, lens blur and sensor noise."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from engine.sample.textures import Field, noise


def develop(rng: np.random.Generator, canvas: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Reduce the canvas to ``size`` and give it what a small camera would give it."""
    image = canvas.resize(size, Image.Resampling.BOX)
    softness = float(rng.uniform(0.0, 0.55)) + (float(rng.uniform(0.3, 0.8)) if rng.random() < 0.12 else 0)
    if softness > 0.25:
        image = image.filter(ImageFilter.GaussianBlur(softness))
    pixels = np.asarray(image, dtype=np.float32) * _light_field(rng, size)
    exposed: Field = _tone(rng, pixels) + _sensor_noise(rng, size)
    return Image.fromarray(np.clip(exposed + 0.5, 0, 255).astype(np.uint8))


def _light_field(rng: np.random.Generator, size: tuple[int, int]) -> Field:
    """Return brightness and colour of the light over the picture, (height, width, 3)."""
    x = np.linspace(-1, 1, size[0], dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, size[1], dtype=np.float32)[:, None]
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.24)
    lean = slope * (np.cos(angle) * x + np.sin(angle) * y)
    vignette = 1.0 - rng.uniform(0.02, 0.22) * (x**2 + y**2) / 2
    clouds = 0.04 * np.clip(noise(rng, size, (3, 3)), -2, 2)
    warmth = float(np.clip(rng.normal(0.02, 0.07), -0.14, 0.2))
    tint = np.array([1 + warmth, 1 + 0.15 * warmth, 1 - 1.2 * warmth], dtype=np.float32)
    field: Field = ((1.0 + lean + clouds) * vignette)[..., None].astype(np.float32) * tint
    return field


def _tone(rng: np.random.Generator, pixels: Field) -> Field:
    """Apply exposure, gamma, contrast and saturation."""
    exposure, gamma = rng.uniform(0.8, 1.14), rng.uniform(0.85, 1.1)
    contrast, saturation = rng.uniform(0.85, 1.15), rng.uniform(0.7, 1.1)
    toned = 255.0 * np.clip(pixels * exposure / 255.0, 0.0, 1.2) ** gamma
    toned = 118.0 + (toned - 118.0) * contrast
    grey = toned.mean(axis=2, keepdims=True)
    result: Field = (grey + (toned - grey) * saturation).astype(np.float32)
    return result


def _sensor_noise(rng: np.random.Generator, size: tuple[int, int]) -> Field:
    strength = np.float32(min(rng.gamma(2.0, 1.1), 7.0))
    shape = (size[1], size[0])
    grain = rng.standard_normal((*shape, 1), dtype=np.float32)
    colour = rng.standard_normal((*shape, 3), dtype=np.float32)
    field: Field = strength * (0.8 * grain + 0.5 * colour)
    return field

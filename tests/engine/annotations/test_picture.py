"""Every kind of picture becomes 8-bit RGB, and damaged ones become a `DataError`."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.annotations import picture
from engine.annotations.picture import inspect, load_rgb
from engine.errors import DataError

ORANGE = (240, 120, 24)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        *(("RGB", suffix) for suffix in ("png", "jpg", "webp", "tif", "bmp")),
        *((mode, "png") for mode in ("P", "RGBA", "1", "LA", "I;16")),
        *((mode, "jpg") for mode in ("CMYK", "L", "YCbCr")),
        ("I;16", "tif"),
    ],
)
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if mode == "I;16":
        Image.fromarray(np.full((8, 8), 0x8040, np.uint16)).save(path)
    else:
        Image.new("RGB", (8, 8), ORANGE).convert(mode).save(path)
    image = load_rgb(path, apply_exif=True)
    assert (image.mode, image.size) == ("RGB", (8, 8))
    pixel = np.asarray(image)[4, 4]
    if mode in ("RGB", "RGBA", "YCbCr"):
        assert np.abs(pixel.astype(int) - ORANGE).max() < 16
    if mode == "I;16":
        assert pixel.tolist() == [0x80] * 3
    assert inspect(path, decode=True).width == 8


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA"])
def test_transparent_pixels_are_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    path = tmp_path / "a.png"
    options: dict[str, Any] = {"transparency": 0} if mode == "P" else {}
    image.convert(mode).save(path, **options)
    assert np.asarray(load_rgb(path, apply_exif=True)).min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_exif_rotation_is_that_of_every_viewer(tmp_path: Path, orientation: int, suffix: str) -> None:
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path, exif=exif)
    expected = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels),
    }[orientation]
    shown = load_rgb(path, apply_exif=True)
    np.testing.assert_array_equal(np.asarray(shown), expected)
    assert inspect(path, decode=False).shown_size == shown.size
    if suffix == "png":
        np.testing.assert_array_equal(np.asarray(load_rgb(path, apply_exif=False)), pixels)


@pytest.mark.parametrize("apply_exif", [True, False])
def test_a_truncated_file_is_a_named_error(tmp_path: Path, apply_exif: bool) -> None:
    path = tmp_path / "a.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError) as caught:
        load_rgb(path, apply_exif=apply_exif)
    (problem,) = caught.value.problems
    assert (problem.code, problem.where.path) == ("D109", str(path))


def test_a_missing_file_is_a_named_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="D109"):
        load_rgb(tmp_path / "none.jpg", apply_exif=True)


@pytest.mark.parametrize("limit", [50, 99], ids=["bomb", "suspicious"])
def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    Image.new("RGB", (12, 12)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match="D111"):
        inspect(tmp_path / "a.png", decode=False)
    with pytest.raises(DataError, match="D111"):
        load_rgb(tmp_path / "a.png", apply_exif=True)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    Image.new("F", (4, 4)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="floating-point"):
        load_rgb(tmp_path / "a.tif", apply_exif=True)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # as picture.py does outside of pytest
def test_a_broken_exif_block_leaves_the_picture_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (6, 4)).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert inspect(path, decode=True).orientation == 1


def test_the_limit_is_pillows(tmp_path: Path) -> None:
    assert picture.MAX_PIXELS == Image.MAX_IMAGE_PIXELS


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP"])
def test_mutated_pictures_are_read_or_refused(tmp_path: Path, form: str) -> None:
    path, rng = tmp_path / "a", random.Random(0)
    Image.effect_noise((60, 40), 80).convert("RGB").save(path, form)
    sound = path.read_bytes()
    for _ in range(200):
        content = bytearray(sound)
        for _ in range(rng.randint(1, 6)):
            content[rng.randrange(min(len(content), rng.choice((60, 200, 10_000))))] = rng.randrange(256)
        path.write_bytes(content[: rng.randint(1, 2 * len(content))])
        with contextlib.suppress(DataError):
            inspect(path, decode=False)
        with contextlib.suppress(DataError):
            load_rgb(path, apply_exif=True)

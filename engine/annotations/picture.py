"""Open image files: their size and orientation from the header, or the whole picture as 8-bit RGB.

The check and the training read pictures through here, so that both find the same ones readable.
Refuses files that unpack to more than `MAX_PIXELS`, and formats that aren't photographs.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from engine.annotations import codes
from engine.errors import DataError, Problem, Where

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
MAX_PIXELS: Final = Image.MAX_IMAGE_PIXELS or 89_478_485
"""Most pixels of one image: where Pillow begins to suspect a decompression bomb."""

# Importing them registers their formats; Pillow would otherwise load its every plugin at the first one.
_REGISTERED = (TiffImagePlugin, WebPImagePlugin)
# What a photograph may really be, whatever its name says; other plugins of Pillow are not tried.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")
# What Pillow's readers are known to raise on damaged files.
_FAULTS = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, struct.error)
SUFFIXES_OF: Final = {
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),  # what many cameras write: a JPEG with a second picture behind it
    "PNG": (".png",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
}
"""Format, in Pillow's words -> suffixes it goes by."""

_TURNED = frozenset({5, 6, 7, 8})

# Set once for the process: filters changed around each call would leak between loader threads.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


THUMBNAIL_SIZE: Final = (17, 16)
"""(width, height) of the grey thumbnail by which pictures are compared."""


class PictureFacts(msgspec.Struct, frozen=True, gc=False):
    """What an image file's header says.

    Attributes:
        width: Width in pixels as stored, before any EXIF rotation.
        height: Height in pixels as stored.
        orientation: EXIF orientation, 1 to 8; 1 means as stored.
        format: What the file really is, in Pillow's words, such as "JPEG".
        mode: Its pixels, in Pillow's words, such as "RGB".
        thumbnail: What it looks like, as grey levels of `THUMBNAIL_SIZE` row by row; empty when
            it wasn't decoded.
    """

    width: int
    height: int
    orientation: int
    format: str
    mode: str
    thumbnail: bytes = b""

    @property
    def shown_size(self) -> tuple[int, int]:
        """(width, height) in pixels after the EXIF rotation."""
        return (self.height, self.width) if self.orientation in _TURNED else (self.width, self.height)


def inspect(path: str | Path, *, decode: bool) -> PictureFacts:
    """Look at an image file.

    Args:
        path: The image.
        decode: Read every pixel, which finds truncated files; otherwise the header only.

    Returns:
        What the header says, and with `decode` what the picture looks like.

    Raises:
        DataError: It can't be read (D109) or is too large (D111).
    """
    with _opened(path) as image:
        facts = PictureFacts(
            width=image.width,
            height=image.height,
            orientation=_orientation(image),
            format=image.format or "",
            mode=image.mode,
        )
        return msgspec.structs.replace(facts, thumbnail=_thumbnail(image)) if decode else facts


def load_rgb(path: str | Path, *, apply_exif: bool) -> Image.Image:
    """Load an image as the model sees it.

    Transparent pixels are laid over white, as pictures with transparency are nearly always shown.
    16-bit values keep their upper 8 bits, the same for every image, so that brightness stays
    comparable. Of an animation, the first frame is taken.

    Args:
        path: The image.
        apply_exif: Turn it as its EXIF orientation says; see `ImageRecord.apply_exif`.

    Returns:
        An 8-bit RGB picture.

    Raises:
        DataError: It can't be read (D109) or is too large (D111).
    """
    with _opened(path) as image:
        return to_rgb(image, apply_exif=apply_exif)


def to_rgb(image: Image.Image, *, apply_exif: bool) -> Image.Image:
    """A new 8-bit RGB picture of an open image, by the rules of `load_rgb`.

    Raises:
        ValueError: Its pixels have no agreed range.
    """
    orientation = _orientation(image) if apply_exif else 1
    rgb = _rgb(image)
    return _turned(image.copy() if rgb is image else rgb, orientation)


def save_upright(source: str | Path, target: Path) -> None:
    """Write an image turned as its EXIF orientation says, in the same format and without that orientation.

    A JPEG is encoded anew, at high quality; the other formats lose nothing.

    Raises:
        DataError: It can't be read (D109) or is too large (D111).
        OSError: The target can't be written.
    """
    with _opened(source) as image:
        form = "JPEG" if image.format == "MPO" else image.format
        upright = _turned(image.copy(), _orientation(image))
        exif, icc_profile = image.getexif(), image.info.get("icc_profile")
    exif.pop(ExifTags.Base.Orientation, None)
    upright.save(target, form, exif=exif, icc_profile=icc_profile, quality=95, lossless=True)


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=_FORMATS) as image:
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as fault:
        raise _too_large(path, "a decompression bomb") from fault
    except UnidentifiedImageError as fault:
        empty = Path(path).stat().st_size == 0
        found = "the file is empty" if empty else "not an image in a known format"
        raise _unreadable(path, found) from fault
    except _FAULTS as fault:
        found = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
        raise _unreadable(path, f"can't be decoded: {found or type(fault).__name__}") from fault


def _unreadable(path: str | Path, found: str) -> DataError:
    fix = 'replace or delete the file, or set dataset.unreadable_images = "skip"'
    return DataError((Problem(codes.IMAGE_UNREADABLE, Where(str(path)), found, fix),))


def _too_large(path: str | Path, found: str) -> DataError:
    fix = 'scale the image down, or set dataset.unreadable_images = "skip"'
    found = f"{found}; up to {MAX_PIXELS} px are read"
    return DataError((Problem(codes.TOO_LARGE, Where(str(path)), found, fix),))


def _thumbnail(image: Image.Image) -> bytes:
    # A JPEG decoded at an eighth of its size is read to its last byte all the same, in half the time.
    image.draft(None, (max(image.width // 8, 1), max(image.height // 8, 1)))
    image = _rgb(image)
    return image.resize(THUMBNAIL_SIZE, Image.Resampling.BOX, reducing_gap=2.0).convert("L").tobytes()


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # part of the format itself: Pillow has applied it already
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _FAULTS:
        return 1  # damaged EXIF: programs that show the picture ignore it too
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    method = _TRANSPOSE.get(orientation)
    return image if method is None else image.transpose(method)


def _rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I;16") or image.mode == "I":
        high_bytes = np.clip(np.asarray(image, dtype=np.int64), 0, 65535) >> 8
        return Image.fromarray(high_bytes.astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range; save it as 8-bit")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")

"""Photos as small JPEGs inside the page: each is embedded once, however many runs and albums show it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageOps

# Wide enough to be enlarged on a laptop; about 45 kB.
_SIDE_PX = 720
_QUALITY = 74
# A page may hold so many bytes of photos as they are embedded.
MOST_BYTES = 14_000_000


@dataclass(frozen=True, slots=True)
class Photo:
    """An embedded photo; its size is in the pixels that boxes are told in."""

    key: str
    width: int
    height: int
    base64: str


@dataclass
class Album:
    """What the page embeds so far.

    Attributes:
        photos: By path; None for one that can't be read.
        size_bytes: Of all of them.
        most_bytes: No more is taken beyond this.
    """

    photos: dict[Path, Photo | None] = field(default_factory=dict)
    size_bytes: int = 0
    most_bytes: int = MOST_BYTES

    def add(self, path: Path, size: tuple[int, int] = (0, 0)) -> Photo | None:
        """Embed a photo; None when it can't be read, or when the page is full.

        Args:
            path: The file.
            size: Width and height in which boxes are told; (0, 0) for the file's own.
        """
        if path not in self.photos:
            if self.size_bytes >= self.most_bytes:
                return None
            self.photos[path] = photo = _embed(path, size, f"p{len(self.photos)}")
            self.size_bytes += len(photo.base64) if photo else 0
        return self.photos[path]

    @property
    def embedded(self) -> list[Photo]:
        """The photos that are there."""
        return [photo for photo in self.photos.values() if photo is not None]


def _embed(path: Path, size: tuple[int, int], key: str) -> Photo | None:
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (2 * _SIDE_PX, 2 * _SIDE_PX))
            own = opened.size
            picture: Image.Image = opened
            # Boxes may have been drawn on the photo as cameras turn it; `draft` shrinks, so shapes are compared.
            if 0 not in size and (own[0] >= own[1]) != (size[0] >= size[1]):
                picture = ImageOps.exif_transpose(opened)
            picture = picture.convert("RGB")
            picture.thumbnail((_SIDE_PX, _SIDE_PX), Image.Resampling.BICUBIC, reducing_gap=2.0)
            content = io.BytesIO()
            picture.save(content, "JPEG", quality=_QUALITY, optimize=True)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises for rubbish
        return None
    width, height = size if 0 not in size else picture.size
    return Photo(key, width, height, base64.b64encode(content.getvalue()).decode())

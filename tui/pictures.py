"""Loads preview pictures and boxes for the dashboard, and keeps the latest pictures at hand for scrubbing.

The path comes out of an event file: it may not lead out of the run's folder, and what it leads to
may not be a picture, or may be far too large.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from engine.previewfile import MOST_BYTES, EpochPreviews, decode_previews
from engine.rundir import open_regular

# Larger than any terminal draws; keeps the memory of the shelf small.
_MOST_PIXELS_A_SIDE = 1280
_MOST_PIXELS = 80_000_000
_SHELF_BYTES = 48_000_000


class PictureShelf:
    """Loads pictures; the latest ones are kept."""

    def __init__(self) -> None:
        self._shelf: OrderedDict[tuple[Path, int], Image.Image] = OrderedDict()

    def load_boxes(self, run_path: Path, relative: str) -> tuple[EpochPreviews | None, str]:
        """What was found on an epoch's previews, or None and why.

        Args:
            run_path: The run's folder.
            relative: The file's path as an event names it.
        """
        path = run_path / relative
        try:
            if not path.resolve().is_relative_to(run_path.resolve()):
                return None, "the boxes' path leads out of the run's folder"
            if path.exists() and not path.is_file():
                return None, "the boxes aren't in a file"  # opening a pipe would wait for ever
            with open_regular(path) as file:
                return decode_previews(file.read(MOST_BYTES + 1)), ""
        except FileNotFoundError:
            return None, "the boxes are gone"
        except (OSError, ValueError) as error:
            return None, f"the boxes can't be read: {error}"

    def load(self, run_path: Path, relative: str) -> tuple[Image.Image | None, str]:
        """A picture in RGB, or None and why.

        Args:
            run_path: The run's folder.
            relative: The picture's path as an event names it.
        """
        path = run_path / relative
        try:
            if not path.resolve().is_relative_to(run_path.resolve()):
                return None, "its path leads out of the run's folder"
            if path.exists() and not path.is_file():
                return None, "it isn't a file"
            return self._load(path), ""
        except FileNotFoundError:
            return None, "the file is gone"
        except UnidentifiedImageError:
            return None, "the file isn't a picture"
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            return None, f"it can't be read: {error}"

    def _load(self, path: Path) -> Image.Image:
        key = (path, path.stat().st_mtime_ns)
        if key not in self._shelf:
            self._shelf[key] = _read(path)
            while len(self._shelf) > 1 and sum(map(_size, self._shelf.values())) > _SHELF_BYTES:
                self._shelf.popitem(last=False)
        self._shelf.move_to_end(key)
        return self._shelf[key]


def _size(image: Image.Image) -> int:
    return image.width * image.height * 3


def _read(path: Path) -> Image.Image:
    with open_regular(path) as file, Image.open(file) as opened:
        if opened.width * opened.height > _MOST_PIXELS:
            raise ValueError(f"{opened.width} x {opened.height} pixels are too many")
        opened.thumbnail((_MOST_PIXELS_A_SIDE, _MOST_PIXELS_A_SIDE))
        return opened.convert("RGB")

"""Many pictures on one sheet, in justified rows like a printed contact sheet, each with boxes and a line below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from engine.errors import EngineError, printable
from engine.evaluation.drawing import PALETTE, DrawnBoxes, Font, class_colour, draw_boxes
from engine.rundir import write_atomic

WIDTH_PX = 1800
"""Width of the sheet."""

_MARGIN_PX = 16
_GAP_PX = 14
_ROW_PX = 330
_HIGHEST_PX = 480
_CAPTION_PX = 24
_LEGEND_PX = 34
_TITLE_PX = 60
_FONT_PX = 15
_INK, _MUTED = "#1F2933", "#66727F"
# How a PNG says that it is a former sheet, which may be overwritten.
_MARK = ("Software", "engine preview-data")


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A picture of the sheet.

    Attributes:
        picture: RGB, of any size.
        boxes: What is drawn on it, in its pixels.
        caption: The line below it; cut where the picture ends.
    """

    picture: Image.Image
    boxes: DrawnBoxes
    caption: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile's picture goes on the sheet, in pixels."""

    left: int
    top: int
    width: int
    height: int


def contact_sheet(tiles: Sequence[Tile], class_names: Sequence[str], *, title: str) -> Image.Image:
    """Draw tiles on a sheet `WIDTH_PX` wide, below a title and the colours of the classes where each has its own.

    Args:
        tiles: The pictures, at least one.
        class_names: The class map's names.
        title: What the sheet is headed with.
    """
    places = layout([tile.picture.width / tile.picture.height for tile in tiles])
    labels = sorted({int(label) for tile in tiles for label in tile.boxes.labels})
    colours = {class_colour(label): class_names[label] for label in labels}
    head = _head(colours if len(colours) == len(labels) else {}, title)
    bottom = max(place.top + place.height for place in places) + _CAPTION_PX + _MARGIN_PX
    sheet = Image.new("RGB", (WIDTH_PX, head.height + bottom), "white")
    sheet.paste(head, (0, 0))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=_FONT_PX)
    for tile, place in zip(tiles, places, strict=True):
        top = head.height + place.top
        sheet.paste(_drawn(tile, place, class_names), (place.left, top))
        caption = _cut(printable(tile.caption), font, place.width)
        draw.text((place.left, top + place.height + 4), caption, font=font, fill=_MUTED)
    return sheet


def layout(aspects: Sequence[float]) -> list[Place]:
    """Rows of pictures, each row at one height and as wide as the sheet where pictures are enough.

    Args:
        aspects: Width over height of each picture, in order; may be empty.
    """
    places: list[Place] = []
    top = 0
    for row in _rows(aspects):
        space = WIDTH_PX - 2 * _MARGIN_PX - _GAP_PX * (len(row) - 1)
        height = max(1, min(round(space / sum(row)), _HIGHEST_PX))
        left = float(_MARGIN_PX)
        for aspect in row:
            places.append(Place(round(left), top, max(1, round(left + aspect * height) - round(left)), height))
            left += aspect * height + _GAP_PX
        top += height + _CAPTION_PX + _GAP_PX
    return places


def _rows(aspects: Sequence[float]) -> list[list[float]]:
    """Pictures shared out over as many rows as suit, in order, so that rows are about equally long."""
    total = sum(aspects)
    num_rows = max(1, math.ceil(total * _ROW_PX / WIDTH_PX - 0.25))
    ends = np.cumsum(aspects)
    rows: list[list[float]] = [[] for _ in range(num_rows)]
    for aspect, end in zip(aspects, ends, strict=True):
        rows[min(num_rows - 1, int((end - aspect / 2) / total * num_rows))].append(aspect)
    return [row for row in rows if row]


def _drawn(tile: Tile, place: Place, class_names: Sequence[str]) -> Image.Image:
    """The tile at its size on the sheet; boxes are drawn there, so that lines and words stay sharp."""
    scale = np.array([place.width / tile.picture.width, place.height / tile.picture.height] * 2, dtype=np.float32)
    resized = tile.picture.resize((place.width, place.height), Image.Resampling.LANCZOS)
    boxes = DrawnBoxes(tile.boxes.boxes_xyxy * scale, tile.boxes.labels, tile.boxes.scores)
    return draw_boxes(resized, class_names, boxes)


def _cut(text: str, font: Font, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _head(names: Mapping[str, str], title: str) -> Image.Image:
    """The title, and below it colours with the names of their classes."""
    font, large = ImageFont.load_default(size=_FONT_PX + 2), ImageFont.load_default(size=28)
    head = Image.new("RGB", (WIDTH_PX, _TITLE_PX + _LEGEND_PX * bool(names)), "white")
    draw = ImageDraw.Draw(head)
    draw.text((_MARGIN_PX, 14), _cut(printable(title), large, WIDTH_PX - 2 * _MARGIN_PX), font=large, fill=_INK)
    left = _MARGIN_PX
    for colour, name in names.items():
        draw.rectangle((left, _TITLE_PX + 1, left + 15, _TITLE_PX + 16), fill=colour)
        words = _cut(printable(name), font, WIDTH_PX // (len(PALETTE) + 1) - 24)
        draw.text((left + 24, _TITLE_PX - 2), words, font=font, fill=_INK)
        left += 24 + round(font.getlength(words)) + 28
    return head


# --- the file ---

def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a sheet as PNG, marked as ours.

    Raises:
        EngineError: The file can't be written (E101).
    """
    marks = PngInfo()
    marks.add_text(*_MARK)
    try:
        write_atomic(path.absolute(), lambda file: sheet.save(file, "PNG", pnginfo=marks))
    except OSError as error:
        raise EngineError.of(
            "E101", str(path), f"can't be written: {error.strerror or error}", "name another file with -o"
        ) from error


def refuse_overwriting(path: Path) -> None:
    """Stop before anything but a former sheet is overwritten, and before drawing what can't be saved.

    Raises:
        EngineError: The file isn't ours (X104), or its name doesn't end in .png (E101).
    """
    if path.suffix.lower() != ".png":
        raise EngineError.of("E101", str(path), "only PNG pictures are drawn", "name a .png file with -o")
    if path.exists() and not _is_ours(path):
        raise EngineError.of("X104", str(path), "this file would be overwritten", "name another file with -o")


def _is_ours(path: Path) -> bool:
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.info.get(_MARK[0]) == _MARK[1]
    except (OSError, SyntaxError, ValueError):
        return False

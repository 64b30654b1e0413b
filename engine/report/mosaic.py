"""Labelled samples of a dataset in justified rows, like a printed contact sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engine.annotations import ImageRecord, load_rgb
from engine.errors import DataError, printable
from engine.evaluation.drawing import PALETTE, class_colour

WIDTH_PX = 1800
"""Width of the mosaic."""
NUM_ROWS = 3

_GAP_PX = 10
_ROW_PX = 300
_FONT_PX = 30
_WORDY_PX = 60
_DARK = (PALETTE[4], PALETTE[5])
# A panorama would fill a row by itself, a strip of a page be a sliver.
_LEAST_ASPECT, _GREATEST_ASPECT = 0.4, 2.5


def mosaic(records: Sequence[ImageRecord], names: Sequence[str]) -> Image.Image | None:
    """Put labelled samples side by side.

    Args:
        records: Images to choose from; may be empty.
        names: The class map's names; written at the boxes when colours alone don't tell them apart.

    Returns:
        The picture, `WIDTH_PX` wide; None when there is nothing to show.
    """
    rows = list(_rows(_in_order(records)))
    if not rows:
        return None
    tiles = [[_tile(record, names) for record in row] for row in rows]
    strips = [_strip([tile for tile in row if tile is not None]) for row in tiles if any(row)]
    if not strips:
        return None
    height = sum(strip.height for strip in strips) + _GAP_PX * (len(strips) - 1)
    sheet = Image.new("RGB", (WIDTH_PX, height), "white")
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height + _GAP_PX
    return sheet


def _in_order(records: Sequence[ImageRecord]) -> Iterator[ImageRecord]:
    """Labelled images, the same at every call: first one of each class, rare ones first, then any."""
    labelled = [record for record in records if len(record.labels)]
    shuffled = [labelled[index] for index in np.random.default_rng(0).permutation(len(labelled))]
    counts = np.zeros(1 + max((int(record.labels.max()) for record in labelled), default=0), dtype=int)
    for record in labelled:
        np.add.at(counts, record.labels, 1)
    given: set[int] = set()
    shown: set[int] = set()
    for label in np.argsort(counts, kind="stable").tolist():
        if counts[label] and label not in shown:
            index = next(index for index, record in enumerate(shuffled) if label in record.labels)
            given.add(index)
            shown.update(shuffled[index].labels.tolist())
            yield shuffled[index]
    yield from (record for index, record in enumerate(shuffled) if index not in given)


def _aspect(record: ImageRecord) -> float:
    return min(_GREATEST_ASPECT, max(_LEAST_ASPECT, record.width / record.height))


def _rows(records: Iterator[ImageRecord]) -> Iterator[list[ImageRecord]]:
    row: list[ImageRecord] = []
    num_rows = 0
    for record in records:
        row.append(record)
        if sum(map(_aspect, row)) * _ROW_PX >= WIDTH_PX:
            yield row
            row, num_rows = [], num_rows + 1
            if num_rows == NUM_ROWS:
                return
    if row:
        yield row


def _tile(record: ImageRecord, names: Sequence[str]) -> Image.Image | None:
    try:
        photo = load_rgb(record.image_path, apply_exif=record.apply_exif)
    except DataError:
        return None  # the check has told it
    drawn = _outlined(photo, record, names)
    width = round(drawn.height * _aspect(record))
    if drawn.width > width:
        return drawn.crop(((drawn.width - width) // 2, 0, (drawn.width + width) // 2, drawn.height))
    height = round(drawn.width / _aspect(record))
    return drawn.crop((0, (drawn.height - height) // 2, drawn.width, (drawn.height + height) // 2))


def _outlined(photo: Image.Image, record: ImageRecord, names: Sequence[str]) -> Image.Image:
    """The photo, twice as large as it will be, with a box in its class's colour for each object; the largest below."""
    scale = 2 * _ROW_PX / photo.height
    drawn = photo.resize((max(1, round(photo.width * scale)), 2 * _ROW_PX), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(drawn)
    boxes = record.boxes_xyxy * scale
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for index in np.argsort(-areas, kind="stable").tolist():
        x0, y0, x1, y1 = boxes[index].tolist()
        label = int(record.labels[index])
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=class_colour(label), width=6)
        # Colours alone tell few classes apart; words would hide boxes that are hardly larger than they.
        if len(names) > len(PALETTE) and x1 - x0 > _WORDY_PX and y1 - y0 > _WORDY_PX:
            _write(draw, (x0, y0), printable(names[label]), class_colour(label))
    return drawn


def _write(draw: ImageDraw.ImageDraw, corner: tuple[float, float], words: str, colour: str) -> None:
    font = ImageFont.load_default(size=_FONT_PX)
    left, top, right, bottom = draw.textbbox(corner, words, font=font)
    draw.rectangle((left, top - 2, right + 12, bottom + 8), fill=colour)
    ink = "#FFFFFF" if colour in _DARK else "#000000"
    draw.text((corner[0] + 6, corner[1] + 2), words, font=font, fill=ink)


def _strip(tiles: Sequence[Image.Image]) -> Image.Image:
    """Tiles side by side at one height, as wide as the mosaic; fewer than fill it stand at the left."""
    aspects = [tile.width / tile.height for tile in tiles]
    height = min(round((WIDTH_PX - _GAP_PX * (len(tiles) - 1)) / sum(aspects)), round(_ROW_PX * 1.3))
    strip = Image.new("RGB", (WIDTH_PX, height), "white")
    left = 0.0
    for tile, aspect in zip(tiles, aspects, strict=True):
        end = left + height * aspect
        right = min(WIDTH_PX, round(end))
        strip.paste(tile.resize((max(1, right - round(left)), height), Image.Resampling.LANCZOS), (round(left), 0))
        left = end + _GAP_PX
    return strip

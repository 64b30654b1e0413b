"""Boxes drawn on photos: ground truth dashed and white, predictions in their class's colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engine.errors import printable
from engine.rundir import write_atomic

# Okabe and Ito's palette, told apart with colour-blind eyes too; yellow last, for it is faint on white.
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442")
_TRUTH_COLOUR = "#FFFFFF"


@dataclass(frozen=True, slots=True)
class DrawnBoxes:
    """Boxes to draw, in the pixels of the photo.

    Attributes:
        boxes_xyxy: (N, 4). N may be 0.
        labels: (N,) zero-based.
        scores: (N,) in [0, 1], or None for ground truth.
    """

    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32] | None = None


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def class_colour(label: int) -> str:
    """The colour of a class, as "#rrggbb"."""
    return PALETTE[label % len(PALETTE)]


def draw_boxes(
    photo: Image.Image, class_names: Sequence[str], predictions: DrawnBoxes, truth: DrawnBoxes | None = None,
    *, longest_side: int | None = None,
) -> Image.Image:
    """A copy of a photo with boxes drawn on it.

    Args:
        photo: RGB.
        class_names: The class map's names.
        predictions: Drawn with class and score.
        truth: Drawn dashed, without words.
        longest_side: Shrink the picture to this many pixels first.
    """
    scale = min(1.0, longest_side / max(photo.size)) if longest_side else 1.0
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    picture = photo.resize(size, Image.Resampling.LANCZOS) if scale < 1 else photo.copy()
    draw = ImageDraw.Draw(picture)
    stroke = max(2, round(max(size) / 320))
    font = ImageFont.load_default(size=_font_size(max(size), predictions.boxes_xyxy * scale))
    if truth is not None:
        for box in truth.boxes_xyxy * scale:
            _dashed_rectangle(draw, box.tolist(), max(1, stroke // 2))
    # Weakest first, so that the surest boxes lie on top; words over all boxes, or these would strike them through.
    scores = predictions.scores if predictions.scores is not None else np.ones(len(predictions.labels))
    order = np.argsort(scores, kind="stable").tolist()
    boxes, labels = (predictions.boxes_xyxy * scale).tolist(), predictions.labels.tolist()
    for index in order:
        x0, y0, x1, y1 = boxes[index]
        draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=class_colour(labels[index]), width=stroke)
    for index in order:
        words = printable(class_names[labels[index]])
        words += f" {scores[index]:.2f}" if predictions.scores is not None else ""
        _write_above(draw, boxes[index], class_colour(labels[index]), words, font)
    return picture


def _font_size(longest_side: int, boxes_xyxy: NDArray[np.float32]) -> int:
    """Words that are legible on the whole picture, but don't hide objects that are small in it."""
    size = longest_side / 45
    if len(boxes_xyxy):
        sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
        size = min(size, 0.22 * float(np.median(sides.min(axis=1))))
    return max(11, round(size))


def save_jpeg(picture: Image.Image, path: Path, *, quality: int, durable: bool = True) -> None:
    """Write a picture in one step; its folder is made when missing. See `write_atomic` for `durable`.

    Raises:
        OSError: The disk is full or can't be written.
    """
    write_atomic(path, lambda file: picture.save(file, "JPEG", quality=quality), durable=durable)


def _write_above(draw: ImageDraw.ImageDraw, box: list[float], colour: str, words: str, font: Font) -> None:
    x0, y0, _, _ = box
    left, top, right, bottom = draw.textbbox((0, 0), words, font=font)
    width, height = right - left + 6, bottom - top + 4
    # Above the box, or inside it where the picture ends. In whole pixels: Pillow cuts text off at the top whose
    # origin is a fraction below 0.
    label_y = round(y0 - height if y0 >= height else y0)
    label_x = round(max(0.0, min(x0, draw.im.size[0] - width)))
    draw.rectangle((label_x, label_y, label_x + width, label_y + height), fill=colour)
    draw.text((label_x + 3 - left, label_y + 2 - top), words, font=font, fill=_readable_on(colour))


def _readable_on(colour: str) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else "#FFFFFF"


def _dashed_rectangle(draw: ImageDraw.ImageDraw, box: list[float], stroke: int) -> None:
    x0, y0, x1, y1 = box
    corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0))
    for start, end in pairwise(corners):
        _dashed_line(draw, start, end, stroke)


def _dashed_line(
    draw: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float], stroke: int
) -> None:
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    dash = 4 * stroke + 3
    for position in np.arange(0, length, 2 * dash):
        first, last = position / length, min(1.0, (position + dash) / length)
        points = [
            (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)
            for share in (first, last)
        ]
        draw.line(points, fill="#000000", width=stroke + 2)
        draw.line(points, fill=_TRUTH_COLOUR, width=stroke)

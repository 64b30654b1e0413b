"""Draws boxes over a photo in pixels, at the size at which a terminal shows them."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image, ImageDraw, ImageFont

from tui.judged import JudgedBox, Judgement
from tui.overlay import CROWDED, Colour, Shown, class_colour, label_colours, labels_of, truth_colour

_BLACK = (0, 0, 0)
_DASH = 6

Corners = tuple[int, int, int, int]


def draw_in_pixels(
    photo: Image.Image, judgement: Judgement, image_size: tuple[int, int], size: tuple[int, int], shown: Shown,
    text_height: int,
) -> Image.Image:
    """A photo with boxes; solid lines are right detections, double ones wrong, dashed ones the ground truth.

    Args:
        photo: RGB, of any size.
        judgement: The boxes.
        image_size: Pixels that the boxes are in, (width, height).
        size: Pixels of the picture, (width, height).
        shown: Which boxes.
        text_height: Height of a line of the terminal, in pixels.
    """
    picture = photo.resize(size, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(9, round(text_height * 0.7)))
    found = judgement.found if shown.found else ()
    truth = judgement.truth if shown.truth else ()
    for box in sorted(truth, key=lambda one: one.is_error):
        _dashed(pen, _corners(box, image_size, size), truth_colour(box))
    for box in reversed(found):  # the surest on top
        _framed(pen, _corners(box, image_size, size), class_colour(box.label), is_double=box.is_error)
    labelled = [*found, *(box for box in truth if box.is_error or not shown.found)]
    is_crowded = len(labelled) > CROWDED
    taken: list[Corners] = []
    for box in labelled:
        fore, back = label_colours(box)
        corners = _corners(box, image_size, size)
        text = _readable(labels_of(box, is_crowded=is_crowded)[0])
        _label(pen, corners, text, font, fore, back, taken, is_crowded=is_crowded)
    return picture


def _readable(text: str) -> str:
    """The built-in font knows few signs: write those it lacks in letters."""
    return text.replace("✔", "+").replace("✘", "x").replace("○", "o").replace("–", "-")


def _corners(box: JudgedBox, image_size: tuple[int, int], size: tuple[int, int]) -> Corners:
    across, down = size[0] / image_size[0], size[1] / image_size[1]
    x0, y0, x1, y1 = box.box_xyxy
    left, right = (int(min(max(value * across, 0), size[0] - 1)) for value in (x0, x1))
    top, bottom = (int(min(max(value * down, 0), size[1] - 1)) for value in (y0, y1))
    return left, top, max(left, right), max(top, bottom)


def _shrunk(corners: Corners, by: int) -> Corners:
    left, top, right, bottom = corners
    return min(left + by, right), min(top + by, bottom), max(right - by, left + by), max(bottom - by, top + by)


def _framed(pen: ImageDraw.ImageDraw, corners: Corners, colour: Colour, *, is_double: bool) -> None:
    """Two lines thick with a dark rim; a wrong one has a dark line in its middle."""
    pen.rectangle(_grown(corners), outline=_BLACK)
    pen.rectangle(corners, outline=colour, width=1 if is_double else 2)
    if is_double and min(corners[2] - corners[0], corners[3] - corners[1]) > 8:
        pen.rectangle(_shrunk(corners, 1), outline=_BLACK)
        pen.rectangle(_shrunk(corners, 2), outline=colour)


def _grown(corners: Corners) -> Corners:
    left, top, right, bottom = corners
    return left - 1, top - 1, right + 1, bottom + 1


def _dashed(pen: ImageDraw.ImageDraw, corners: Corners, colour: Colour) -> None:
    for (x0, y0, x1, y1), is_dash in _dashes(corners):
        pen.line((x0, y0, x1, y1), fill=colour if is_dash else _BLACK, width=1)


def _dashes(corners: Corners) -> Iterator[tuple[Corners, bool]]:
    left, top, right, bottom = corners
    for start in range(left, right + 1, _DASH):
        end = min(start + _DASH - 1, right)
        yield (start, top, end, top), (start - left) // _DASH % 2 == 0
        yield (start, bottom, end, bottom), (start - left) // _DASH % 2 == 0
    for start in range(top, bottom + 1, _DASH):
        end = min(start + _DASH - 1, bottom)
        yield (left, start, left, end), (start - top) // _DASH % 2 == 0
        yield (right, start, right, end), (start - top) // _DASH % 2 == 0


def _label(
    pen: ImageDraw.ImageDraw, corners: Corners, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    fore: Colour, back: Colour, taken: list[Corners], *, is_crowded: bool,
) -> None:
    x0, y0, x1, y1 = pen.textbbox((0, 0), text, font=font)
    width, height = int(x1 - x0) + 6, int(y1 - y0) + 4
    if is_crowded and width > corners[2] - corners[0] + 1:
        return
    room, depth = pen.im.size
    left = max(0, min(corners[0], room - width))
    for top in (corners[1] - height, corners[1], corners[3] - height, corners[3] + 1):
        place = (left, top, left + width, top + height)
        if top >= 0 and top + height <= depth and not any(_touch(place, other) for other in taken):
            pen.rectangle(place, fill=back)
            pen.text((left + 3 - x0, top + 2 - y0), text, font=font, fill=fore)
            taken.append(place)
            return


def _touch(one: Corners, other: Corners) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]

"""Draws boxes over a photo, in cells of a terminal or in pixels.

In cells, lines and labels are characters, drawn after the photo was made small, so that they stay sharp:
heavy lines are right detections, double lines wrong ones, dashed lines the ground truth. Every label begins
with a sign, so that nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from engine.previewfile import Box
from tui.blocks import Colours, draw_blocks
from tui.judged import JudgedBox, Judgement

Colour = tuple[int, int, int]

# After Okabe and Ito, told apart with colour-blind eyes too; the two dark ones brighter, for lines on dark cells.
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 200, 140), (224, 130, 180), (240, 228, 66), (255, 120, 70), (130, 160, 255),
)  # fmt: skip
TRUTH_COLOUR = (255, 255, 255)
_FOUND_TRUTH_COLOUR = (178, 178, 178)
_BLACK = (0, 0, 0)
# Cells under a line show the photo's mean this dark, so that the line stands out.
_DIM = 0.4


@dataclass(frozen=True, slots=True)
class Shown:
    """Which boxes are drawn."""

    truth: bool = True
    found: bool = True


ALL = Shown()


class _Frame(NamedTuple):
    """Characters of a box: corners from the upper left on, sides, and a box of one row, column or cell."""

    corners: str
    across: str
    down: str
    flat: str
    thin: str
    dot: str


_HEAVY = _Frame("┏┓┗┛", "━", "┃", "╺╸", "╻╹", "■")
_DOUBLE = _Frame("╔╗╚╝", "═", "║", "╞╡", "╥╨", "▣")
_DASHED = _Frame("┌┐└┘", "╌", "╎", "╶╴", "╷╵", "□")

def class_colour(label: int) -> Colour:
    """The colour of a class."""
    return PALETTE[label % len(PALETTE)]


def labels_of(box: JudgedBox, *, is_crowded: bool = False) -> tuple[str, ...]:
    """What may stand at a box, longest first: "✔ mug 0.93", "✔ mug", "✔"."""
    name = f"{box.sign} {box.name}"
    if box.score is None or is_crowded:
        return name, box.sign
    return f"{name} {box.score:.2f}", name, box.sign


def label_colours(box: JudgedBox) -> tuple[Colour, Colour]:
    """Of the text and behind it; a wrong detection's are the other way round."""
    if box.score is None:
        return _BLACK, TRUTH_COLOUR
    colour = class_colour(box.label)
    return (colour, _BLACK) if box.is_error else (_BLACK, colour)


def truth_colour(box: JudgedBox) -> Colour:
    """An object that was missed is brighter than one that was found."""
    return TRUTH_COLOUR if box.is_error else _FOUND_TRUTH_COLOUR


# --- in cells ---


class Spot(NamedTuple):
    """A box in cells, all four inclusive."""

    left: int
    top: int
    right: int
    bottom: int


def spot_of(box: Box, image_size: tuple[int, int], columns: int, rows: int) -> Spot:
    """The cells that a box's outline lies in, within the picture."""
    x0, y0, x1, y1 = box
    left = _place(x0 / image_size[0] * columns, columns)
    top = _place(y0 / image_size[1] * rows, rows)
    right = _place(np.ceil(x1 / image_size[0] * columns) - 1, columns)
    bottom = _place(np.ceil(y1 / image_size[1] * rows) - 1, rows)
    return Spot(left, top, max(left, right), max(top, bottom))


def _place(value: float, room: int) -> int:
    return int(min(max(value, 0), room - 1))


class CellPicture:
    """A photo in cells, to be drawn on.

    Args:
        photo: RGB.
        columns: Its width in cells.
        rows: Its height.
    """

    def __init__(self, photo: Image.Image, columns: int, rows: int) -> None:
        blocks = draw_blocks(photo, columns, rows)
        self.columns, self.rows = columns, rows
        self._chars: list[list[str]] = blocks.chars.tolist()
        self._fore: Colours = blocks.fore.copy()
        self._back: Colours = blocks.back.copy()
        mean = np.asarray(photo.resize((columns, rows), Image.Resampling.BOX), dtype=np.float32)
        self._dim: Colours = (mean * _DIM).astype(np.uint8)
        self._is_label: NDArray[np.bool_] = np.zeros((rows, columns), dtype=bool)

    def outline(self, spot: Spot, frame: _Frame, colour: Colour, *, corners: bool = False) -> None:
        """Draw a box, or its corners alone."""
        for row, column, char in _outline(spot, frame):
            if corners and not _is_by_a_corner(spot, row, column):
                continue
            self._chars[row][column] = char
            self._fore[row, column] = colour
            self._back[row, column] = self._dim[row, column]

    def label(self, spot: Spot, texts: Sequence[str], fore: Colour, back: Colour, *, within: bool) -> None:
        """Write at a box: on its upper side or, where that is taken, its lower one; else nowhere.

        Args:
            spot: The box.
            texts: What may be written; the first that fits is.
            fore: Colour of the text.
            back: Colour behind it.
            within: Keep to the box's own width.
        """
        room = min(spot.right - spot.left + 1 if within else self.columns, self.columns)
        for text in texts:
            width = cell_len(text)
            left = max(0, min(spot.left, self.columns - width))
            for row in (spot.top, spot.bottom):
                if width <= room and not self._is_label[row, left : left + width].any():
                    self._write(row, left, text, fore, back)
                    return

    def _write(self, row: int, left: int, text: str, fore: Colour, back: Colour) -> None:
        column = left
        for char in text:
            width = cell_len(char)
            if width == 0:
                continue  # marks that stand on the letter before: one cell holds one character
            for place in range(column, column + width):
                self._chars[row][place] = char if place == column else ""
                self._fore[row, place], self._back[row, place] = fore, back
                self._is_label[row, place] = True
            column += width

    def lines(self) -> tuple[tuple[Segment, ...], ...]:
        """The picture as lines of segments; neighbours of one look are one segment."""
        looks: dict[tuple[int, ...], Style] = {}
        return tuple(tuple(self._line(row, looks)) for row in range(self.rows))

    def _line(self, row: int, looks: dict[tuple[int, ...], Style]) -> Iterator[Segment]:
        colours = np.concatenate([self._fore[row], self._back[row]], axis=1).tolist()
        start = 0
        for column in range(1, self.columns + 1):
            if column == self.columns or colours[column] != colours[start]:
                yield Segment("".join(self._chars[row][start:column]), _style(tuple(colours[start]), looks))
                start = column


def _style(look: tuple[int, ...], looks: dict[tuple[int, ...], Style]) -> Style:
    if look not in looks:
        looks[look] = Style(color=Color.from_rgb(*look[:3]), bgcolor=Color.from_rgb(*look[3:]))
    return looks[look]


def _outline(spot: Spot, frame: _Frame) -> Iterator[tuple[int, int, str]]:
    left, top, right, bottom = spot
    if left == right and top == bottom:
        yield top, left, frame.dot
        return
    for column in range(left + 1, right):
        yield top, column, frame.across
        yield bottom, column, frame.across
    for row in range(top + 1, bottom):
        yield row, left, frame.down
        yield row, right, frame.down
    if top == bottom:
        yield from ((top, left, frame.flat[0]), (top, right, frame.flat[1]))
    elif left == right:
        yield from ((top, left, frame.thin[0]), (bottom, left, frame.thin[1]))
    else:
        places = ((top, left), (top, right), (bottom, left), (bottom, right))
        yield from ((row, column, char) for (row, column), char in zip(places, frame.corners, strict=True))


def _perimeter(spot: Spot) -> int:
    """Cells of an outline, at least one."""
    return 2 * (spot.right - spot.left + spot.bottom - spot.top) or 1


def _is_by_a_corner(spot: Spot, row: int, column: int) -> bool:
    """Whether a cell of an outline is at most one across, or none down, from a corner."""
    across = min(column - spot.left, spot.right - column)
    return row in (spot.top, spot.bottom) and across <= 1


# Where outlines would be longer than this many times the picture's cells, corners alone leave something of the photo.
_MOST_OUTLINES = 1.2
# And where even their corners would take more than this share of the cells, only signs are left, amid the boxes.
_MOST_CORNERS = 0.6
_CELLS_A_BOX = 8
# Beyond these many boxes labels are brief and keep to their own box, for else one would see labels alone.
CROWDED = 12


def draw_in_cells(
    photo: Image.Image, judgement: Judgement, image_size: tuple[int, int], columns: int, rows: int, shown: Shown
) -> tuple[tuple[Segment, ...], ...]:
    """A photo with boxes as lines of segments.

    Args:
        photo: RGB, of any size.
        judgement: The boxes.
        image_size: Pixels that the boxes are in, (width, height).
        columns: Width of the picture in cells.
        rows: Its height.
        shown: Which boxes.
    """
    picture = CellPicture(photo, columns, rows)
    found = judgement.found if shown.found else ()
    truth = judgement.truth if shown.truth else ()
    spots = {id(box): spot_of(box.box_xyxy, image_size, columns, rows) for box in (*found, *truth)}
    if len(spots) * _CELLS_A_BOX > _MOST_CORNERS * columns * rows and len(spots) > CROWDED:
        return _signs(picture, spots, (*found, *truth))
    is_dense = sum(_perimeter(spot) for spot in spots.values()) > _MOST_OUTLINES * columns * rows
    for box in sorted(truth, key=lambda one: one.is_error):
        picture.outline(spots[id(box)], _DASHED, truth_colour(box), corners=is_dense)
    for box in reversed(found):  # the surest on top
        frame = _DOUBLE if box.is_error else _HEAVY
        picture.outline(spots[id(box)], frame, class_colour(box.label), corners=is_dense)
    # A found object's class stands at its detection already.
    labelled = [*found, *(box for box in truth if box.is_error or not shown.found)]
    is_crowded = len(labelled) > CROWDED
    for box in labelled:
        texts = labels_of(box, is_crowded=is_crowded)[-1 if is_dense and is_crowded else 0 :]
        picture.label(spots[id(box)], texts, *label_colours(box), within=is_crowded)
    return picture.lines()


def _signs(
    picture: CellPicture, spots: dict[int, Spot], boxes: Sequence[JudgedBox]
) -> tuple[tuple[Segment, ...], ...]:
    """The picture with a sign amid each box, but for objects that were found."""
    for box in boxes:
        if box.score is not None or box.is_error:
            left, top, right, bottom = spots[id(box)]
            column, row = (left + right) // 2, (top + bottom) // 2
            picture.label(Spot(column, row, column, row), [box.sign], *label_colours(box), within=True)
    return picture.lines()

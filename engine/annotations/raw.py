"""What a label file says, before anyone has judged it: the one form all formats are read into."""

from __future__ import annotations

from typing import Literal

import msgspec

BoxForm = Literal["xyxy", "xywh", "cxcywh_norm"]
Numbers = tuple[float, float, float, float]
NO_NUMBERS: Numbers = (0.0, 0.0, 0.0, 0.0)

_NUMBER_NAMES: dict[BoxForm, tuple[str, str, str, str]] = {
    "xyxy": ("xmin", "ymin", "xmax", "ymax"),
    "xywh": ("x", "y", "width", "height"),
    "cxcywh_norm": ("x centre", "y centre", "width", "height"),
}


class RawObject(msgspec.Struct, frozen=True, gc=False):
    """One object as written.

    Attributes:
        name: Class name, surrounding white space removed; "" when there was none.
        numbers: The box's four numbers as written, in the annotation's form.
        ref: What a person finds it by in its file, such as "object 3".
        line: One-based line in the file, where the format has lines.
        difficult: Marked difficult.
        crowd: Marked as a group.
        truncated: Marked as cut off by the image's edge.
        fault: Why `numbers` mean nothing, or "".
    """

    name: str
    numbers: Numbers
    ref: str
    line: int | None = None
    difficult: bool = False
    crowd: bool = False
    truncated: bool = False
    fault: str = ""


class RawAnnotation(msgspec.Struct, frozen=True):
    """All that is written about one image.

    Attributes:
        form: How the boxes' numbers are meant.
        objects: In the order of the file.
        size: (width, height) in pixels as written; None when absent or not above 0.
        filename: The image's name as written, or "".
        within: Which image of the file this is about, where a file is about many; else "".
    """

    form: BoxForm
    objects: tuple[RawObject, ...] = ()
    size: tuple[int, int] | None = None
    filename: str = ""
    within: str = ""


def xyxy(form: BoxForm, numbers: Numbers, size: tuple[int, int], first_pixel: int = 0) -> Numbers:
    """Corners, in pixels, of a box as written.

    Args:
        form: How the numbers are meant.
        numbers: As written.
        size: (width, height) in pixels of the picture the box was drawn on.
        first_pixel: What xyxy numbers call the first pixel. With 1, the greater number names the
            last pixel inside the box, so that its far edge has the same number from 0.

    Returns:
        (x min, y min, x max, y max), in double precision, neither clipped nor put in order.
    """
    a, b, c, d = numbers
    if form == "xyxy":
        return a - first_pixel, b - first_pixel, c, d
    if form == "xywh":
        return a, b, a + c, b + d
    width, height = size
    return (a - c / 2) * width, (b - d / 2) * height, (a + c / 2) * width, (b + d / 2) * height


def axis_as_written(form: BoxForm, numbers: Numbers, axis: Literal[0, 1]) -> str:
    """The two numbers of one axis in the words of their format, such as 'xmin = 41, xmax = 41'."""
    names = _NUMBER_NAMES[form]
    return f"{names[axis]} = {numbers[axis]:.10g}, {names[axis + 2]} = {numbers[axis + 2]:.10g}"

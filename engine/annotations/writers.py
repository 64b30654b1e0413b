"""Write what is known of an image in each format, so that reading it again gives the same boxes, to the bit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from lxml import etree

from engine.annotations.raw import Numbers, RawAnnotation, RawObject, xyxy


@dataclass(frozen=True, slots=True)
class Described:
    """An image and its objects, ready to be written.

    Attributes:
        name: The image's name, relative to its folder, with forward slashes.
        size: (width, height) in pixels of the picture the boxes lie on.
        raw: The objects, every number finite.
        corners: Their boxes in pixels, counted from 0.
    """

    name: str
    size: tuple[int, int]
    raw: RawAnnotation
    corners: tuple[Numbers, ...]


def voc_xml(image: Described) -> bytes:
    """A Pascal VOC annotation.

    Raises:
        ValueError: A name holds characters that XML forbids.
    """
    root = etree.Element("annotation")
    _add(root, "filename", image.name.rpartition("/")[2])
    size = etree.SubElement(root, "size")
    _add(size, "width", str(image.size[0]))
    _add(size, "height", str(image.size[1]))
    _add(size, "depth", "3")
    for written, corners in zip(image.raw.objects, image.corners, strict=True):
        element = etree.SubElement(root, "object")
        _add(element, "name", written.name)
        _add(element, "truncated", str(int(written.truncated)))
        _add(element, "difficult", str(int(written.difficult)))
        if written.crowd:
            _add(element, "iscrowd", "1")
        box = etree.SubElement(element, "bndbox")
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
            _add(box, side, _number(value))
    etree.indent(root, "\t")
    return etree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def yolo_lines(image: Described, ids: dict[str, int]) -> str:
    """A YOLO label file; flags have no place in it."""
    rows = []
    for written, corners in zip(image.raw.objects, image.corners, strict=True):
        numbers = written.numbers if image.raw.form == "cxcywh_norm" else to_cxcywh_norm(corners, image.size)
        rows.append(" ".join([str(ids[written.name]), *map(_number, numbers)]) + "\n")
    return "".join(rows)


def coco_file(images: Sequence[Described], names: Sequence[str]) -> dict[str, object]:
    """The content of a COCO file; flags that COCO lacks are kept under their own names."""
    ids = {name: number for number, name in enumerate(names, start=1)}
    annotations: list[dict[str, object]] = []
    for image_id, image in enumerate(images, start=1):
        for written, corners in zip(image.raw.objects, image.corners, strict=True):
            x, y, width, height = written.numbers if image.raw.form == "xywh" else to_xywh(corners)
            annotation: dict[str, object] = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": ids[written.name],
                "bbox": [x, y, width, height],
                "area": width * height,
                "iscrowd": int(written.crowd),
            }
            annotation.update({flag: 1 for flag in ("difficult", "truncated") if getattr(written, flag)})
            annotations.append(annotation)
    return {
        "images": [
            {"id": number, "file_name": image.name, "width": image.size[0], "height": image.size[1]}
            for number, image in enumerate(images, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }


def to_xywh(corners: Numbers) -> Numbers:
    """Corners as x, y, width and height that give the same corners again when they are added up."""
    x_min, y_min, x_max, y_max = corners
    return x_min, y_min, _extent(x_min, x_max), _extent(y_min, y_max)


def _extent(low: float, high: float) -> float:
    extent = high - low
    for candidate in (extent, math.nextafter(extent, math.inf), math.nextafter(extent, -math.inf)):
        if low + candidate == high:
            return candidate
    return extent  # far outside of any image, where float32 doesn't see the difference


def to_cxcywh_norm(corners: Numbers, size: tuple[int, int]) -> Numbers:
    """Corners as fractions of the image that give the same corners again, in float32."""
    x_centre, width = _centred(corners[0], corners[2], size[0])
    y_centre, height = _centred(corners[1], corners[3], size[1])
    return x_centre, y_centre, width, height


def _centred(low: float, high: float, pixels: int) -> tuple[float, float]:
    centre, extent = (low + high) / 2 / pixels, (high - low) / pixels
    wanted = np.array([low, high], np.float32)
    for moved in (0, 1, -1, 2, -2):
        tried = centre + moved * math.ulp(centre)
        back = xyxy("cxcywh_norm", (tried, 0, extent, 0), (pixels, 1))
        if np.array_equal(np.array([back[0], back[2]], np.float32), wanted):
            return tried, extent
    return centre, extent


def turned(corners: Numbers, orientation: int, size: tuple[int, int]) -> Numbers:
    """A box drawn on stored pixels, where it lies once the picture is turned as EXIF says.

    Args:
        corners: In pixels of the stored picture.
        orientation: EXIF orientation, 1 to 8.
        size: (width, height) in pixels as stored.
    """
    x_min, y_min, x_max, y_max = corners
    width, height = size
    if orientation in (5, 6, 7, 8):  # rows become columns first
        x_min, y_min, x_max, y_max = y_min, x_min, y_max, x_max
        width, height = height, width
    if orientation in (2, 3, 6, 7):
        x_min, x_max = width - x_max, width - x_min
    if orientation in (3, 4, 7, 8):
        y_min, y_max = height - y_max, height - y_min
    return x_min, y_min, x_max, y_max


def _add(parent: etree._Element, tag: str, text: str) -> None:
    etree.SubElement(parent, tag).text = text


def _number(value: float) -> str:
    """The shortest text that reads as the same number."""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def lost_in_yolo(objects: Sequence[RawObject]) -> dict[str, int]:
    """How many objects carry each mark that YOLO labels can't hold."""
    marks = ("difficult", "truncated", "crowd")
    return {mark: count for mark in marks if (count := sum(getattr(written, mark) for written in objects))}

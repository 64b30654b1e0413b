"""Read a COCO JSON file: one file about many images. Judges nothing but whether it can be read.

Category ids may be any numbers, 0 included, in any order; only their names count. Segmentations,
licences and the rest are passed over without being unpacked.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engine.annotations.labelfile import read_bounded, unreadable
from engine.annotations.raw import NO_NUMBERS, Numbers, RawAnnotation, RawObject
from engine.errors import Where

MAX_JSON_BYTES = 2**30
_BYTE = re.compile(r"\(byte (\d+)\)")

_Id = int | str


class _Image(msgspec.Struct):
    id: _Id
    file_name: str
    width: float | None = None
    height: float | None = None


class _Annotation(msgspec.Struct):
    image_id: _Id
    category_id: _Id
    id: _Id | None = None
    bbox: Any = None
    iscrowd: int = 0
    # Not part of COCO; written by `engine convert` so that nothing is lost on the way.
    difficult: int = 0
    truncated: int = 0


class _Category(msgspec.Struct):
    id: _Id
    name: str


class _File(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation] = []


@dataclass(frozen=True, slots=True)
class CocoFile:
    """What a COCO file says.

    Attributes:
        images: Image file name as written, with forward slashes -> what is written about it.
        orphans: Annotations of images that the file doesn't list, as "annotation 7 of image 3".
        names: Category names, in the file's order.
    """

    images: Mapping[str, RawAnnotation]
    orphans: tuple[str, ...]
    names: tuple[str, ...]


def read_coco(path: str | Path) -> CocoFile:
    """Read a COCO file.

    Args:
        path: The JSON file.

    Returns:
        What it says, boxes as xywh numbers. A category that isn't defined is called "category id N".

    Raises:
        DataError: It can't be opened, isn't JSON of this form or lists an image or a category
            twice (D110), or is too large (D111).

    Source:
        cocodataset.org, "Data format", object detection.
    """
    file = _decoded(str(path), read_bounded(path, MAX_JSON_BYTES))
    images = _by_id(str(path), "image", file.images)
    categories = _by_id(str(path), "category", file.categories)
    objects: dict[_Id, list[RawObject]] = {number: [] for number in images}
    orphans = []
    for index, annotation in enumerate(file.annotations):
        ref = f"annotation {_shown(index if annotation.id is None else annotation.id)}"
        if annotation.image_id in objects:
            objects[annotation.image_id].append(_object(annotation, ref, categories))
        else:
            orphans.append(f"{ref} of image {_shown(annotation.image_id)}")
    read: dict[str, RawAnnotation] = {}
    for image in file.images:
        name = posixpath.normpath(image.file_name.replace("\\", "/"))
        if name in read:
            raise _twice(str(path), f'the image "{image.file_name[:200]}" is listed twice')
        read[name] = RawAnnotation("xywh", tuple(objects[image.id]), _size(image), image.file_name, within=name)
    return CocoFile(read, tuple(orphans), tuple(category.name.strip() for category in file.categories))


def _decoded(path: str, content: bytes) -> _File:
    try:
        return msgspec.json.decode(content, type=_File)
    except msgspec.ValidationError as fault:
        found = f"not a COCO file: {str(fault)[:300]}"
        fix = "check that dataset.format is right and the file is the one with images, annotations and categories"
        raise unreadable(Where(path), found, fix) from fault
    except msgspec.DecodeError as fault:
        byte = _BYTE.search(str(fault))
        line = content.count(b"\n", 0, int(byte[1])) + 1 if byte else None
        raise unreadable(Where(path, line=line), f"not JSON: {str(fault)[:300]}", "export it again") from fault
    except (RecursionError, UnicodeDecodeError) as fault:
        raise unreadable(Where(path), f"not JSON: {str(fault)[:300]}", "export it again") from fault


_Entry = TypeVar("_Entry", _Image, _Category)


def _by_id(path: str, what: str, entries: list[_Entry]) -> dict[_Id, _Entry]:
    found: dict[_Id, _Entry] = {}
    for entry in entries:
        if found.setdefault(entry.id, entry) is not entry:
            raise _twice(path, f"{what} id {_shown(entry.id)} is given twice")
    return found


def _twice(path: str, found: str) -> Exception:
    return unreadable(Where(path), found, "give each its own; files are usually merged wrongly when this happens")


def _object(annotation: _Annotation, ref: str, categories: Mapping[_Id, _Category]) -> RawObject:
    category = categories.get(annotation.category_id)
    numbers, fault = _numbers(annotation.bbox)
    return RawObject(
        name=f"category id {_shown(annotation.category_id)}" if category is None else category.name.strip(),
        numbers=numbers,
        ref=ref,
        crowd=annotation.iscrowd != 0,
        difficult=annotation.difficult != 0,
        truncated=annotation.truncated != 0,
        fault=fault,
    )


def _numbers(bbox: Any) -> tuple[Numbers, str]:
    if bbox is None:
        return NO_NUMBERS, "there is no bbox"
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(type(value) in (int, float) for value in bbox):
        return NO_NUMBERS, "bbox isn't a list of four numbers"
    try:
        return (float(bbox[0]), float(bbox[1]), float(bbox[2]), float(bbox[3])), ""
    except OverflowError:
        return NO_NUMBERS, "bbox holds a number beyond all bounds"


def _size(image: _Image) -> tuple[int, int] | None:
    if not image.width or not image.height or image.width < 1 or image.height < 1:
        return None
    return round(image.width), round(image.height)


def _shown(number: _Id) -> str:
    return str(number)[:40]

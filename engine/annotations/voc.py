"""Read one Pascal VOC annotation (LabelImg's XML). Judges nothing but whether it can be read.

Refuses entities, external parts, deep nesting and oversized files: a label file needs none of them.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from lxml import etree

from engine.annotations import codes
from engine.annotations.raw import RawAnnotation, RawObject
from engine.errors import DataError, Where

MAX_XML_BYTES = 16 * 2**20
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_NOTHING = (0.0, 0.0, 0.0, 0.0)


def read_voc(path: str | Path) -> RawAnnotation:
    """Read a Pascal VOC annotation.

    Args:
        path: The XML file.

    Returns:
        What it says, boxes as xyxy numbers.

    Raises:
        DataError: It can't be opened, is too large (D111), isn't XML or no annotation (D110).

    Source:
        PASCAL VOC 2012 development kit, annotation files; LabelImg's pascal_voc_io.
    """
    root = _root(str(path), read_bounded(path, MAX_XML_BYTES))
    return RawAnnotation(
        form="xyxy",
        objects=tuple(_object(element, index) for index, element in enumerate(root.iterchildren("object"), start=1)),
        size=_size(root.find("size")),
        filename=_text(root, "filename"),
    )


def read_bounded(path: str | Path, max_bytes: int) -> bytes:
    """A label file's bytes, if it is an ordinary file of bearable size.

    Args:
        path: The file.
        max_bytes: The most that is read.

    Returns:
        Its content.

    Raises:
        DataError: It can't be opened (D110) or is too large (D111).
    """
    try:
        # Non-blocking, because opening a pipe that is named like a label would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise DataError.of(
                    codes.ANNOTATION_UNREADABLE, str(path), "not an ordinary file", "remove it, or put a file there"
                )
            if status.st_size > max_bytes:
                raise DataError.of(
                    codes.TOO_LARGE,
                    str(path),
                    f"{status.st_size} bytes; annotations up to {max_bytes} are read",
                    "check how it was made; split it, or remove what isn't labels",
                )
            return file.read(max_bytes + 1)
    except OSError as fault:
        raise DataError.of(
            codes.ANNOTATION_UNREADABLE, str(path), f"can't be opened: {fault.strerror}", "make it readable"
        ) from fault


def _root(path: str, content: bytes) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as fault:
        line, column = fault.position
        found = "the file is empty" if not content.strip() else f"not XML: {fault.msg}"
        raise DataError.of(
            codes.ANNOTATION_UNREADABLE,
            Where(path, line=max(line, 1), column=column or None),
            found,
            "save it again with the labelling tool, or delete it",
        ) from fault
    if root.getroottree().docinfo.internalDTD is not None:
        found = "has a document type (<!DOCTYPE>), which labels don't need and which can hide entity bombs"
        raise DataError.of(codes.ANNOTATION_UNREADABLE, Where(path, line=1), found, "remove it from the file")
    if root.tag != "annotation":
        raise DataError.of(
            codes.ANNOTATION_UNREADABLE,
            Where(path, line=_line(root)),
            f"the outermost element is <{root.tag}>, not <annotation>",
            "check that this is a Pascal VOC annotation and dataset.format is right",
        )
    return root


def _line(element: etree._Element) -> int | None:
    line: object = element.sourceline
    return line if isinstance(line, int) else None


def _text(element: etree._Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _flag(element: etree._Element, tag: str) -> bool:
    return _text(element, tag).lower() in ("1", "true", "yes")


def _size(element: etree._Element | None) -> tuple[int, int] | None:
    if element is None:
        return None
    try:
        width, height = int(float(_text(element, "width"))), int(float(_text(element, "height")))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _object(element: etree._Element, index: int) -> RawObject:
    box = element.find("bndbox")
    numbers, fault = (_NOTHING, "there is no <bndbox>") if box is None else _numbers(box)
    return RawObject(
        name=_text(element, "name"),
        numbers=numbers,
        index=index,
        line=_line(element),
        difficult=_flag(element, "difficult"),
        truncated=_flag(element, "truncated"),
        fault=fault,
    )


def _numbers(box: etree._Element) -> tuple[tuple[float, float, float, float], str]:
    values = []
    for side in _SIDES:
        text = _text(box, side)
        try:
            values.append(float(text))
        except ValueError:
            return _NOTHING, f'{side} is "{text[:40]}", not a number' if text else f"{side} is missing"
    return (values[0], values[1], values[2], values[3]), ""

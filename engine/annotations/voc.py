"""Read one Pascal VOC annotation (LabelImg's XML). Judges nothing but whether it can be read.

Refuses entities, external parts, deep nesting and oversized files: a label file needs none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lxml import etree

from engine.annotations.labelfile import read_bounded, unreadable
from engine.annotations.raw import NO_NUMBERS, Numbers, RawAnnotation, RawObject
from engine.errors import Where

MAX_XML_BYTES = 16 * 2**20
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_TRUE = ("1", "true", "True", "yes")


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
        found = "the file is empty" if not content.strip() else f"not XML: {str(fault.msg)[:200]}"
        where = Where(path, line=max(line, 1), column=column or None)
        raise unreadable(where, found, "save it again with the labelling tool, or delete it") from fault
    if root.getroottree().docinfo.internalDTD is not None:
        found = "has a document type (<!DOCTYPE>), which labels don't need and which can hide entity bombs"
        raise unreadable(Where(path, line=1), found, "remove it from the file")
    if root.tag != "annotation":
        found = f"the outermost element is <{str(root.tag)[:100]}>, not <annotation>"
        fix = "check that this is a Pascal VOC annotation and dataset.format is right"
        raise unreadable(Where(path, line=_line(root)), found, fix)
    return root


def _line(element: etree._Element) -> int | None:
    line: object = element.sourceline
    return line if isinstance(line, int) else None


def _text(element: etree._Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _size(element: etree._Element | None) -> tuple[int, int] | None:
    if element is None:
        return None
    try:
        width, height = int(float(_text(element, "width"))), int(float(_text(element, "height")))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _object(element: etree._Element, index: int) -> RawObject:
    parts = _parts(element)
    box = element.find("bndbox") if "bndbox" in parts else None
    numbers, fault = (NO_NUMBERS, "there is no <bndbox>") if box is None else _numbers(_parts(box))
    return RawObject(
        name=parts.get("name", ""),
        numbers=numbers,
        ref=f"object {index}",
        line=_line(element),
        difficult=parts.get("difficult", "") in _TRUE,
        truncated=parts.get("truncated", "") in _TRUE,
        crowd=parts.get("iscrowd", "") in _TRUE,
        fault=fault,
    )


def _parts(element: etree._Element) -> dict[object, str]:
    """The text of each child by its tag, the first of each; one pass is much faster than a search for each."""
    parts: dict[object, str] = {}
    for child in element:
        parts.setdefault(child.tag, (child.text or "").strip())
    return parts


def _numbers(parts: Mapping[object, str]) -> tuple[Numbers, str]:
    values = []
    for side in _SIDES:
        text = parts.get(side, "")
        try:
            values.append(float(text))
        except ValueError:
            return NO_NUMBERS, f'{side} is "{text[:40]}", not a number' if text else f"{side} is missing"
    return (values[0], values[1], values[2], values[3]), ""

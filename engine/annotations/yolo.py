"""Read one YOLO label file, and the file that names its class ids.

A line is `class x_centre y_centre width height`, fractions of the image, or
`class x1 y1 x2 y2 x3 y3 ...`, a polygon, of which the box round it is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from engine.annotations.labelfile import read_bounded, unreadable
from engine.annotations.raw import NO_NUMBERS, Numbers, RawAnnotation, RawObject
from engine.errors import Where

MAX_TXT_BYTES = 16 * 2**20
MAX_NAMES_BYTES = 2**18
_MAX_NAMES_DEPTH = 20
# Reads a hundred thousand names in a second, where Python's own takes a minute.
_YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Beyond it, numbers can't be fractions of an image with a box that reaches a little outside.
_MAX_FRACTION = 2.0
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII)


def read_yolo(path: str | Path, names: Mapping[int, str]) -> RawAnnotation:
    """Read a YOLO label file.

    Args:
        path: The txt file.
        names: Class id -> name.

    Returns:
        What it says, boxes as cxcywh_norm numbers; a class id without a name is called "class id N".

    Raises:
        DataError: It can't be opened or isn't text (D110), or is too large (D111).

    Source:
        Ultralytics documentation, detection and segmentation dataset formats.
    """
    objects: list[RawObject] = []
    for number, line in enumerate(_text(path, MAX_TXT_BYTES).split("\n"), start=1):
        parts = line.split()
        if parts:
            objects.append(_object(parts, number, len(objects) + 1, names))
    return RawAnnotation(form="cxcywh_norm", objects=tuple(objects))


def read_names(path: Path) -> dict[int, str]:
    """Read the names of class ids.

    Args:
        path: A `data.yaml` with `names` as a list or as id -> name; or a txt file with a name a line.

    Returns:
        Class id -> name.

    Raises:
        DataError: It can't be opened or holds no names (D110), or is too large (D111).
    """
    text = _text(path, MAX_NAMES_BYTES)
    if path.suffix.lower() == ".txt":
        return {index: line.strip() for index, line in enumerate(text.splitlines()) if line.strip()}
    names = _names_in_yaml(path, text)
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise _no_names(path, "there is no list or table of names")
    wrong = [index for index, name in names.items() if type(index) is not int or not isinstance(name, str)]
    if wrong:
        raise _no_names(path, f"the name of class {str(wrong[0])[:40]} isn't a whole number with a text")
    return {index: name.strip() for index, name in names.items()}


def _names_in_yaml(path: Path, text: str) -> Any:
    try:
        _require_shallow(path, text)
        data = yaml.load(text, Loader=_YamlLoader)  # noqa: S506 - either loader is the safe one
    except yaml.MarkedYAMLError as fault:
        line = None if fault.problem_mark is None else fault.problem_mark.line + 1
        raise unreadable(Where(str(path), line=line), f"not YAML: {fault.problem}", "correct the file") from fault
    except (yaml.YAMLError, ValueError, RecursionError) as fault:
        raise unreadable(Where(str(path)), f"not YAML: {str(fault)[:200]}", "correct the file") from fault
    return data.get("names") if isinstance(data, dict) else None


def _require_shallow(path: Path, text: str) -> None:
    """Deep nesting costs a reader of YAML the square of its depth, or the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_YamlLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_NAMES_DEPTH:
            raise unreadable(Where(str(path)), "nested too deeply", "keep just the names")


def _no_names(path: Path, found: str) -> Exception:
    return unreadable(Where(str(path)), f"no class names: {found}", 'add names, as in names: ["mug", "laptop"]')


def _text(path: str | Path, max_bytes: int) -> str:
    content = read_bounded(path, max_bytes)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        raise unreadable(Where(str(path), line=line), "not text in UTF-8", "save it as plain text") from fault


def _object(parts: list[str], line: int, index: int, names: Mapping[int, str]) -> RawObject:
    numbers, fault = _numbers(parts)
    return RawObject(_name(parts[0], names), numbers, f"object {index}", line=line, fault=fault)


def _name(written: str, names: Mapping[int, str]) -> str:
    # Some tools write ids as "0.0"; beyond a few digits it is no id and needs no conversion.
    digits = written.removesuffix(".0")
    if len(digits) <= 9 and digits.isascii() and digits.isdigit():
        return names.get(int(digits)) or f"class id {int(digits)}"
    return f"class id {written[:40]}"


def _numbers(parts: list[str]) -> tuple[Numbers, str]:
    wrong = next((part for part in parts[1:] if not _NUMBER.fullmatch(part)), None)
    if wrong is not None:
        return NO_NUMBERS, f'"{wrong[:40]}" is not a number'
    values = [float(part) for part in parts[1:]]
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        return NO_NUMBERS, f"{len(values)} numbers after the class; a box has 4, a polygon an even count from 6"
    greatest = max(values)
    if greatest > _MAX_FRACTION:
        return NO_NUMBERS, f"{greatest:.6g} is not a fraction of the image; are the numbers pixels?"
    if len(values) == 4:
        return (values[0], values[1], values[2], values[3]), ""
    x_min, x_max, y_min, y_max = min(values[::2]), max(values[::2]), min(values[1::2]), max(values[1::2])
    return ((x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min), ""

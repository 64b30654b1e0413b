"""Tell of which format a folder's annotations are, by looking into a few of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.annotations.coco import read_coco
from engine.annotations.labelfile import read_bounded
from engine.annotations.yolo import MAX_NAMES_BYTES, read_names
from engine.errors import DataError
from engine.scaffold.layout import Format, Layout, coco_pairs, folder_pairs, layout_of
from engine.scaffold.tree import Folder, Tree

FORMAT_WORDS: Mapping[Format, str] = {"voc": "Pascal VOC XML", "coco": "COCO JSON", "yolo": "YOLO txt"}

MAX_CLASS_NAME = 200
"""Characters of the longest class name that a recipe may hold."""

_SAMPLES = 20
_SNIFFED_BYTES = 4096
_MAX_JSON_FILES = 50
_YOLO_LINE = re.compile(rb"\d+(?:\.0)?(?:[ \t]+[-+.\deE]+){4,}\s*")
# Where tools write the names of YOLO class ids, the likeliest first.
_NAMES_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml", "config.yaml", "config.yml")
_NAMES_DEPTH = 2


@dataclass(frozen=True, slots=True)
class YoloNames:
    """What names the class ids of a YOLO dataset.

    Attributes:
        path: The file.
        names: Class id -> name.
        readable: Whether a recipe can name it as `names_file`; darknet's obj.names can't be.
    """

    path: Path
    names: Mapping[int, str]
    readable: bool = True


def layouts(tree: Tree) -> list[Layout]:
    """The ways in which the folder can be read, that of the most pictures first."""
    found = [
        layout_of("voc", folder_pairs(tree, _voc_labels(tree)), tree.top),
        layout_of("coco", coco_pairs(tree, _coco_files(tree)), tree.top),
        layout_of("yolo", folder_pairs(tree, _yolo_labels(tree)), tree.top),
    ]
    return sorted((layout for layout in found if layout is not None), key=lambda layout: -layout.num_images)


def _voc_labels(tree: Tree) -> dict[Folder, list[str]]:
    files = tree.of_kind(".xml")
    return {folder: names for folder, names in files.items() if _looks(tree, folder, names, _is_voc)}


def _is_voc(start: bytes) -> bool | None:
    return b"<annotation" in start.replace(b"\0", b"")  # UTF-16 too


def _yolo_labels(tree: Tree) -> dict[Folder, list[str]]:
    files = tree.of_kind(".txt")
    return {folder: names for folder, names in files.items() if _looks(tree, folder, names, _is_yolo)}


def _is_yolo(start: bytes) -> bool | None:
    lines = [line for line in start.removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip()]
    # An empty file is a picture without objects and says nothing of the format.
    return bool(_YOLO_LINE.fullmatch(lines[0].strip() + b" ")) if lines else None


def _looks(
    tree: Tree, folder: Folder, names: Sequence[str], is_of_format: Callable[[bytes], bool | None]
) -> bool:
    """Whether most of a folder's files, of those that tell, are of a format."""
    step = max(1, len(names) // _SAMPLES)
    told = [is_of_format(_start(tree.path(folder) / name)) for name in names[::step]]
    answers = [answer for answer in told if answer is not None]
    return bool(answers) and 2 * sum(answers) >= len(answers)


def _start(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _SNIFFED_BYTES)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _coco_files(tree: Tree) -> dict[tuple[Folder, str], list[str]]:
    files: dict[tuple[Folder, str], list[str]] = {}
    every = [(folder, name) for folder, names in tree.of_kind(".json").items() for name in names]
    for folder, name in every[:_MAX_JSON_FILES]:
        try:
            files[folder, name] = list(read_coco(tree.path(folder) / name).images)
        except DataError:
            continue  # some other JSON
    return files


# --- class names ---


def is_class_name(name: str) -> bool:
    """Whether a recipe may hold it as a class."""
    return 0 < len(name) <= MAX_CLASS_NAME


def yolo_names(tree: Tree) -> YoloNames | None:
    """The file that names a YOLO dataset's class ids, if there is one that can be read."""
    candidates = sorted(
        (
            (folder, name)
            for suffix in (".yaml", ".yml", ".txt", ".names")
            for folder, names in tree.of_kind(suffix).items()
            for name in names
            if len(folder) <= _NAMES_DEPTH and _may_hold_names(name.lower())
        ),
        key=lambda place: (_likelihood(place[1].lower()), len(place[0]), place),
    )
    for folder, name in candidates:
        found = _read_names(tree.path(folder) / name)
        if found is not None:
            return found
    return None


def _may_hold_names(name: str) -> bool:
    return name.endswith((".yaml", ".yml", ".names")) or name == "classes.txt"


def _likelihood(name: str) -> int:
    if name in _NAMES_FILES:
        return _NAMES_FILES.index(name)
    return len(_NAMES_FILES) + (name == "classes.txt") + 2 * name.endswith(".names")


def _read_names(path: Path) -> YoloNames | None:
    try:
        if path.suffix.lower() == ".names":
            lines = [line.strip() for line in read_bounded(path, MAX_NAMES_BYTES).decode().strip().splitlines()]
            # The recipe will hold these lines in place of the file: each must be a class, and its id its place.
            if not lines or len(set(lines)) < len(lines) or not all(map(is_class_name, lines)):
                return None
            return YoloNames(path, dict(enumerate(lines)), readable=False)
        return YoloNames(path, read_names(path))
    except (DataError, UnicodeDecodeError):
        return None  # some other YAML

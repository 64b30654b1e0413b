"""COCO's two files, read into columns: the ground truth, and the list of results.

Refuses what doesn't fit together: whatever is counted was looked for in the images and classes at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from engine.analysis.tables import Detections, Floats, GroundTruth, ImageEntry, Ints, from_columns
from engine.errors import DataError, Where

_Box = tuple[float, float, float, float]
_Content = TypeVar("_Content")
_NUM_EXAMPLES = 3


class _Image(msgspec.Struct):
    id: int
    file_name: str = ""
    path: str | None = None
    width: int | float = 0
    height: int | float = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: _Box
    area: float | None = None
    iscrowd: int | bool = 0


class _Info(msgspec.Struct):
    model: str = ""
    split: str = ""
    epoch: int | None = None


class _Instances(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]


class _WithInfo(msgspec.Struct):
    info: _Info = msgspec.field(default_factory=_Info)


class _Result(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: _Box
    score: float


def read_file(path: Path) -> bytes:
    """A file's content.

    Raises:
        DataError: It can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError.of(
            "X301", str(path), f"the file can't be read: {error.strerror or error}", "name an existing COCO JSON file"
        ) from error


def parse_ground_truth(content: bytes, name: str) -> GroundTruth:
    """Read COCO's ground truth.

    Args:
        content: The file's bytes.
        name: How messages call the file.

    Raises:
        DataError: It isn't such a file, or its parts don't fit together.
    """
    data = _decoded(content, name, _Instances, "X302", "COCO ground truth: images, annotations with bbox, categories")
    images = sorted(data.images, key=lambda image: image.id)
    categories = sorted(data.categories, key=lambda category: category.id)
    image_ids, category_ids = [image.id for image in images], [category.id for category in categories]
    _refuse_twice(name, "images", image_ids)
    _refuse_twice(name, "categories", category_ids)
    boxes = _boxes([one.bbox for one in data.annotations])
    _refuse_inverted(name, "annotations", boxes)
    fix = "correct the file, or export it anew"
    own = boxes[:, 2] * boxes[:, 3]
    given = np.array([np.nan if one.area is None else one.area for one in data.annotations], dtype=np.float64)
    return GroundTruth(
        images=tuple(
            ImageEntry(one.id, one.file_name, one.path, round(one.width), round(one.height)) for one in images
        ),
        class_names=tuple(one.name for one in categories), category_ids=tuple(category_ids),
        image=_places(image_ids, [one.image_id for one in data.annotations], name, "X304", "annotations", "image", fix),
        label=_places(
            category_ids, [one.category_id for one in data.annotations], name, "X304", "annotations", "category", fix
        ),
        boxes_xywh=boxes, area=np.where(np.isnan(given), own, given),
        excused=np.array([bool(one.iscrowd) for one in data.annotations], dtype=bool),
    )


def parse_detections(content: bytes, name: str, truth: GroundTruth) -> Detections:
    """Read COCO's list of results.

    Args:
        content: The file's bytes.
        name: How messages call the file.
        truth: What the detections are for.

    Raises:
        DataError: It isn't such a list, or it names images or categories that the ground truth hasn't.
    """
    results = _decoded(
        content, name, list[_Result], "X303", "a list of COCO results, each with image_id, category_id, bbox and score"
    )
    boxes = _boxes([one.bbox for one in results])
    _refuse_inverted(name, "detections", boxes)
    image = _places(
        [image.image_id for image in truth.images], [one.image_id for one in results], name, "X305", "detections",
        "image", "give the ground truth that these detections were made for",
    )
    label = _places(
        truth.category_ids, [one.category_id for one in results], name, "X306", "detections", "category",
        "write the ground truth's category ids into the detections: many tools count classes from 0, COCO from 1",
    )
    return from_columns(image, label, boxes, [one.score for one in results])


def parse_info(content: bytes) -> tuple[str, str, int | None]:
    """Of which model, split and epoch a ground truth of ours says that its detections are."""
    try:
        info = msgspec.json.decode(content, type=_WithInfo).info
    except msgspec.DecodeError:
        return "", "", None
    return info.model, info.split, info.epoch


def _decoded(content: bytes, name: str, kind: type[_Content], code: str, expected: str) -> _Content:
    fix = "export the file anew, or name another one"
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        words, _, place = str(error).partition(" - at ")
        raise DataError.of(
            code, Where(name, item=place.strip("`").removeprefix("$.").removeprefix("$")),
            f"this isn't {expected}: {words[:1].lower()}{words[1:]}", fix,
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError.of(code, name, f"this isn't JSON: {error}", fix) from error


def _boxes(boxes: Sequence[_Box]) -> Floats:
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _refuse_twice(name: str, what: str, ids: Sequence[int]) -> None:
    twice = sorted({one for one, following in pairwise(ids) if one == following})
    if twice:
        raise DataError.of(
            "X304", Where(name, item=what), f"the id {twice[0]} is given twice", "correct the file, or export it anew"
        )


def _refuse_inverted(name: str, what: str, boxes: Floats) -> None:
    inverted = np.flatnonzero((boxes[:, 2:] < 0).any(axis=1))
    if len(inverted):
        box = ", ".join(f"{value:g}" for value in boxes[inverted[0]])
        raise DataError.of(
            "X307", Where(name, item=f"{what}[{inverted[0]}].bbox"),
            f"{len(inverted)} box(es) of negative width or height, such as [{box}]",
            "COCO's boxes are [x, y, width, height]; corners were written instead, or the wrong way round",
        )


def _places(
    known: Sequence[int], asked: Sequence[int], name: str, code: str, what: str, kind: str, fix: str
) -> Ints:
    """Where each asked id stands among the known ones, which rise."""
    ids, wanted = np.array(known, dtype=np.int64), np.array(asked, dtype=np.int64)
    places = np.searchsorted(ids, wanted)
    there = np.zeros(len(wanted), dtype=bool)
    inside = places < len(ids)
    there[inside] = ids[places[inside]] == wanted[inside]
    if not there.all():
        unknown = np.unique(wanted[~there])
        examples = ", ".join(map(str, unknown[:_NUM_EXAMPLES].tolist()))
        more = f" and {len(unknown) - _NUM_EXAMPLES} more" if len(unknown) > _NUM_EXAMPLES else ""
        raise DataError.of(
            code, Where(name, item=what),
            f"{(~there).sum()} of {len(wanted)} {what} are of {kind} id(s) that the ground truth hasn't: "
            f"{examples}{more}; it has {_span(known)}", fix,
        )
    return places


def _span(ids: Sequence[int]) -> str:
    if not ids:
        return "none"
    return str(ids[0]) if len(ids) == 1 else f"{len(ids)} from {ids[0]} to {ids[-1]}"

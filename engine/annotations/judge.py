"""Apply the recipe's policies to one image and what is written about it: a record, or the reasons why not.

The one place that decides what dirt is; the check and the training both read through it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from engine.annotations import codes
from engine.annotations.findings import Findings
from engine.annotations.labels import IGNORED, LabelMap
from engine.annotations.picture import PictureFacts
from engine.annotations.raw import BoxForm, RawAnnotation, RawObject, axis_as_written, xyxy
from engine.annotations.records import ImageRecord
from engine.errors import Problem, Where
from engine.recipe.schema import Dataset

EDGE_TOLERANCE_PX = 0.1
"""How far a box may reach over the edge without being called outside: decimals were rounded when
it was written. It is cut off at the edge without a word."""

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Shown:
    """The picture as the model sees it."""

    width: int
    height: int
    apply_exif: bool


@dataclass(frozen=True, slots=True)
class Drawn:
    """Boxes on a picture: where they are written, how their numbers are meant, what they lie on."""

    place: str
    form: BoxForm
    shown: Shown


@dataclass(frozen=True, slots=True)
class Judge:
    """The policies, the class map, and where findings go."""

    dataset: Dataset
    labels: LabelMap
    findings: Findings

    def record(
        self, image_path: str, annotation_path: str | None, facts: PictureFacts, raw: RawAnnotation
    ) -> ImageRecord | None:
        """Judge one image.

        Args:
            image_path: The image file.
            annotation_path: Its annotation; None for a picture taken without objects.
            facts: What the image's header says.
            raw: What the annotation says.

        Returns:
            The record, or None when the image can't be used.
        """
        place = annotation_path or image_path
        shown = self._shown(place, facts, raw)
        if shown is None:
            return None
        drawn = Drawn(place, raw.form, shown)
        kept = [
            (label, corners, written)
            for written in raw.objects
            if (label := self._label(place, written)) is not None and (corners := self._box(drawn, written)) is not None
        ]
        return ImageRecord(
            image_path=Path(image_path),
            annotation_path=None if annotation_path is None else Path(annotation_path),
            width=shown.width,
            height=shown.height,
            boxes_xyxy=np.array([corners for _, corners, _ in kept], dtype=np.float32).reshape(-1, 4),
            labels=np.array([label for label, _, _ in kept], dtype=np.int64),
            difficult=np.array([written.difficult for _, _, written in kept], dtype=np.bool_),
            crowd=np.array([written.crowd for _, _, written in kept], dtype=np.bool_),
            apply_exif=shown.apply_exif,
        )

    def _shown(self, place: str, facts: PictureFacts, raw: RawAnnotation) -> Shown | None:
        upright = Shown(*facts.shown_size, apply_exif=True)
        stored = Shown(facts.width, facts.height, apply_exif=False)
        if raw.size is None:
            if raw.form != "cxcywh_norm" and raw.objects:
                self._size_unknown(place)
        elif raw.size != (upright.width, upright.height):
            if raw.size == (stored.width, stored.height):
                self._drawn_on_stored_pixels(place, facts)
                return stored
            return self._mismatch(place, raw.size, upright)
        if (
            facts.orientation != 1
            and raw.objects
            and (raw.size is None or facts.shown_size == (stored.width, stored.height))
        ):
            self._orientation_unclear(place, facts)
        return upright

    def _mismatch(self, place: str, written: tuple[int, int], upright: Shown) -> Shown | None:
        found = f"size mismatch: the annotation says {written[0]} x {written[1]}, "
        found += f"the image has {upright.width} x {upright.height}"
        if self.dataset.size_mismatch == "use_image":
            self.findings.settled(
                codes.SIZE_MISMATCH, "the image's size is used", Where(place), key="dataset.size_mismatch"
            )
            return upright
        fix = 'label it again on this image, or, if the boxes fit it, set dataset.size_mismatch = "use_image"'
        self.findings.fault(codes.SIZE_MISMATCH, Where(place), found, fix)
        return None

    def _label(self, place: str, written: RawObject) -> int | None:
        label = self.labels.index(written.name)
        if label is not None:
            return None if label == IGNORED else label
        where = _where(place, written)
        if self.dataset.unknown_classes == "skip":
            self.findings.settled(
                codes.CLASS_UNKNOWN,
                "objects left out",
                where,
                key="dataset.unknown_classes",
                detail=f'"{written.name}"',
            )
            return None
        found, fix = self._unknown(written.name)
        self.findings.fault(codes.CLASS_UNKNOWN, where, found, fix)
        return None

    def _unknown(self, name: str) -> tuple[str, str]:
        if not name:
            return "the object has no class name", "label it again, or delete the object"
        meant = self.labels.suggestion(name)
        found = f'class "{name[:200]}" is not in the class map'
        if meant is None:
            return found, "add it to classes.names, or to classes.ignore to leave it out"
        return f'{found}; did you mean "{meant}"?', f'add "{name[:200]}" = "{meant}" to classes.aliases, or correct it'

    def _box(self, drawn: Drawn, written: RawObject) -> Corners | None:
        fault = written.fault or _not_finite(drawn.form, written)
        if fault:
            self.findings.fault(
                codes.BOX_UNREADABLE,
                _where(drawn.place, written),
                f"no usable box: {fault}",
                "correct or delete the object",
            )
            return None
        corners = xyxy(drawn.form, written.numbers, drawn.shown.width, drawn.shown.height)
        if corners[2] <= corners[0] or corners[3] <= corners[1]:
            self._empty(drawn, written, corners)
            return None
        return self._inside(drawn, written, corners)

    def _empty(self, drawn: Drawn, written: RawObject, corners: Corners) -> None:
        x_min, _, x_max, _ = corners
        axis: Literal[0, 1] = 0 if _single(x_max) <= _single(x_min) else 1
        extent = corners[axis + 2] - corners[axis]
        side = ("width", "height")[axis]
        kind = "inverted" if extent < 0 else "empty"
        found = f"{kind} box: {side} is {extent:.10g} px ({axis_as_written(drawn.form, written.numbers, axis)})"
        where = _where(drawn.place, written)
        if self.dataset.empty_boxes == "error":
            fix = 'correct or delete the object, or set dataset.empty_boxes = "drop"'
            self.findings.fault(codes.BOX_EMPTY, where, found, fix)
        else:
            self.findings.settled(codes.BOX_EMPTY, "objects left out", where, key="dataset.empty_boxes")

    def _inside(self, drawn: Drawn, written: RawObject, corners: Corners) -> Corners | None:
        x_min, y_min, x_max, y_max = corners
        width, height = drawn.shown.width, drawn.shown.height
        over = max(-x_min, x_max - width), max(-y_min, y_max - height)
        clipped = max(x_min, 0.0), max(y_min, 0.0), min(x_max, float(width)), min(y_max, float(height))
        if max(over) > EDGE_TOLERANCE_PX:
            return self._outside(drawn, written, over, clipped)
        if not _solid(clipped):
            self._empty(drawn, written, clipped)
            return None
        return clipped

    def _outside(self, drawn: Drawn, written: RawObject, over: tuple[float, float], clipped: Corners) -> Corners | None:
        where = _where(drawn.place, written)
        if self.dataset.outside_boxes == "error":
            axis: Literal[0, 1] = 0 if over[0] > EDGE_TOLERANCE_PX else 1
            found = f"box outside the image: {'xy'[axis]} reaches {over[axis]:.6g} px over the edge "
            found += f"({axis_as_written(drawn.form, written.numbers, axis)}; "
            found += f"the image is {drawn.shown.width} x {drawn.shown.height})"
            fix = 'correct or delete the object, or set dataset.outside_boxes = "clip"'
            self.findings.fault(codes.BOX_OUTSIDE, where, found, fix)
            return None
        kept = self.dataset.outside_boxes == "clip" and _solid(clipped)
        action = "cut off at the edge" if kept else "objects left out"
        self.findings.settled(codes.BOX_OUTSIDE, action, where, key="dataset.outside_boxes")
        return clipped if kept else None

    def _size_unknown(self, place: str) -> None:
        self.findings.settled(codes.SIZE_UNKNOWN, "the image's size is used", Where(place), key="")

    def _drawn_on_stored_pixels(self, place: str, facts: PictureFacts) -> None:
        self.findings.settled(
            codes.ORIENTATION_RAW,
            "those images are not turned",
            Where(place),
            key="",
            detail=f"orientation {facts.orientation}",
        )

    def _orientation_unclear(self, place: str, facts: PictureFacts) -> None:
        self.findings.add(
            Problem(
                codes.ORIENTATION_UNCLEAR,
                Where(place),
                f"EXIF orientation {facts.orientation}, and the annotation doesn't tell whether the boxes were drawn "
                "before or after the rotation; after is assumed",
                "look at a labelled sample; if the boxes sit wrong, save the image without EXIF rotation",
                severity="warning",
            )
        )


def _where(place: str, written: RawObject) -> Where:
    return Where(place, line=written.line, item=f'object {written.index} "{written.name[:200]}"')


def _not_finite(form: BoxForm, written: RawObject) -> str:
    for axis in (0, 1):
        if not (math.isfinite(written.numbers[axis]) and math.isfinite(written.numbers[axis + 2])):
            return f"not a finite number ({axis_as_written(form, written.numbers, axis)})"
    return ""


def _single(value: float) -> float:
    """The value rounded to float32, which is what training computes with."""
    return float(np.float32(value))


def _solid(corners: Corners) -> bool:
    """Whether width and height survive the rounding to float32."""
    x_min, y_min, x_max, y_max = corners
    if x_max - x_min > 1 and y_max - y_min > 1:
        return True  # the common case; float32 is finer than a pixel within any image that is read
    return _single(x_max) > _single(x_min) and _single(y_max) > _single(y_min)

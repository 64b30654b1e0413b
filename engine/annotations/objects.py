"""Apply the recipe's policies to one object: its class and its box, or the reason why it is left out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.annotations import codes
from engine.annotations.findings import Findings
from engine.annotations.labels import IGNORED, LabelMap
from engine.annotations.raw import BoxForm, Numbers, RawAnnotation, RawObject, axis_as_written, xyxy
from engine.errors import Problem, Where
from engine.recipe.schema import Dataset

EDGE_TOLERANCE_PX = 0.1
"""How far a box may reach over the edge without being called outside: decimals were rounded when
it was written. It is cut off at the edge without a word."""

_LEFT_OUT = "objects left out"


@dataclass(frozen=True, slots=True)
class Drawn:
    """The picture that boxes lie on, and where they are written.

    Attributes:
        place: The annotation file.
        raw: What it says.
        size: (width, height) in pixels of the picture as it is shown.
    """

    place: str
    raw: RawAnnotation
    size: tuple[int, int]

    def where(self, written: RawObject) -> Where:
        """The place of an object, as a person would look for it."""
        item = f'{written.ref} "{written.name[:200]}"'
        return Where(self.place, written.line, item=f"{self.raw.within[:200]}  {item}" if self.raw.within else item)


@dataclass(frozen=True, slots=True)
class ObjectJudge:
    """The policies on objects, the class map, and where findings go."""

    dataset: Dataset
    labels: LabelMap
    findings: Findings

    def judge(self, drawn: Drawn, written: RawObject) -> tuple[int, Numbers] | None:
        """One object's label and corners; None when it is left out.

        Args:
            drawn: The picture it lies on.
            written: What the annotation says.

        Returns:
            (zero-based label, corners within the picture, not empty).
        """
        label = self._label(drawn, written)
        if label is None or self._flagged(drawn, written):
            return None
        corners = self._box(drawn, written)
        return None if corners is None else (label, corners)

    def tell_twice(self, drawn: Drawn, written: RawObject) -> None:
        """An object whose class and box another object of the image has."""
        found = "box drawn twice: another object has the same class and box"
        problem = Problem(codes.BOX_TWICE, drawn.where(written), found, "delete one of the two")
        kept = self.dataset.duplicate_boxes == "keep"
        action = "kept" if kept else "left out but for one"
        self.findings.by_policy(self.dataset.duplicate_boxes, problem, key="dataset.duplicate_boxes", action=action)

    def _flagged(self, drawn: Drawn, written: RawObject) -> bool:
        for marked, policy, key in (
            (written.difficult, self.dataset.difficult_objects, "difficult_objects"),
            (written.truncated, self.dataset.truncated_objects, "truncated_objects"),
        ):
            if marked and policy == "drop":
                word = key.removesuffix("_objects")
                self.findings.settled(codes.FLAG_DROPPED, _LEFT_OUT, drawn.where(written), detail=word)
                return True
        return False

    def _label(self, drawn: Drawn, written: RawObject) -> int | None:
        label = self.labels.index(written.name)
        if label is not None:
            return None if label == IGNORED else label
        where = drawn.where(written)
        if self.dataset.unknown_classes == "skip":
            name = f'"{written.name[:200]}"'
            self.findings.settled(codes.CLASS_UNKNOWN, _LEFT_OUT, where, key="dataset.unknown_classes", detail=name)
        else:
            self.findings.add(Problem(codes.CLASS_UNKNOWN, where, *self._unknown(written.name)))
        return None

    def _unknown(self, name: str) -> tuple[str, str]:
        if not name:
            return "the object has no class name", "label it again, or delete the object"
        meant = self.labels.suggestion(name)
        found = f'class "{name[:200]}" is not in the class map'
        if meant is None:
            fix = "add it to classes.names, or to classes.ignore to leave it out; or set "
            return found, fix + 'dataset.unknown_classes = "skip" to leave all such classes out'
        return f'{found}; did you mean "{meant}"?', f'add "{name[:200]}" = "{meant}" to classes.aliases, or correct it'

    def _box(self, drawn: Drawn, written: RawObject) -> Numbers | None:
        fault = written.fault or _not_finite(drawn.raw.form, written.numbers)
        if fault:
            fix = 'correct or delete the object, or set dataset.unreadable_boxes = "drop"'
            problem = Problem(codes.BOX_UNREADABLE, drawn.where(written), f"no usable box: {fault}", fix)
            key = "dataset.unreadable_boxes"
            self.findings.by_policy(self.dataset.unreadable_boxes, problem, key=key, action=_LEFT_OUT)
            return None
        corners = xyxy(drawn.raw.form, written.numbers, drawn.size, self.dataset.first_pixel)
        if not _solid(corners):
            self._tell_empty(drawn, written, corners)
            return None
        x_min, y_min, x_max, y_max = corners
        width, height = drawn.size
        if x_min >= 0 and y_min >= 0 and x_max <= width and y_max <= height:
            return corners
        return self._outside(drawn, written, corners)

    def _tell_empty(self, drawn: Drawn, written: RawObject, corners: Numbers) -> None:
        axis: Literal[0, 1] = 0 if _single(corners[2]) <= _single(corners[0]) else 1
        extent = corners[axis + 2] - corners[axis]
        as_written = axis_as_written(drawn.raw.form, written.numbers, axis)
        kind = "inverted" if extent < 0 else "empty"
        found = f"{kind} box: {('width', 'height')[axis]} is {extent:.6g} px ({as_written})"
        fix = 'correct or delete the object, or set dataset.empty_boxes = "drop"'
        problem = Problem(codes.BOX_EMPTY, drawn.where(written), found, fix)
        self.findings.by_policy(self.dataset.empty_boxes, problem, key="dataset.empty_boxes", action=_LEFT_OUT)

    def _outside(self, drawn: Drawn, written: RawObject, corners: Numbers) -> Numbers | None:
        (x_min, y_min, x_max, y_max), (width, height) = corners, drawn.size
        over = max(-x_min, x_max - width), max(-y_min, y_max - height)
        clipped = max(x_min, 0.0), max(y_min, 0.0), min(x_max, float(width)), min(y_max, float(height))
        solid = _solid(clipped)
        if max(over) <= EDGE_TOLERANCE_PX:
            if not solid:
                self._tell_empty(drawn, written, clipped)
            return clipped if solid else None
        policy = self.dataset.outside_boxes
        kept = policy == "clip" and solid
        axis: Literal[0, 1] = 0 if over[0] > EDGE_TOLERANCE_PX else 1
        found = f"box outside the image: {'xy'[axis]} reaches {over[axis]:.6g} px over the edge "
        found += f"({axis_as_written(drawn.raw.form, written.numbers, axis)}; the image is {width} x {height})"
        fix = 'correct or delete the object, or set dataset.outside_boxes = "clip"'
        problem = Problem(codes.BOX_OUTSIDE, drawn.where(written), found, fix)
        action = "cut off at the edge" if kept else _LEFT_OUT
        self.findings.by_policy(policy, problem, key="dataset.outside_boxes", action=action)
        return clipped if kept else None


def _not_finite(form: BoxForm, numbers: Numbers) -> str:
    if all(map(math.isfinite, numbers)):
        return ""
    axis: Literal[0, 1] = 1 if math.isfinite(numbers[0]) and math.isfinite(numbers[2]) else 0
    return f"not a finite number ({axis_as_written(form, numbers, axis)})"


def _single(value: float) -> float:
    """The value rounded to float32, which is what training computes with."""
    return float(np.float32(value))


def _solid(corners: Numbers) -> bool:
    """Whether width and height survive the rounding to float32."""
    x_min, y_min, x_max, y_max = corners
    if x_max - x_min > 1 and y_max - y_min > 1:
        return True  # the common case; float32 is finer than a pixel within any image that is read
    return _single(x_max) > _single(x_min) and _single(y_max) > _single(y_min)

"""What kind of mistake each detection and each object is, as TIDE tells them apart, and what each kind costs.

A detection that found no object is, in this order, of
- localisation: it overlaps an object of its class, but by less than half;
- classification: it lies on an object of another class;
- duplicate: it lies on an object of its class that a surer detection has found;
- background: it overlaps nothing by a tenth;
- both: what is left, an object of another class overlapped by less than half.
An object is missed that no detection found and no mistake of place or class lies on.

Source: Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, 2020.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from engine.analysis.counting import ClassCounts, known_mean, precision_at_levels
from engine.analysis.matching import NOTHING, Matches, Pairs, Setting, match, pairs_of
from engine.analysis.schema import ErrorCost, ErrorKind
from engine.analysis.tables import Detections, Flags, Floats, GroundTruth, ImageEntry, Ints

Verdict = Literal["right", "excused"] | ErrorKind
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)

_LEAST_OVERLAP = 0.1
_ENOUGH = 0.5
_ALL_SIZES = (0.0, 1e10)
_Words = NDArray[np.object_]


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What each detection and object of a setting is, at IoU 0.50.

    Attributes:
        found: (N,) verdict of each detection.
        truth_of: (N,) row of the object that it found or is a mistake about, or NOTHING.
        truth: (M,) "right" for what was found, "missed", "excused", or the kind of the mistake that lies on it.
    """

    found: _Words
    truth_of: Ints
    truth: _Words


def judge(setting: Setting, matches: Matches) -> Verdicts:
    """Tell what each detection and each object is."""
    num_found = len(setting.found)
    right, excused = matches.right[:, 0], matches.excused[:, 0]
    verdict = np.full(num_found, "background", dtype=object)
    truth_of = np.where(right, matches.truth[:, 0], NOTHING)
    wrong, demanded = np.flatnonzero(~right & ~excused), np.flatnonzero(matches.demanded)
    near = pairs_of(
        setting.truth.select(demanded), setting.found.select(wrong), least=_LEAST_OVERLAP, same_class=False
    )
    near = Pairs(wrong[near.found], demanded[near.truth], near.iou)
    same = setting.found.label[near.found] == setting.truth.label[near.truth]
    own_iou, own = _best(near, same, num_found)
    other_iou, other = _best(near, ~same, num_found)
    kinds: tuple[tuple[ErrorKind, Flags, Ints], ...] = (
        ("both", other_iou > 0, other),
        ("duplicate", own_iou >= _ENOUGH, own),
        ("classification", other_iou >= _ENOUGH, other),
        ("localisation", (own_iou > 0) & (own_iou < _ENOUGH), own),
    )
    for kind, holds, row in kinds:  # the later one decides
        verdict[holds], truth_of[holds] = kind, row[holds]
    verdict[right], verdict[excused] = "right", "excused"
    return Verdicts(verdict, truth_of, _truth_verdicts(matches, verdict, truth_of))


def _best(pairs: Pairs, wanted: Flags, num_found: int) -> tuple[Floats, Ints]:
    """The most overlapping object of each detection: how much, and its row; 0 and NOTHING without one."""
    found, truth, iou = pairs.found[wanted], pairs.truth[wanted], pairs.iou[wanted]
    order = np.argsort(iou, kind="stable")  # the last assignment stays
    best_iou, best = np.zeros(num_found), np.full(num_found, NOTHING, dtype=np.int64)
    best_iou[found[order]], best[found[order]] = iou[order], truth[order]
    return best_iou, best


def _truth_verdicts(matches: Matches, verdict: _Words, truth_of: Ints) -> _Words:
    truth = np.full(len(matches.demanded), "missed", dtype=object)
    truth[~matches.demanded] = "excused"
    for kind in ("localisation", "classification", "right"):
        truth[truth_of[verdict == kind]] = kind
    return truth


# --- what each kind costs ---


def error_costs(setting: Setting, matches: Matches, verdicts: Verdicts) -> tuple[ErrorCost, ...]:
    """How often each kind of error happened, and the AP50 that mending it alone would gain."""
    state = _State.of(setting, matches)
    base = state.ap50()
    costs = []
    for kind in ERROR_KINDS:
        mended = _mended(state, setting, verdicts, kind).ap50()
        gained = 0.0 if mended is None or base is None else mended - base
        costs.append(ErrorCost(kind=kind, count=_num(verdicts, kind), cost=gained))
    return tuple(costs)


def _num(verdicts: Verdicts, kind: ErrorKind) -> int:
    return int(((verdicts.truth if kind == "missed" else verdicts.found) == kind).sum())


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """Detections as AP50 counts them: class, score, right or wrong; and the objects of each class."""

    label: Ints
    score: Floats
    right: Flags
    wrong: Flags
    num_objects: Ints

    @classmethod
    def of(cls, setting: Setting, matches: Matches) -> _State:
        right, excused = matches.right[:, 0], matches.excused[:, 0]
        num_classes = len(setting.truth.class_names)
        objects = np.bincount(setting.truth.label[matches.demanded], minlength=num_classes)
        return cls(setting.found.label, setting.found.score, right, ~right & ~excused, objects)

    def ap50(self) -> float | None:
        """Mean over the classes that have objects, or had some that were all given up."""
        values = np.array([self._of_class(label) for label in range(len(self.num_objects))], dtype=np.float64)
        return known_mean(values)

    def _of_class(self, label: int) -> float:
        rows = np.flatnonzero(self.label == label)
        if not self.num_objects[label]:
            return np.nan
        rows = rows[np.argsort(-self.score[rows], kind="stable")]
        counts = ClassCounts(
            rows, self.score[rows], self.right[rows, None], self.wrong[rows, None], int(self.num_objects[label])
        )
        return float(precision_at_levels(counts).mean())


def _mended(state: _State, setting: Setting, verdicts: Verdicts, kind: ErrorKind) -> _State:
    """The same detections without one kind of error."""
    if kind == "missed":
        missed = setting.truth.label[verdicts.truth == "missed"]
        return _State(
            state.label, state.score, state.right, state.wrong,
            state.num_objects - np.bincount(missed, minlength=len(state.num_objects)),
        )
    rows = np.flatnonzero(verdicts.found == kind)
    label, right, wrong = state.label.copy(), state.right.copy(), state.wrong.copy()
    wrong[rows] = False
    if kind in ("classification", "localisation"):
        mended = _surest_about_each(rows, verdicts, setting.found.score)
        right[mended] = True
        label[mended] = setting.truth.label[verdicts.truth_of[mended]]
    return _State(label, state.score, right, wrong, state.num_objects)


def _surest_about_each(rows: Ints, verdicts: Verdicts, score: Floats) -> Ints:
    """Of the mistakes about each object that nothing found, the surest: one detection can find it."""
    rows = rows[verdicts.truth[verdicts.truth_of[rows]] != "right"]
    rows = rows[np.argsort(-score[rows], kind="stable")]
    _, first = np.unique(verdicts.truth_of[rows], return_index=True)
    return np.asarray(rows[first])


# --- for galleries ---


@dataclass(frozen=True, slots=True)
class JudgedObject:
    """An object and what became of it.

    Attributes:
        label: Place in the class names.
        box_xywh: Absolute pixels.
        verdict: "right" when it was found, "missed", "excused", or the kind of the mistake that lies on it.
    """

    label: int
    box_xywh: tuple[float, float, float, float]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class JudgedDetection:
    """A detection and what it is.

    Attributes:
        label: Place in the class names.
        box_xywh: Absolute pixels.
        score: The higher, the surer.
        verdict: What it is.
        about: Place among the image's objects of the one that it found or is a mistake about.
    """

    label: int
    box_xywh: tuple[float, float, float, float]
    score: float
    verdict: Verdict
    about: int | None


@dataclass(frozen=True, slots=True)
class JudgedImage:
    """An image with what there was and what was found, surest first."""

    image: ImageEntry
    objects: tuple[JudgedObject, ...]
    detections: tuple[JudgedDetection, ...]

    @property
    def num_right(self) -> int:
        """Objects that were found."""
        return sum(one.verdict == "right" for one in self.detections)

    @property
    def num_wrong(self) -> int:
        """Detections that found nothing."""
        return sum(one.verdict not in ("right", "excused") for one in self.detections)

    @property
    def num_missed(self) -> int:
        """Objects that weren't found, whatever lies on them."""
        return sum(one.verdict not in ("right", "excused") for one in self.objects)

    @property
    def f1(self) -> float | None:
        """F1 of this image; None when there was nothing to find and nothing was found."""
        counted = 2 * self.num_right + self.num_wrong + self.num_missed
        return 2 * self.num_right / counted if counted else None


def judge_images(truth: GroundTruth, found: Detections, score: float) -> list[JudgedImage]:
    """Every image with its objects and the detections from a score on, in the order of the images.

    Args:
        truth: What there was to find.
        found: What was found.
        score: Detections below it are left out first.
    """
    setting = Setting.of(truth, found.select(found.score >= score))
    verdicts = judge(setting, match(setting, _ALL_SIZES, np.array([_ENOUGH])))
    return list(_images(setting, verdicts))


def _images(setting: Setting, verdicts: Verdicts) -> Iterator[JudgedImage]:
    truth, found = setting.truth, setting.found
    num_images = len(truth.images)
    objects: list[list[JudgedObject]] = [[] for _ in range(num_images)]
    detections: list[list[JudgedDetection]] = [[] for _ in range(num_images)]
    place = np.zeros(len(truth.image), dtype=np.int64)
    for row, image in enumerate(truth.image.tolist()):
        place[row] = len(objects[image])
        objects[image].append(
            JudgedObject(int(truth.label[row]), _box(truth.boxes_xywh[row]), verdicts.truth[row])
        )
    for row in np.argsort(-found.score, kind="stable").tolist():
        about = int(verdicts.truth_of[row])
        detections[found.image[row]].append(JudgedDetection(
            int(found.label[row]), _box(found.boxes_xywh[row]), float(found.score[row]), verdicts.found[row],
            None if about == NOTHING else int(place[about]),
        ))
    for image in range(num_images):
        yield JudgedImage(truth.images[image], tuple(objects[image]), tuple(detections[image]))


def _box(values: Floats) -> tuple[float, float, float, float]:
    x, y, width, height = values.tolist()
    return x, y, width, height

"""Average precision and recall from matches, as COCO and Pascal VOC count them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.analysis.matching import AREA_RANGES, IOU_THRESHOLDS, Matches, Setting, match
from engine.analysis.schema import CocoFigures
from engine.analysis.tables import Detections, Flags, Floats, Ints

RECALL_LEVELS: Floats = np.linspace(0, 1, 101)
# The numbers of detections of a class in an image that COCO's recalls are told for.
NUM_DETECTIONS = (1, 10, 100)


@dataclass(frozen=True, slots=True, eq=False)
class ClassCounts:
    """One class's detections, surest first, at each of T IoU thresholds.

    Attributes:
        rows: (N,) rows of the detections.
        score: (N,) falling.
        right: (N, T) found an object.
        wrong: (N, T) found none; what is excused is neither.
        num_objects: Objects to be found.
    """

    rows: Ints
    score: Floats
    right: Flags
    wrong: Flags
    num_objects: int


def class_counts(setting: Setting, matches: Matches, label: int) -> ClassCounts:
    """The detections of a class in the order in which a falling threshold lets them in."""
    start, end = np.searchsorted(setting.found.label, (label, label + 1))
    rows = start + np.argsort(-setting.found.score[start:end], kind="stable")
    right, excused = matches.right[rows], matches.excused[rows]
    objects = (setting.truth.label == label) & matches.demanded
    return ClassCounts(rows, setting.found.score[rows], right, ~right & ~excused, int(objects.sum()))


def precision_at_levels(counts: ClassCounts) -> Floats:
    """COCO's interpolated precision: (T, 101), 0 beyond the recall that was reached."""
    num_right, num_wrong = np.cumsum(counts.right, axis=0), np.cumsum(counts.wrong, axis=0)
    precision = num_right / (num_right + num_wrong + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    recall = num_right / counts.num_objects
    levels = np.zeros((recall.shape[1], len(RECALL_LEVELS)))
    for threshold in range(recall.shape[1]):
        place = np.searchsorted(recall[:, threshold], RECALL_LEVELS, side="left")
        reached = place < len(recall)
        levels[threshold, reached] = precision[place[reached], threshold]
    return levels


def voc_ap(counts: ClassCounts, threshold: int = 0) -> float | None:
    """Pascal VOC's AP (2010 and later): the whole area under the falling precision curve; None without objects."""
    if not counts.num_objects:
        return None
    num_right, num_wrong = np.cumsum(counts.right[:, threshold]), np.cumsum(counts.wrong[:, threshold])
    precision = np.maximum.accumulate((num_right / np.maximum(num_right + num_wrong, 1))[::-1])[::-1]
    return float((precision * counts.right[:, threshold]).sum() / counts.num_objects)


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """COCO's tables of C classes and A area ranges; not a number where there was nothing to find.

    Attributes:
        precision: (C, A, T, 101) with at most 100 detections of a class an image.
        recall: (C, A, T, 3) with at most 1, 10 and 100.
        matches: Those without regard to size.
    """

    precision: Floats
    recall: Floats
    matches: Matches

    def ap(self, label: int | slice = slice(None), area: int = 0, threshold: int | slice = slice(None)) -> float | None:
        """Mean precision over classes, recall levels and IoU thresholds."""
        return known_mean(self.precision[label, area, threshold])

    def ar(self, label: int | slice = slice(None), area: int = 0, limit: int = 2) -> float | None:
        """Mean recall over classes and IoU thresholds."""
        return known_mean(self.recall[label, area, :, limit])

    def figures(self) -> CocoFigures:
        """The twelve, over all classes."""
        return self.figures_of(slice(None))

    def figures_of(self, label: int | slice) -> CocoFigures:
        """The twelve of one class, or of several."""
        return CocoFigures(
            ap=self.ap(label), ap50=self.ap(label, threshold=0), ap75=self.ap(label, threshold=5),
            ap_small=self.ap(label, area=1), ap_medium=self.ap(label, area=2), ap_large=self.ap(label, area=3),
            ar1=self.ar(label, limit=0), ar10=self.ar(label, limit=1), ar100=self.ar(label),
            ar_small=self.ar(label, area=1), ar_medium=self.ar(label, area=2), ar_large=self.ar(label, area=3),
        )


def known_mean(values: Floats) -> float | None:
    """The mean of what is a number; None when nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def count(setting: Setting) -> Tables:
    """Fill COCO's tables."""
    shape = (len(setting.truth.class_names), len(AREA_RANGES), len(IOU_THRESHOLDS))
    precision, recall = np.full((*shape, len(RECALL_LEVELS)), np.nan), np.full((*shape, len(NUM_DETECTIONS)), np.nan)
    of_all: Matches | None = None
    for area, area_range in enumerate(AREA_RANGES.values()):
        matches = match(setting, area_range)
        of_all = of_all or matches
        recall[:, area] = _recalls(setting, matches)
        for label in range(shape[0]):
            counts = class_counts(setting, matches, label)
            if counts.num_objects:
                precision[label, area] = precision_at_levels(counts)
    assert of_all is not None  # there is always the range of all sizes
    return Tables(precision, recall, of_all)


def _recalls(setting: Setting, matches: Matches) -> Floats:
    """(C, T, 3) share of the objects found by the first 1, 10 and 100 detections of each image."""
    num_classes = len(setting.truth.class_names)
    num_objects = np.bincount(setting.truth.label[matches.demanded], minlength=num_classes).astype(float)
    num_objects[num_objects == 0] = np.nan
    recalls = np.empty((num_classes, matches.right.shape[1], len(NUM_DETECTIONS)))
    for place, limit in enumerate(NUM_DETECTIONS):
        recalls[:, :, place] = _sums(matches.right & (setting.rank < limit)[:, None], setting.found, num_classes)
    return np.asarray(recalls / num_objects[:, None, None])


def _sums(flags: Flags, found: Detections, num_classes: int) -> Ints:
    """(C, T) how many are set in each class."""
    columns = [np.bincount(found.label[column], minlength=num_classes) for column in flags.T]
    return np.stack(columns, axis=1)

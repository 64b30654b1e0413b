"""How far figures would move with other images of the same kind.

Images are drawn with replacement, as many as there are, again and again, and the figures counted anew each
time. Nothing is matched again: an image drawn twice counts twice, so a resample is a weight for each image.
The same draw for the same number of images: figures of two models on the same images are paired.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from engine.analysis.counting import RECALL_LEVELS, ClassCounts
from engine.analysis.matching import Matches, Setting
from engine.analysis.schema import Interval
from engine.analysis.tables import Floats, Ints

_SEED = 0
_MOST_RESAMPLES, _FEWEST_RESAMPLES = 1000, 200
# Of resamples times objects; beyond it fewer are drawn, for with so many objects few are needed.
_WORK = 10_000_000
# Weights held in memory at a time, of resamples times detections.
_CHUNK = 4_000_000
# Of a normal distribution, in standard deviations, to either side: 95 %.
_HALF_WIDTH = 1.96

Weights = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Resamples:
    """Figures of B resamples; not a number where a resample had nothing to find.

    Attributes:
        overall: "ap", "ap50", "ap75", "ar100", each (B,).
        per_class: "ap", "ap50", each (C, B).
    """

    overall: dict[str, Floats]
    per_class: dict[str, Floats]

    def interval(self, name: str, figure: float | None, label: int | None = None) -> Interval | None:
        """Around a figure of all images; None where most resamples had nothing to find."""
        return interval(self.overall[name] if label is None else self.per_class[name][label], figure)


def interval(values: Floats, figure: float | None) -> Interval | None:
    """The bias-corrected 95 % interval of a figure; None where most values aren't numbers.

    Images drawn twice agree with themselves, so resamples of few images lie above the figure on average; the
    percentiles are moved by as much.

    Args:
        values: The figure in each resample.
        figure: The figure of all images.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 14 (without acceleration).
    """
    known = values[~np.isnan(values)]
    if figure is None or 2 * len(known) < len(values) or not len(known):
        return None
    # Resamples that equal the figure but for rounding count half.
    below = (known < figure - 1e-12).mean() + 0.5 * (np.abs(known - figure) <= 1e-12).mean()
    normal = NormalDist()
    bias = normal.inv_cdf(float(np.clip(below, 0.5 / len(known), 1 - 0.5 / len(known))))
    shares = [100 * normal.cdf(2 * bias + side * _HALF_WIDTH) for side in (-1, 1)]
    low, high = np.percentile(known, shares)
    return Interval(low=float(low), high=float(high))


def num_resamples(num_objects: int) -> int:
    """As many as time allows, between 200 and 1,000."""
    return int(np.clip(_WORK // max(1, num_objects), _FEWEST_RESAMPLES, _MOST_RESAMPLES))


def resample(setting: Setting, matches: Matches, classes: list[ClassCounts], count: int) -> Resamples:
    """Draw resamples and count their figures.

    Args:
        setting: What was matched.
        matches: Without regard to size.
        classes: The counts of each class.
        count: How many to draw.
    """
    num_images = len(setting.truth.images)
    random = np.random.default_rng(_SEED)
    weights = random.multinomial(num_images, np.full(num_images, 1 / num_images), size=count)
    ap = np.full((len(classes), count, matches.right.shape[1]), np.nan)
    recall = ap.copy()
    for label, counts in enumerate(classes):
        objects = setting.truth.image[(setting.truth.label == label) & matches.demanded]
        num_objects = weights @ np.bincount(objects, minlength=num_images)
        image = setting.found.image[counts.rows]
        for part in _parts(count, len(image)):
            ap[label, part], recall[label, part] = _weighted(counts, weights[part][:, image], num_objects[part])
    return Resamples(
        {"ap": _mean(ap, (0, 2)), "ap50": _mean(ap[:, :, 0], 0), "ap75": _mean(ap[:, :, 5], 0),
         "ar100": _mean(recall, (0, 2))},
        {"ap": _mean(ap, 2), "ap50": ap[:, :, 0]},
    )


def _parts(count: int, num_detections: int) -> Iterator[slice]:
    size = max(1, _CHUNK // max(1, num_detections))
    for start in range(0, count, size):
        yield slice(start, min(count, start + size))


def _weighted(counts: ClassCounts, weights: Weights, num_objects: Ints) -> tuple[Floats, Floats]:
    """(B, T) AP and recall of one class when each detection counts as often as its image was drawn.

    Precision matters only where a right detection comes in. There, its weight stands for the levels of recall
    that it takes the curve over.
    """
    shape = (len(weights), counts.right.shape[1])
    ap, recall = np.zeros(shape), np.zeros(shape)
    num_kept = np.cumsum(weights, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        for threshold in range(shape[1]):
            places = np.flatnonzero(counts.right[:, threshold])
            if not len(places):
                continue
            num_right = np.cumsum(weights[:, places], axis=1)
            excused = np.flatnonzero(~(counts.right | counts.wrong)[:, threshold])
            num_counted = num_kept[:, places] - _up_to(weights, excused, places)
            precision = np.where(num_counted > 0, num_right / num_counted, 0.0)
            precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            reached = num_right / num_objects[:, None]
            passed = np.searchsorted(RECALL_LEVELS, reached, side="right")
            new = np.diff(passed, axis=1, prepend=0)
            ap[:, threshold] = (precision * new).sum(axis=1) / len(RECALL_LEVELS)
            recall[:, threshold] = reached[:, -1]
    ap[num_objects == 0] = recall[num_objects == 0] = np.nan
    return ap, recall


def _up_to(weights: Weights, excused: Ints, places: Ints) -> Weights:
    """(B, P) weight of what is excused before each place."""
    if not len(excused):
        return np.zeros((len(weights), 1), dtype=np.int64)
    sums = np.concatenate([np.zeros((len(weights), 1), dtype=np.int64), np.cumsum(weights[:, excused], axis=1)], axis=1)
    return np.asarray(sums[:, np.searchsorted(excused, places)])


def _mean(values: Floats, axis: int | tuple[int, ...]) -> Floats:
    """The mean of what is a number."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=axis)
    num = known.sum(axis=axis)
    return np.asarray(np.divide(total, num, out=np.full(np.shape(total), np.nan), where=num > 0))

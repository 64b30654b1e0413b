"""Which detection found which object, by COCO's rules, for all images, classes and IoU thresholds at once.

In each image and class the surest detection chooses first. It takes, of the objects that are still free and
overlap it enough, the one that overlaps it most, and an excused one only where no other is left.
Equal to pycocotools to the last detection; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.analysis.tables import Detections, Flags, Floats, GroundTruth, Ints, grouped, iou_of_pairs, ranked, spans

IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
NOTHING = -1
# COCO's own limits, in square pixels.
AREA_RANGES: dict[str, tuple[float, float]] = {
    "all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10),
}


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Detections beside the objects of their own class in their image; P may be 0.

    Attributes:
        found: (P,) row of the detection, rising.
        truth: (P,) row of the object.
        iou: (P,) how much they overlap.
    """

    found: Ints
    truth: Ints
    iou: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """Ground truth and detections in the order that matching needs.

    Attributes:
        truth: Sorted by class and image.
        found: Sorted by class, image and falling score; at most 100 of a class in an image.
        rank: (N,) of each detection among those of its class in its image.
        pairs: Those that overlap by half or more.
    """

    truth: GroundTruth
    found: Detections
    rank: Ints
    pairs: Pairs

    @classmethod
    def of(cls, truth: GroundTruth, found: Detections) -> Setting:
        """Sort both and pair them."""
        truth = grouped(truth)
        found, rank = ranked(found)
        return cls(truth, found, rank, pairs_of(truth, found, least=IOU_THRESHOLDS[0]))


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """What became of each detection, at each of T IoU thresholds.

    Attributes:
        truth: (N, T) row of the object it found, or NOTHING.
        iou: (N, T) how much it overlaps that; 0 without one.
        excused: (N, T) detections that don't count, neither for nor against.
        demanded: (M,) objects that have to be found.
    """

    truth: Ints
    iou: Floats
    excused: Flags
    demanded: Flags

    @property
    def right(self) -> Flags:
        """(N, T) detections that found an object that was demanded."""
        return np.asarray((self.truth != NOTHING) & ~self.excused)


def pairs_of(truth: GroundTruth, found: Detections, *, least: float, same_class: bool = True) -> Pairs:
    """Detections with the objects of their image that they overlap.

    Args:
        truth: Sorted by class and image.
        found: In any order.
        least: IoU from which a pair counts; 0 leaves out those that don't touch.
        same_class: Only objects of the detection's class.
    """
    num_images = max(1, len(truth.images))
    truth_key = truth.label * num_images + truth.image if same_class else truth.image
    found_key = found.label * num_images + found.image if same_class else found.image
    by_key = np.argsort(truth_key, kind="stable")
    sorted_key = truth_key[by_key]
    starts = np.searchsorted(sorted_key, found_key, side="left")
    counts = np.searchsorted(sorted_key, found_key, side="right") - starts
    owner, place = spans(starts, counts)
    row = by_key[place]
    iou = iou_of_pairs(found.boxes_xywh[owner], truth.boxes_xywh[row], truth.excused[row])
    keep = (iou >= min(least, 1 - 1e-10)) & (iou > 0)
    return Pairs(owner[keep], row[keep], iou[keep])


def match(setting: Setting, area_range: tuple[float, float], iou_thresholds: Floats = IOU_THRESHOLDS) -> Matches:
    """Match at each IoU threshold.

    Args:
        setting: What to match.
        area_range: Objects outside of it are excused, and so are detections outside of it that find nothing.
        iou_thresholds: (T,) from 0.5.
    """
    truth, found = setting.truth, setting.found
    outside = (truth.area < area_range[0]) | (truth.area > area_range[1])
    ignored = truth.excused | outside
    thresholds = np.minimum(iou_thresholds, 1 - 1e-10)
    # Each detection's objects in the order in which it would take them; of equal ones, the later object.
    pairs = setting.pairs
    order = np.lexsort((-pairs.truth, -pairs.iou, ignored[pairs.truth], pairs.found))
    pairs = Pairs(pairs.found[order], pairs.truth[order], pairs.iou[order])
    matched = np.full((len(found), len(thresholds)), NOTHING, dtype=np.int64)
    overlap = np.zeros(matched.shape)
    taken = np.zeros((len(truth.image), len(thresholds)), dtype=bool)
    for chosen in _rounds(setting, pairs):
        _choose(chosen, truth.excused, thresholds, matched, overlap, taken)
    areas = found.boxes_xywh[:, 2] * found.boxes_xywh[:, 3]
    not_counted = (areas < area_range[0]) | (areas > area_range[1])
    padded = np.append(ignored, False)  # NOTHING reads the last one
    excused = np.where(matched == NOTHING, not_counted[:, None], padded[matched])
    return Matches(matched, overlap, excused, ~ignored)


def _rounds(setting: Setting, pairs: Pairs) -> list[Pairs]:
    """Pairs by the turn in which their detections choose; no two of a turn are after the same object."""
    turn = setting.rank[pairs.found]
    order = np.argsort(turn, kind="stable")
    pairs, turn = Pairs(pairs.found[order], pairs.truth[order], pairs.iou[order]), turn[order]
    ends = np.flatnonzero(np.diff(turn)) + 1
    parts = (np.split(column, ends) for column in (pairs.found, pairs.truth, pairs.iou))
    return [Pairs(*columns) for columns in zip(*parts, strict=True)] if len(turn) else []


def _choose(
    pairs: Pairs, crowd: Flags, thresholds: Floats, matched: Ints, overlap: Floats, taken: Flags
) -> None:
    """Let every detection of a turn take its first free object; changes the last three."""
    free = (pairs.iou[:, None] >= thresholds) & (~taken[pairs.truth] | crowd[pairs.truth, None])
    starts = np.flatnonzero(np.r_[True, pairs.found[1:] != pairs.found[:-1]])
    none = len(pairs.found)
    first = np.minimum.reduceat(np.where(free, np.arange(none)[:, None], none), starts, axis=0)
    row, threshold = np.nonzero(first < none)
    pair = first[row, threshold]
    matched[pairs.found[pair], threshold] = pairs.truth[pair]
    overlap[pairs.found[pair], threshold] = pairs.iou[pair]
    taken[pairs.truth[pair], threshold] = True

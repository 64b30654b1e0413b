"""Ground truth and detections as columns: what all analysis counts on.

Images are in the order of their ids, classes in the order of their category ids; both are named by their
place in that order from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One image that was measured on.

    Attributes:
        image_id: As detections name it.
        file_name: As the ground truth names it.
        path: Where the photo is, where that is known.
        width: In pixels; 0 where it isn't known.
        height: Likewise.
    """

    image_id: int
    file_name: str
    path: str | None = None
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """Images and the objects in them; N may be 0.

    Attributes:
        images: In the order of their ids.
        class_names: In the order of the category ids.
        category_ids: The id of each class.
        image: (N,) place of each object's image in `images`.
        label: (N,) place of its class in `class_names`.
        boxes_xywh: (N, 4) absolute pixels.
        area: (N,) what decides whether an object is small, medium or large; square pixels.
        excused: (N,) crowds and difficult objects: neither demanded nor held against a detection.
    """

    images: tuple[ImageEntry, ...]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    image: Ints
    label: Ints
    boxes_xywh: Floats
    area: Floats
    excused: Flags

    @property
    def num_demanded(self) -> int:
        """Objects that have to be found."""
        return int((~self.excused).sum())

    def select(self, rows: Ints | Flags) -> GroundTruth:
        """The same images with some of the objects, in the order of `rows`."""
        return replace(
            self, image=self.image[rows], label=self.label[rows], boxes_xywh=self.boxes_xywh[rows],
            area=self.area[rows], excused=self.excused[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a model found; N may be 0.

    Attributes:
        image: (N,) place of each one's image in the ground truth.
        label: (N,) place of its class there.
        boxes_xywh: (N, 4) absolute pixels.
        score: (N,) the higher, the surer.
    """

    image: Ints
    label: Ints
    boxes_xywh: Floats
    score: Floats

    def __len__(self) -> int:
        return len(self.image)

    def select(self, rows: Ints | Flags) -> Detections:
        """Some of them, in the order of `rows`."""
        return Detections(self.image[rows], self.label[rows], self.boxes_xywh[rows], self.score[rows])


def grouped(truth: GroundTruth) -> GroundTruth:
    """The objects sorted by class and image, otherwise in their own order."""
    return truth.select(np.lexsort((truth.image, truth.label)))


def ranked(found: Detections, at_most: int = 100) -> tuple[Detections, Ints]:
    """Detections sorted by class, image and falling score, and each one's rank among those of its class in its image.

    Args:
        found: In any order; of equal scores the earlier comes first.
        at_most: How many of a class count in an image.
    """
    order = np.lexsort((-found.score, found.image, found.label))
    found = found.select(order)
    rank = place_in_run(found.label * (found.image.max(initial=0) + 1) + found.image)
    keep = rank < at_most
    return found.select(keep), rank[keep]


def place_in_run(values: Ints) -> Ints:
    """For sorted values, how many equal ones stand before each: [3, 3, 7] gives [0, 1, 0]."""
    if not len(values):
        return np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    lengths = np.diff(np.r_[starts, len(values)])
    return np.arange(len(values)) - np.repeat(starts, lengths)


def spans(starts: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Ranges written out: which range each number is of, and the number.

    Example:
        starts [5, 0], counts [2, 1] give ([0, 0, 1], [5, 6, 0]).
    """
    owner = np.repeat(np.arange(len(starts)), counts)
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return owner, starts[owner] + within


def iou_of_pairs(found: Floats, truth: Floats, excused: Flags) -> Floats:
    """Intersection over union of boxes side by side, computed as pycocotools does.

    Args:
        found: (P, 4) xywh.
        truth: (P, 4) xywh.
        excused: (P,) where True, the share of the detection that is covered instead.
    """
    low = np.maximum(found[:, :2], truth[:, :2])
    high = np.minimum(found[:, :2] + found[:, 2:], truth[:, :2] + truth[:, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[:, 0] * sides[:, 1]
    own = found[:, 2] * found[:, 3]
    total = np.where(excused, own, own + truth[:, 2] * truth[:, 3] - shared)
    return np.asarray(np.divide(shared, total, out=np.zeros_like(shared), where=shared > 0))


def from_columns(
    image: Sequence[int] | Ints, label: Sequence[int] | Ints, boxes_xywh: Sequence[Sequence[float]] | Floats,
    score: Sequence[float] | Floats,
) -> Detections:
    """Detections of plain lists."""
    return Detections(
        np.asarray(image, dtype=np.int64), np.asarray(label, dtype=np.int64),
        np.asarray(boxes_xywh, dtype=np.float64).reshape(-1, 4), np.asarray(score, dtype=np.float64),
    )

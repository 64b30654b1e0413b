"""What counts and sizes of boxes foretell: classes too rare beside others, boxes too small to be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from engine.annotations import codes
from engine.annotations.records import Audit, ImageRecord, SplitSummary
from engine.errors import Problem, Where

IMBALANCE = 100
"""How many times as many boxes the most frequent class may have before a rare one is told."""
VANISHING_PX = 4.0
"""Least side, after resizing, of a box that a detector can find: the finest feature map of the
detectors here has a cell for every 4 pixels."""

_NUM_EXAMPLES = 3


def imbalance_problems(train: SplitSummary) -> list[Problem]:
    """Classes so rare in train, beside the most frequent, that they will hardly be learnt.

    Args:
        train: What train holds.

    Returns:
        One warning for each; classes without any box are told elsewhere.
    """
    if not train.boxes_per_class:
        return []
    most = max(train.boxes_per_class, key=lambda name: train.boxes_per_class[name])
    greatest = train.boxes_per_class[most]
    return [
        Problem(
            codes.IMBALANCE,
            Where(item=f'classes.names "{name}"'),
            f'class "{name}" has {count} boxes in train and "{most}" {greatest}: it will hardly be learnt',
            "label more of it, or leave out images that show only frequent classes",
            "warning",
        )
        for name, count in train.boxes_per_class.items()
        if 0 < count * IMBALANCE <= greatest
    ]


def vanishing_boxes(
    found: Audit, names: Sequence[str], *, min_size: int, max_size: int, stretch: bool = False
) -> tuple[Problem, ...]:
    """Boxes that become too small to be found when images are resized for the detector.

    Args:
        found: The dataset, read.
        names: The class map's names.
        min_size: What the shorter side of an image is resized to, in pixels.
        max_size: Upper bound of the longer side, in pixels.
        stretch: The detector stretches every image to min_size x min_size, as SSD does.

    Returns:
        One warning for each split that has such boxes.

    Source:
        torchvision's GeneralizedRCNNTransform.
    """
    problems = []
    for split, read in found.splits.items():
        small = [(record, _vanishing(record, min_size, max_size, stretch=stretch)) for record in read.records]
        small = [(record, labels) for record, labels in small if labels]
        if small:
            counts = Counter(names[label] for _, labels in small for label in labels)
            total = sum(len(read_record.labels) for read_record in read.records)
            listed = ", ".join(f'"{name}" ({count})' for name, count in counts.most_common(_NUM_EXAMPLES))
            places = ", ".join(str(record.annotation_path) for record, _ in small[:_NUM_EXAMPLES])
            size = f"{min_size} x {min_size}" if stretch else f"{min_size} to {max_size}"
            text = f"{counts.total()} of {total} boxes in {split} are less than {VANISHING_PX:g} px wide or high "
            text += f"once images are resized to {size} px: {listed}; in {len(small)} images, as in {places}"
            fix = "raise model.min_size and model.max_size, choose a detector that allows it, or cut images into tiles"
            problems.append(Problem(codes.BOX_VANISHES, Where(item=f"dataset.{split}"), text, fix, "warning"))
    return tuple(problems)


def _vanishing(record: ImageRecord, min_size: int, max_size: int, *, stretch: bool) -> list[int]:
    if not len(record.labels):
        return []
    if stretch:
        scale = np.array([min_size / record.width, min_size / record.height])
    else:
        shorter, longer = sorted((record.width, record.height))
        scale = np.full(2, min(min_size / shorter, max_size / longer))
    sides = (record.boxes_xyxy[:, 2:] - record.boxes_xyxy[:, :2]) * scale
    labels: list[int] = record.labels[sides.min(axis=1) < VANISHING_PX].tolist()
    return labels

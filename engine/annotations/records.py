"""What a dataset is once it has been read: one `ImageRecord` an image, whatever the format was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import Problem

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True, eq=False)
class ImageRecord:
    """One image and its objects, after every policy of the recipe has been applied.

    Attributes:
        image_path: The image file.
        annotation_path: Its annotation; None for an image taken as a picture without objects.
        width: Width in pixels of the picture as it is shown to the model, so after the rotation
            that `apply_exif` says.
        height: Height in pixels, likewise.
        boxes_xyxy: (N, 4) absolute pixels within the picture, none empty. N may be 0.
        labels: (N,) zero-based index into `classes.names`; no background offset.
        difficult: (N,) objects that evaluation doesn't demand.
        crowd: (N,) boxes round a group of objects, which evaluation doesn't count.
        apply_exif: Whether the picture must be turned as its EXIF orientation says; pass it to
            `picture.load_rgb`. False only where the labels were drawn on the stored pixels.
    """

    image_path: Path
    annotation_path: Path | None
    width: int
    height: int
    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    apply_exif: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class SplitRead:
    """A split as read: what can be used, and all that was found on the way.

    Attributes:
        records: One an image that may be used, sorted by path.
        problems: Errors first, then warnings, then notes, each in the order of the files.
    """

    records: tuple[ImageRecord, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """What a split holds.

    Attributes:
        num_images: Images that may be used.
        num_negatives: Those without any object.
        num_boxes: Objects in all.
        num_difficult: Those marked difficult.
        boxes_per_class: Class name -> objects, in the order of the class map, zeros included.
        images_per_class: Class name -> images that show it.
        smallest: (width, height) of the image with the fewest pixels; (0, 0) without images.
        largest: Likewise with the most pixels.
    """

    num_images: int
    num_negatives: int
    num_boxes: int
    num_difficult: int
    boxes_per_class: Mapping[str, int]
    images_per_class: Mapping[str, int]
    smallest: tuple[int, int]
    largest: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """A whole dataset, read and judged.

    Attributes:
        splits: Split name -> what was read, for the splits the recipe has.
        problems: Those of every split and those between splits.
        summary: Split name -> what it holds.
    """

    splits: Mapping[str, SplitRead]
    problems: tuple[Problem, ...]
    summary: Mapping[str, SplitSummary]


def summarise(records: tuple[ImageRecord, ...], names: tuple[str, ...]) -> SplitSummary:
    """Count what a split holds.

    Args:
        records: The split's images; may be empty.
        names: The class map's names, in order.

    Returns:
        The counts; every class is present, seen or not.
    """
    boxes = np.zeros(len(names), dtype=np.int64)
    images = np.zeros(len(names), dtype=np.int64)
    for record in records:
        counts = np.bincount(record.labels, minlength=len(names))
        boxes += counts
        images += counts > 0
    sizes = sorted(((r.width, r.height) for r in records), key=lambda size: (size[0] * size[1], size)) or [(0, 0)]
    return SplitSummary(
        num_images=len(records),
        num_negatives=sum(len(record.labels) == 0 for record in records),
        num_boxes=int(boxes.sum()),
        num_difficult=sum(int(record.difficult.sum()) for record in records),
        boxes_per_class=dict(zip(names, boxes.tolist(), strict=True)),
        images_per_class=dict(zip(names, images.tolist(), strict=True)),
        smallest=sizes[0],
        largest=sizes[-1],
    )

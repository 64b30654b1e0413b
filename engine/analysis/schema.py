"""What an analysis says: the schema of `runs/<run>/evaluation/<split>.json`.

Every figure is in [0, 1] unless its name or its line here says otherwise, and null where there was nothing to
measure. A file of a newer `format` isn't read.
"""

from __future__ import annotations

from typing import Literal

import msgspec

FORMAT = 1


class CocoFigures(msgspec.Struct, frozen=True, kw_only=True):
    """COCO's twelve figures; small is below 32 x 32 pixels, large from 96 x 96 on."""

    ap: float | None
    """Mean over classes and IoU thresholds 0.50 to 0.95."""
    ap50: float | None
    """At IoU 0.50."""
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar1: float | None
    """Mean recall over classes and IoU thresholds, with one detection of each class an image."""
    ar10: float | None
    ar100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """Where a figure would lie, 19 times in 20, with other images of the same kind."""

    low: float
    high: float


class Operating(msgspec.Struct, frozen=True, kw_only=True):
    """What a detector is worth when only detections from a score on count."""

    score: float
    """Least score."""
    precision: float | None
    """Share of the detections that are right; null without detections."""
    recall: float
    """Share of the objects that are found."""
    f1: float
    num_right: int
    num_wrong: int
    num_missed: int


class ClassAnalysis(msgspec.Struct, frozen=True, kw_only=True):
    """One class."""

    name: str
    num_images: int
    """Images that show it."""
    num_objects: int
    """Objects that have to be found; crowds and difficult ones don't count."""
    num_detections: int
    figures: CocoFigures
    voc_ap50: float | None
    """Pascal VOC's AP at IoU 0.50 (2010 and later: the whole area under the curve)."""
    best: Operating | None
    """At the score threshold of the highest F1; null without an object or a right detection."""
    precision50: tuple[float, ...] | None
    """Precision at recall 0.00, 0.01 ... 1.00 at IoU 0.50; null without objects."""
    precision75: tuple[float, ...] | None
    f1_by_score: tuple[float, ...] | None
    """F1 at least score 0.00, 0.01 ... 1.00 at IoU 0.50; null without objects."""
    intervals: dict[str, Interval] = {}
    """Of "ap", "ap50"."""


class Confusion(msgspec.Struct, frozen=True, kw_only=True):
    """Which class was taken for which, at IoU 0.50 and the best overall score threshold."""

    score: float
    counts: tuple[tuple[int, ...], ...]
    """A row for each true class and one for the background, a column for each detected class and one for nothing."""


class ReliabilityBin(msgspec.Struct, frozen=True, kw_only=True):
    """Detections of similar score."""

    low: float
    high: float
    num_detections: int
    mean_score: float | None
    share_right: float | None
    """Those that found an object of their class at IoU 0.50."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a score of 0.8 is right four times in five."""

    bins: tuple[ReliabilityBin, ...]
    ece: float
    """Expected calibration error: mean distance of score and share right, weighted by detections."""


ErrorKind = Literal["classification", "localisation", "both", "duplicate", "background", "missed"]


class ErrorCost(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of error, as TIDE tells them apart at IoU 0.50."""

    kind: ErrorKind
    count: int
    cost: float
    """AP50 that mending all of them, and nothing else, would gain."""


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """How long detecting took, one image at a time; loading the picture is told apart."""

    device: str
    num_images: int
    median_s: float
    """Half of the images took at most this long to detect in."""
    p95_s: float
    load_median_s: float
    """Decoding the picture."""
    precision: str = "fp32"
    """Number format of the convolutions and products."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What was analysed."""

    model: str = ""
    """The run, or the checkpoint's file; "" for another tool's detections."""
    split: str = ""
    epoch: int | None = None
    """Zero-based epoch of the weights."""
    digest: str = ""
    """Of the ground truth and the detections, as files; tells whether the analysis is still theirs."""


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """All that is said of a detector on some images."""

    format: int = FORMAT
    source: Source = Source()
    num_images: int
    num_objects: int
    num_detections: int
    figures: CocoFigures
    voc_ap50: float | None
    """Mean over the classes."""
    classes: tuple[ClassAnalysis, ...]
    """In the order of the class map."""
    best: Operating | None
    """At the one score threshold for all classes of the highest mean F1; counts are of all classes."""
    f1_by_score: tuple[float, ...] | None
    """Mean over the classes of theirs."""
    confusion: Confusion
    calibration: Calibration | None = None
    """Null without detections, or with scores beyond 0 and 1."""
    errors: tuple[ErrorCost, ...] = ()
    intervals: dict[str, Interval] = {}
    """Of "ap", "ap50", "ap75", "ar100"; bootstrapped over images, 95 %. Empty with fewer than two images."""
    num_resamples: int = 0
    speed: Speed | None = None


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of the best F1."""

    overall: float
    per_class: dict[str, float]
    """Every class; the overall one for a class of which nothing is known."""

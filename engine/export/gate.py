"""The gate: an exported file is given away only when it finds what the trained model finds.

Both look at the same validation photos. What counts is how many of their detections agree and what the
difference costs in AP; how much may differ depends on the number format.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from engine.annotations import ImageRecord, load_rgb
from engine.boxes import iou_xyxy
from engine.evaluation.coco import CocoFigures, coco_figures
from engine.models.detector import Detection, Detector, to_cpu

NumberFormat = Literal["fp32", "fp16", "int8"]
Pixels = NDArray[np.uint8]

FORMAT = 1
# Below this score a detection is noise, which falls on either side of suppression by chance.
_LEAST_SCORE = 0.05
# Images named in the report.
_NUM_TOLD = 20


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far an exported file may be from the model it was made of.

    Attributes:
        ap_drop: AP that may be lost.
        iou: Overlap from which two boxes of a class are the same detection.
        pixels: Likewise where no corner lies further away; the smallest boxes need it.
        score: By how much its scores may differ.
        agreement: Share of detections that must have their counterpart.
    """

    ap_drop: float
    iou: float
    pixels: float
    score: float
    agreement: float


TOLERANCES: dict[NumberFormat, Tolerance] = {
    # Only the order of additions differs; one in two hundred may fall to the other side of suppression.
    "fp32": Tolerance(ap_drop=0.002, iou=0.95, pixels=0.5, score=0.01, agreement=0.995),
    # Which of two boxes that are nearly as good suppresses the other is decided anew.
    "fp16": Tolerance(ap_drop=0.01, iou=0.50, pixels=1.0, score=0.20, agreement=0.95),
    # 8 bits move every box a little: here AP decides, and agreement only tells a broken file.
    "int8": Tolerance(ap_drop=0.02, iou=0.50, pixels=2.0, score=0.30, agreement=0.80),
}


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its quality and speed on the gate's images.

    Attributes:
        ap: COCO's AP, None where there is nothing to find.
        ap50: The same at IoU 0.50.
        ms_per_image: Median, from pixels in memory to boxes.
    """

    ap: float | None
    ap50: float | None
    ms_per_image: float


@dataclass(frozen=True, slots=True)
class Differing:
    """An image on which the two don't agree.

    Attributes:
        image: Its file name.
        missed: Detections of the model without a counterpart in the file's.
        added: Detections of the file without one in the model's.
    """

    image: str
    missed: int
    added: int


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate found.

    Attributes:
        passed: Whether the file may be given away.
        reasons: Why not, a sentence each.
        num_images: Images looked at.
        num_detections: Detections of both sides that were compared.
        agreement: Share of them that have a counterpart; None without any.
        torch: The trained model.
        exported: The exported file.
        tolerance: What was allowed.
        differing: Images with differences, worst first; the first twenty.
        num_differing: How many there are in all.
    """

    passed: bool
    reasons: tuple[str, ...]
    num_images: int
    num_detections: int
    agreement: float | None
    torch: Side
    exported: Side
    tolerance: Tolerance
    differing: tuple[Differing, ...]
    num_differing: int

    @property
    def only_costs_ap(self) -> bool:
        """Whether it was refused for its AP alone, so that a larger `ap_drop` would let it pass."""
        agree = self.agreement is None or self.agreement >= self.tolerance.agreement
        return not self.passed and agree

    def as_dict(self) -> dict[str, object]:
        """The report as plain values for JSON."""
        return {"format": FORMAT, **asdict(self)}


def run_gate(
    detector: Detector, exported: Callable[[Pixels], Detection], records: Sequence[ImageRecord], tolerance: Tolerance,
    on_image: Callable[[int, int], None] = lambda _done, _total: None,
) -> GateReport:
    """Let the trained model and the exported file look at the same images, and judge.

    Args:
        detector: The trained model, on the CPU, as it is used everywhere else.
        exported: The exported file: pixels (H, W, 3) uint8 RGB in, detections out.
        records: Validation images; at least one.
        tolerance: How much may differ.
        on_image: Told how many of how many images are done.

    Raises:
        DataError: An image can't be read.
    """
    found: tuple[list[Detection], list[Detection]] = ([], [])
    seconds: tuple[list[float], list[float]] = ([], [])
    for done, record in enumerate(records, 1):
        pixels = np.asarray(load_rgb(record.image_path, apply_exif=record.apply_exif), dtype=np.uint8)
        for side, look in enumerate((_as_trained(detector), exported)):
            start = time.perf_counter()
            found[side].append(look(pixels))
            seconds[side].append(time.perf_counter() - start)
        on_image(done, len(records))
    sides = [
        _side(coco_figures(records, found[side], detector.class_names), seconds[side]) for side in range(2)
    ]
    return judge(records, found[0], found[1], (sides[0], sides[1]), tolerance)


def judge(
    records: Sequence[ImageRecord], trained: Sequence[Detection], exported: Sequence[Detection],
    sides: tuple[Side, Side], tolerance: Tolerance,
) -> GateReport:
    """Compare detections of the same images.

    Args:
        records: The images.
        trained: The model's detections, one for each image.
        exported: The file's, likewise.
        sides: Quality and speed of the two.
        tolerance: How much may differ.
    """
    differing: list[Differing] = []
    num_detections = num_alone = 0
    for record, one, other in zip(records, trained, exported, strict=True):
        missed, added = without_counterpart(one, other, tolerance), without_counterpart(other, one, tolerance)
        num_detections += _num_sure(one) + _num_sure(other)
        num_alone += missed + added
        if missed or added:
            differing.append(Differing(record.image_path.name, missed, added))
    differing.sort(key=lambda image: -(image.missed + image.added))
    agreement = 1 - num_alone / num_detections if num_detections else None
    reasons = _reasons(agreement, sides, tolerance)
    return GateReport(
        not reasons, reasons, len(records), num_detections, agreement, *sides, tolerance,
        tuple(differing[:_NUM_TOLD]), len(differing),
    )


def _reasons(agreement: float | None, sides: tuple[Side, Side], tolerance: Tolerance) -> tuple[str, ...]:
    reasons = []
    if agreement is not None and agreement < tolerance.agreement:
        reasons.append(f"{agreement:.1%} of the detections agree, {tolerance.agreement:.1%} must")
    trained, exported = (side.ap or 0.0 for side in sides)
    if trained - exported > tolerance.ap_drop:
        reasons.append(f"AP falls from {trained:.4f} to {exported:.4f}, by more than {tolerance.ap_drop:g}")
    return tuple(reasons)


def without_counterpart(ones: Detection, others: Detection, tolerance: Tolerance) -> int:
    """How many detections have none of the same class, nearly the same box and score on the other side."""
    count = _num_sure(ones)
    if not count or not len(others["scores"]):
        return count
    boxes, other_boxes = ones["boxes_xyxy"][:count].numpy(), others["boxes_xyxy"].numpy()
    furthest = np.abs(boxes[:, None] - other_boxes[None]).max(axis=2)
    same = (
        ((iou_xyxy(boxes, other_boxes) >= tolerance.iou) | (furthest <= tolerance.pixels))
        & (ones["labels"][:count, None] == others["labels"][None]).numpy()
        & ((ones["scores"][:count, None] - others["scores"][None]).abs() <= tolerance.score).numpy()
    )
    return count - int(same.any(axis=1).sum())


def _num_sure(found: Detection) -> int:
    """How many detections are more than noise; they come best first."""
    return int((found["scores"] >= _LEAST_SCORE).sum())


def _as_trained(detector: Detector) -> Callable[[Pixels], Detection]:
    def look(pixels: Pixels) -> Detection:
        # As everywhere else in engine: float32 in [0, 1], channels first.
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().div_(255)
        return to_cpu(detector.detect([image])[0])

    return look


def _side(figures: CocoFigures, seconds: Sequence[float]) -> Side:
    return Side(figures.ap, figures.ap50, round(1000 * statistics.median(seconds), 2))


def spread(records: Sequence[ImageRecord], number: int) -> list[ImageRecord]:
    """At most so many records, evenly from all of them; 0 takes all."""
    if not number or len(records) <= number:
        return list(records)
    return [records[place * len(records) // number] for place in range(number)]


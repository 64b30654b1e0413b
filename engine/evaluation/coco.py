"""COCO average precision and recall of detections against records.

The counting is `engine.analysis`'s, whose figures equal pycocotools' (a test compares them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.analysis.counting import count
from engine.analysis.matching import Setting
from engine.analysis.tables import Detections, GroundTruth, ImageEntry, Ints, from_columns
from engine.annotations import ImageRecord
from engine.boxes import area_xyxy, xyxy_to_xywh
from engine.models.detector import Detection


@dataclass(frozen=True, slots=True)
class CocoFigures:
    """Detection quality; every figure in [0, 1], None where there was nothing to find.

    Attributes:
        ap: Mean over classes and IoU thresholds 0.50 to 0.95.
        ap50: At IoU 0.50.
        ap75: At IoU 0.75.
        ar1: Mean recall, over classes and IoU thresholds, with one detection of each class an image.
        ar10: The same with at most 10.
        ar100: The same with at most 100.
        ap_per_class: Class name -> ap.
        ap50_per_class: Class name -> ap50.
        ar100_per_class: Class name -> ar100.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ar1: float | None
    ar10: float | None
    ar100: float | None
    ap_per_class: dict[str, float | None]
    ap50_per_class: dict[str, float | None]
    ar100_per_class: dict[str, float | None]


def coco_figures(
    records: Sequence[ImageRecord], detections: Sequence[Detection], class_names: Sequence[str]
) -> CocoFigures:
    """Measure detections.

    Boxes marked crowd or difficult are neither demanded nor held against a detection.

    Args:
        records: The images with their ground truth.
        detections: One an image, in the same order, boxes in the image's pixels.
        class_names: The class map's names.
    """
    tables = count(Setting.of(ground_truth_table(records, class_names), detections_table(detections)))
    labels = dict(zip(class_names, range(len(class_names)), strict=True))
    return CocoFigures(
        ap=tables.ap(), ap50=tables.ap(threshold=0), ap75=tables.ap(threshold=5),
        ar1=tables.ar(limit=0), ar10=tables.ar(limit=1), ar100=tables.ar(),
        ap_per_class={name: tables.ap(label) for name, label in labels.items()},
        ap50_per_class={name: tables.ap(label, threshold=0) for name, label in labels.items()},
        ar100_per_class={name: tables.ar(label) for name, label in labels.items()},
    )


def ground_truth_table(records: Sequence[ImageRecord], class_names: Sequence[str]) -> GroundTruth:
    """Records as columns; images are in the order of the records."""
    boxes = np.concatenate([np.zeros((0, 4), dtype=np.float32), *(record.boxes_xyxy for record in records)])
    return GroundTruth(
        images=tuple(ImageEntry(place, record.image_path.name) for place, record in enumerate(records)),
        class_names=tuple(class_names), category_ids=tuple(range(len(class_names))),
        image=_repeated([len(record.labels) for record in records]),
        label=np.concatenate([np.zeros(0, dtype=np.int64), *(record.labels for record in records)]),
        boxes_xywh=xyxy_to_xywh(boxes).astype(np.float64), area=area_xyxy(boxes).astype(np.float64),
        excused=np.concatenate([np.zeros(0, dtype=bool), *(record.crowd | record.difficult for record in records)]),
    )


def _repeated(counts: Sequence[int]) -> Ints:
    """0 as often as the first count says, then 1, and so on."""
    return np.repeat(np.arange(len(counts)), np.array(counts, dtype=np.int64))


def detections_table(detections: Sequence[Detection]) -> Detections:
    """Detections as columns, in the order of the images."""
    none = np.zeros((0, 4), dtype=np.float32)
    boxes = np.concatenate([none, *(found["boxes_xyxy"].cpu().numpy() for found in detections)])
    return from_columns(
        _repeated([len(found["labels"]) for found in detections]),
        np.concatenate([np.zeros(0, dtype=np.int64), *(found["labels"].cpu().numpy() for found in detections)]),
        xyxy_to_xywh(boxes).astype(np.float64),
        np.concatenate([np.zeros(0, dtype=np.float32), *(found["scores"].cpu().numpy() for found in detections)]),
    )


def ground_truth_json(records: Sequence[ImageRecord], class_names: Sequence[str]) -> dict[str, Any]:
    """Records in COCO's form: image ids from 0, category ids zero-based labels, annotation ids from 1.

    An annotation id of 0 would read as "unmatched" in COCO's matching.
    """
    annotations: list[dict[str, Any]] = []
    for image_id, record in enumerate(records):
        boxes = xyxy_to_xywh(record.boxes_xyxy)
        areas = area_xyxy(record.boxes_xyxy)
        excused = record.crowd | record.difficult
        for box, area, label, excuse in zip(boxes, areas, record.labels, excused, strict=True):
            annotations.append({
                "id": len(annotations) + 1, "image_id": image_id, "category_id": int(label),
                "bbox": box.tolist(), "area": float(area), "iscrowd": int(excuse),
            })
    return {
        "info": {},
        "images": [
            {
                "id": image_id, "width": record.width, "height": record.height, "file_name": record.image_path.name,
                "path": str(record.image_path),
            }
            for image_id, record in enumerate(records)
        ],
        "categories": [{"id": label, "name": name} for label, name in enumerate(class_names)],
        "annotations": annotations,
    }


def detections_json(detections: Sequence[Detection]) -> list[dict[str, Any]]:
    """Detections in COCO's results form, with the same ids as `ground_truth_json`.

    Rounded to about what float32 holds, which halves the file.
    """
    results: list[dict[str, Any]] = []
    for image_id, detection in enumerate(detections):
        boxes = xyxy_to_xywh(detection["boxes_xyxy"].cpu().numpy()).astype(np.float64).round(4).tolist()
        labels = detection["labels"].tolist()
        scores = detection["scores"].cpu().numpy().astype(np.float64).round(8).tolist()
        results.extend(
            {"image_id": image_id, "category_id": label, "bbox": box, "score": score}
            for box, label, score in zip(boxes, labels, scores, strict=True)
        )
    return results

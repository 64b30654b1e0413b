"""COCO average precision and recall of detections against records.

The counting is faster-coco-eval's, whose figures equal pycocotools' (a test compares them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

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
    truth = COCO(ground_truth_json(records, class_names))
    found = truth.loadRes(detections_json(detections))
    evaluation = COCOeval_faster(truth, found, iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    # precision is (IoU thresholds, recall levels, classes, area ranges, max detections); -1: nothing to find.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    # recall is (IoU thresholds, classes, max detections) here: 1, 10 and 100.
    recall = evaluation.eval["recall"][:, :, 0, :]
    names = list(class_names)
    return CocoFigures(
        ap=_mean(precision),
        ap50=_mean(precision[0]),
        ap75=_mean(precision[5]),
        ar1=_mean(recall[:, :, 0]),
        ar10=_mean(recall[:, :, 1]),
        ar100=_mean(recall[:, :, 2]),
        ap_per_class={name: _mean(precision[:, :, index]) for index, name in enumerate(names)},
        ap50_per_class={name: _mean(precision[0, :, index]) for index, name in enumerate(names)},
        ar100_per_class={name: _mean(recall[:, index, 2]) for index, name in enumerate(names)},
    )


def _mean(values: Any) -> float | None:
    known = values[values > -1]
    return float(np.mean(known)) if known.size else None


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
            {"id": image_id, "width": record.width, "height": record.height, "file_name": record.image_path.name}
            for image_id, record in enumerate(records)
        ],
        "categories": [{"id": label, "name": name} for label, name in enumerate(class_names)],
        "annotations": annotations,
    }


def detections_json(detections: Sequence[Detection]) -> list[dict[str, Any]]:
    """Detections in COCO's results form, with the same ids as `ground_truth_json`."""
    results: list[dict[str, Any]] = []
    for image_id, detection in enumerate(detections):
        boxes = xyxy_to_xywh(detection["boxes_xyxy"].cpu().numpy()).tolist()
        labels, scores = detection["labels"].tolist(), detection["scores"].tolist()
        results.extend(
            {"image_id": image_id, "category_id": label, "bbox": box, "score": score}
            for box, label, score in zip(boxes, labels, scores, strict=True)
        )
    return results

"""Ground truth and detections in COCO's form, and what pycocotools says of them."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from engine.analysis.cocofile import parse_detections, parse_ground_truth
from engine.analysis.tables import Detections, GroundTruth

NAMES = ("mug", "laptop", "keyboard")
TWELVE = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small", "ar_medium",
    "ar_large",
)

Json = dict[str, Any]


def truth_json(
    objects: list[tuple[int, int, tuple[float, float, float, float]]], *, num_images: int = 1,
    crowd: tuple[int, ...] = (), names: tuple[str, ...] = NAMES,
) -> Json:
    """Objects as (image id, category id, xywh); ids count from 1."""
    return {
        "images": [
            {"id": one, "file_name": f"{one}.jpg", "width": 300, "height": 300} for one in range(1, num_images + 1)
        ],
        "categories": [{"id": label, "name": name} for label, name in enumerate(names, 1)],
        "annotations": [
            {
                "id": place, "image_id": image, "category_id": category, "bbox": list(box), "area": box[2] * box[3],
                "iscrowd": int(place - 1 in crowd),
            }
            for place, (image, category, box) in enumerate(objects, 1)
        ],
    }


def results_json(found: list[tuple[int, int, tuple[float, float, float, float], float]]) -> list[Json]:
    """Detections as (image id, category id, xywh, score)."""
    return [
        {"image_id": image, "category_id": category, "bbox": list(box), "score": score}
        for image, category, box, score in found
    ]


def parsed(truth: Json, results: list[Json]) -> tuple[GroundTruth, Detections]:
    ours = parse_ground_truth(json.dumps(truth).encode(), "truth.json")
    return ours, parse_detections(json.dumps(results).encode(), "found.json", ours)


def pycocotools_twelve(truth: Json, results: list[Json]) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = copy.deepcopy(truth)
        reference.createIndex()
        # Its loadRes can't read an empty list.
        found = reference.loadRes(copy.deepcopy(results)) if results else COCO()
        if not results:
            found.dataset = reference.dataset | {"annotations": []}
            found.createIndex()
        evaluation = COCOeval(reference, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(TWELVE, evaluation.stats.tolist(), strict=True))


def random_case(
    seed: int, num_images: int = 8, *, jitter: float = 4.0, score_digits: int = 6, most: int = 6,
) -> tuple[Json, list[Json]]:
    """Objects of all sizes, crowds and empty images; detections near them, doubled, missing, mistaken and invented.

    Image and category ids neither rise nor follow one another, as in real files.
    """
    random = np.random.default_rng(seed)
    image_ids = random.permutation(np.arange(3, 3 + 7 * num_images, 7)).tolist()
    category_ids = [44, 2, 17]
    truth = truth_json([], names=())
    truth["images"] = [{"id": one, "file_name": f"{one}.jpg", "width": 400, "height": 400} for one in image_ids]
    truth["categories"] = [{"id": one, "name": name} for one, name in zip(category_ids, NAMES, strict=True)]
    results = []
    for image_id in image_ids:
        count = int(random.integers(0, most))
        boxes = np.c_[random.uniform(0, 200, (count, 2)), np.exp(random.uniform(1.5, 5.2, (count, 2)))]
        labels = random.integers(0, len(NAMES), count)
        for box, label in zip(boxes, labels, strict=True):
            truth["annotations"].append({
                "id": len(truth["annotations"]) + 1, "image_id": image_id, "category_id": category_ids[label],
                "bbox": box.tolist(), "area": float(box[2] * box[3]), "iscrowd": int(random.random() < 0.15),
            })
        picked = random.integers(0, count, int(random.integers(0, 2 * count + 1))) if count else np.zeros(0, int)
        near = np.abs(boxes[picked] + random.normal(0, jitter, (len(picked), 4)))
        invented = random.uniform(5, 100, (int(random.integers(0, 3)), 4))
        right = random.random(len(picked)) < 0.8
        guessed = np.r_[np.where(right, labels[picked], random.integers(0, len(NAMES), len(picked))),
                        random.integers(0, len(NAMES), len(invented))]
        for box, label in zip(np.concatenate([near, invented]), guessed.astype(int), strict=True):
            results.append({
                "image_id": image_id, "category_id": category_ids[label], "bbox": box.tolist(),
                "score": round(float(random.random()), score_digits),
            })
    return truth, [results[place] for place in random.permutation(len(results))]


def write(folder: Path, truth: Json, results: list[Json]) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "gt.json", folder / "dets.json"
    for path, content in zip(paths, (truth, results), strict=True):
        path.write_text(json.dumps(content))
    return paths

"""How long 5,000 images with 100 detections each take to evaluate: here, with faster-coco-eval, with pycocotools.

Run it with `python -m tests.bench.evaluate_speed`; `--images 500` for a quick look. Each is measured from the two
files to the twelve figures in processor time, in turn, the fastest of the rounds counts; pycocotools once, for the
figures too, unless `--no-pycocotools`. What `engine evaluate` says beyond the figures is told apart.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faster_coco_eval
import msgspec
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from engine.analysis import analyse, coco_figures
from engine.analysis.cocofile import parse_detections, parse_ground_truth
from engine.analysis.tables import Detections, GroundTruth


def write_case(folder: Path, num_images: int, num_classes: int, num_detections: int = 100) -> tuple[Path, Path]:
    """About 7 objects an image, as in COCO; a third of the detections near them, the rest spread out."""
    random = np.random.default_rng(0)
    annotations, results = [], []
    for image_id in range(1, num_images + 1):
        count = int(random.integers(0, 15))
        boxes = np.c_[random.uniform(0, 400, (count, 2)), np.exp(random.uniform(2, 5.5, (count, 2)))]
        labels = random.integers(1, num_classes + 1, count)
        for box, label in zip(boxes.round(2).tolist(), labels.tolist(), strict=True):
            annotations.append({
                "id": len(annotations) + 1, "image_id": image_id, "category_id": label, "bbox": box,
                "area": box[2] * box[3], "iscrowd": int(random.random() < 0.01),
            })
        near = random.integers(0, count, num_detections // 3) if count else np.zeros(0, dtype=int)
        spread = num_detections - len(near)
        far = np.c_[random.uniform(0, 400, (spread, 2)), np.exp(random.uniform(2, 5.5, (spread, 2)))]
        around = np.abs(boxes[near] * random.normal(1, 0.1, (len(near), 4)))
        guessed = np.r_[labels[near], random.integers(1, num_classes + 1, spread)]
        scores = np.r_[random.beta(4, 2, len(near)), random.beta(1, 6, spread)]
        for box, label, score in zip(
            np.r_[around, far].round(2).tolist(), guessed.tolist(), scores.round(5).tolist(), strict=True
        ):
            results.append({"image_id": image_id, "category_id": label, "bbox": box, "score": score})
    truth = {
        "images": [
            {"id": one, "file_name": f"{one}.jpg", "width": 640, "height": 640} for one in range(1, num_images + 1)
        ],
        "categories": [{"id": one, "name": f"class {one}"} for one in range(1, num_classes + 1)],
        "annotations": annotations,
    }
    paths = folder / "gt.json", folder / "dets.json"
    for path, content in zip(paths, (truth, results), strict=True):
        path.write_text(json.dumps(content))
    return paths


def read(truth_path: Path, found_path: Path) -> tuple[GroundTruth, Detections]:
    """Both files as columns."""
    truth = parse_ground_truth(truth_path.read_bytes(), truth_path.name)
    return truth, parse_detections(found_path.read_bytes(), found_path.name, truth)


def ours(truth_path: Path, found_path: Path) -> list[float]:
    """The twelve figures from `engine.analysis`."""
    figures = coco_figures(*read(truth_path, found_path))
    return [-1 if value is None else value for value in msgspec.structs.astuple(figures)]


def with_faster(truth_path: Path, found_path: Path) -> list[float]:
    """The twelve figures from faster-coco-eval."""
    truth = faster_coco_eval.COCO(str(truth_path))
    evaluation = faster_coco_eval.COCOeval_faster(truth, truth.loadRes(str(found_path)), iouType="bbox")
    evaluation.run()
    return [float(value) for value in evaluation.stats[:12]]


def with_pycocotools(truth_path: Path, found_path: Path) -> list[float]:
    """The twelve figures from pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(truth_path))
        evaluation = COCOeval(truth, truth.loadRes(str(found_path)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats[:12]]


def timed(measure: Callable[[], object]) -> tuple[float, object]:
    """Seconds of processor time it took, and what it returned."""
    begun = time.process_time()
    result = measure()
    return time.process_time() - begun, result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-pycocotools", dest="pycocotools", action="store_false")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_case(Path(folder), asked.images, asked.classes)
        print(f"{asked.images} images, {asked.classes} classes, 100 detections an image")
        rounds = [(timed(lambda: with_faster(*paths)), timed(lambda: ours(*paths))) for _ in range(asked.rounds)]
        faster, here = (min(one[side][0] for one in rounds) for side in (0, 1))
        print(f"faster-coco-eval  {faster:6.2f} s")
        print(f"engine            {here:6.2f} s  {here / faster:.2f} times faster-coco-eval's time")
        if asked.pycocotools:
            slow, expected = timed(lambda: with_pycocotools(*paths))
            apart = np.abs(np.array(rounds[0][1][1]) - np.array(expected)).max()
            print(f"pycocotools       {slow:6.2f} s  figures differ by at most {apart:.1e}")
        truth, found = read(*paths)
        print(f"all of `engine evaluate --ground-truth`, read already: {timed(lambda: analyse(truth, found))[0]:.2f} s")


if __name__ == "__main__":
    main()

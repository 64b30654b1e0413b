"""A trained model measured on photos, one at a time, as it will be used."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from engine.analysis.schema import Speed
from engine.annotations import ImageRecord
from engine.data.dataset import load_image
from engine.errors import DataError, Problem
from engine.evaluation.coco import detections_json, ground_truth_json
from engine.evaluation.predict import Predictor
from engine.models.detector import Detection, to_cpu

# The first images are slow: memory is found, kernels are chosen.
_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a model found in the images of a split.

    Attributes:
        ground_truth: COCO's ground truth of the images that could be read.
        detections: COCO's list of results.
        speed: None when no image could be read.
        problems: Images that can't be read.
    """

    ground_truth: dict[str, object]
    detections: list[dict[str, object]]
    speed: Speed | None
    problems: tuple[Problem, ...]


def evaluate(
    predictor: Predictor, records: Sequence[ImageRecord], on_image: Callable[[int, int], None] | None = None
) -> Evaluated:
    """Detect in every image.

    Args:
        predictor: The model.
        records: The images; their labels are places in the model's classes.
        on_image: Told images done and images in all.
    """
    found: list[Detection] = []
    whole: list[ImageRecord] = []
    load_s: list[float] = []
    detect_s: list[float] = []
    problems: list[Problem] = []
    for done, record in enumerate(records, 1):
        begun = time.perf_counter()
        try:
            pixels = load_image(record)
        except DataError as error:
            problems.extend(error.problems)
            continue
        loaded = time.perf_counter()
        found.append(_detect(predictor, pixels))
        whole.append(record)
        load_s.append(loaded - begun)
        detect_s.append(time.perf_counter() - loaded)
        if on_image:
            on_image(done, len(records))
    return Evaluated(
        ground_truth_json(whole, predictor.class_names), detections_json(found),
        _speed(load_s, detect_s, predictor), tuple(problems),
    )


def _detect(predictor: Predictor, pixels: torch.Tensor) -> Detection:
    # Bringing the boxes to the CPU waits for the device, so the clock needs no synchronising.
    return to_cpu(predictor.detector.detect([pixels.to(predictor.device).float().div_(255)])[0])


def _speed(load_s: Sequence[float], detect_s: Sequence[float], predictor: Predictor) -> Speed | None:
    if not detect_s:
        return None
    device = predictor.device
    warm = slice(_WARM_UP if len(detect_s) > 2 * _WARM_UP else 0, None)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} thread(s)"
    return Speed(
        device=name if device.type in ("cuda", "cpu") else device.type, num_images=len(detect_s[warm]),
        median_s=float(np.median(detect_s[warm])), p95_s=float(np.percentile(detect_s[warm], 95)),
        load_median_s=float(np.median(load_s[warm])), precision=predictor.detector.detect_precision,
    )

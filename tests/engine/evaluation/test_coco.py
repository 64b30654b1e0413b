"""AP and AR against pycocotools, on random and on degenerate detections."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from engine.annotations import ImageRecord
from engine.evaluation.coco import CocoFigures, coco_figures, detections_json, ground_truth_json
from engine.models import Detection
from tests.builders import record

NAMES = ("mug", "laptop", "keyboard")


def detection(
    boxes: Sequence[Sequence[float]] = (), labels: Sequence[int] = (), scores: Sequence[float] = ()
) -> Detection:
    return {
        "boxes_xyxy": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64), "scores": torch.tensor(scores, dtype=torch.float32),
    }


NOTHING = detection()


def pycocotools_figures(records: Sequence[ImageRecord], found: Sequence[Detection]) -> dict[str, Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = ground_truth_json(records, NAMES)
        truth.createIndex()
        results = detections_json(found)
        # Its loadRes can't read an empty list.
        theirs = truth.loadRes(results) if results else COCO()
        if not results:
            theirs.dataset = truth.dataset | {"annotations": []}
            theirs.createIndex()
        evaluation = COCOeval(truth, theirs, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    per_class = {}
    for label, name in enumerate(NAMES):
        known = precision[:, :, label][precision[:, :, label] > -1]
        per_class[name] = known.mean() if known.size else -1
    ap, ap50, ap75, ar100 = evaluation.stats[[0, 1, 2, 8]]
    return {"ap": ap, "ap50": ap50, "ap75": ap75, "ar100": ar100, "ap_per_class": per_class}


def assert_equal_pycocotools(records: Sequence[ImageRecord], found: Sequence[Detection]) -> CocoFigures:
    ours, theirs = coco_figures(records, found, NAMES), pycocotools_figures(records, found)
    for name in ("ap", "ap50", "ap75", "ar100"):
        value = getattr(ours, name)
        assert (-1 if value is None else value) == pytest.approx(theirs[name], abs=1e-6), name
    per_class = {name: -1 if value is None else value for name, value in ours.ap_per_class.items()}
    assert per_class == pytest.approx(theirs["ap_per_class"], abs=1e-6)
    return ours


def random_case(seed: int, num_images: int = 8, *, jitter: float = 4.0, score_digits: int = 6) -> Any:
    """Ground truth with crowds, difficult ones and empty images; detections near it, doubled, missing and invented."""
    random = np.random.default_rng(seed)
    records, found = [], []
    for _ in range(num_images):
        count = int(random.integers(0, 6))
        low = random.uniform(0, 150, (count, 2))
        boxes = np.concatenate([low, low + random.uniform(2, 120, (count, 2))], axis=1)
        labels = random.integers(0, len(NAMES), count)
        crowd, difficult = (np.flatnonzero(random.random(count) < 0.15).tolist() for _ in range(2))
        records.append(record(boxes.tolist(), labels.tolist(), crowd=crowd, difficult=difficult, size=(300, 300)))
        picked = random.integers(0, count, int(random.integers(0, 2 * count + 1))) if count else []
        near = boxes[picked] + random.normal(0, jitter, (len(picked), 4)) if count else np.zeros((0, 4))
        invented = random.uniform(0, 100, (int(random.integers(0, 3)), 2))
        guesses = np.concatenate([near, np.concatenate([invented, invented + 30], axis=1)])
        guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2])
        guessed = np.concatenate([labels[picked] if count else [], random.integers(0, len(NAMES), len(invented))])
        scores = np.round(random.random(len(guesses)), score_digits)
        order = np.argsort(-scores, kind="stable")
        found.append(detection(guesses[order].tolist(), guessed[order].astype(int).tolist(), scores[order].tolist()))
    return records, found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 4.0, 15.0]))
def test_random_detections_measure_as_with_pycocotools(seed: int, jitter: float) -> None:
    assert_equal_pycocotools(*random_case(seed, jitter=jitter))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equal_scores_measure_as_with_pycocotools(seed: int) -> None:
    assert_equal_pycocotools(*random_case(seed, score_digits=1))


BOX, OTHER = (10.0, 10, 60, 60), (100.0, 100, 140, 180)
BIG = (300, 300)
DEGENERATE: dict[str, tuple[list[ImageRecord], list[Detection], float | None]] = {
    "no detections": ([record([BOX], [0], size=BIG)], [NOTHING], 0.0),
    "nothing to find": ([record([], [], size=BIG)], [detection([BOX], [0], [0.9])], None),
    "nothing at all": ([record([], [], size=BIG)], [NOTHING], None),
    "all crowd": ([record([BOX], [0], crowd=[0], size=BIG)], [detection([BOX], [0], [0.9])], None),
    "all difficult": ([record([BOX], [0], difficult=[0], size=BIG)], [detection([OTHER], [0], [0.9])], None),
    "perfect": ([record([BOX, OTHER], [0, 1], size=BIG)], [detection([BOX, OTHER], [0, 1], [0.9, 0.8])], 1.0),
    "right box, wrong class": ([record([BOX], [0], size=BIG)], [detection([BOX], [1], [0.9])], 0.0),
    "an image without objects": (
        [record([], [], size=BIG), record([BOX], [0], size=BIG)], [NOTHING, detection([BOX], [0], [0.9])], 1.0
    ),
    "the same box twice, same score": (
        [record([BOX], [0], size=BIG)], [detection([BOX, BOX], [0, 0], [0.9, 0.9])], 1.0
    ),
    "an empty box": ([record([BOX], [0], size=BIG)], [detection([(5, 5, 5, 5)], [0], [0.9])], 0.0),
    "more than a hundred": (
        [record([BOX], [0], size=BIG)],
        [detection([OTHER] * 120 + [BOX], [0] * 121, [0.9] * 120 + [0.1])], 0.0,
    ),
    "a false one surer than the true one": (
        [record([BOX], [0], size=BIG)], [detection([OTHER, BOX], [0, 0], [0.9, 0.5])], 0.5
    ),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_cases_measure_as_with_pycocotools(name: str) -> None:
    records, found, ap50 = DEGENERATE[name]
    ours = assert_equal_pycocotools(records, found)
    assert ours.ap50 == (None if ap50 is None else pytest.approx(ap50))


def test_a_class_without_objects_is_unknown_not_zero() -> None:
    figures = coco_figures([record([BOX], [0], size=BIG)], [detection([BOX], [0], [0.9])], NAMES)
    assert figures.ap_per_class == {"mug": pytest.approx(1.0), "laptop": None, "keyboard": None}
    assert figures.ap50_per_class["mug"] == pytest.approx(1.0)
    assert figures.ap == pytest.approx(1.0)


def test_finding_a_crowd_or_a_difficult_object_is_no_mistake() -> None:
    records = [record([BOX, OTHER], [0, 0], difficult=[1], size=BIG)]
    assert coco_figures(records, [detection([OTHER, BOX], [0, 0], [0.9, 0.8])], NAMES).ap == pytest.approx(1.0)


def test_measuring_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    coco_figures([record([BOX], [0], size=BIG)], [NOTHING], NAMES)
    assert capfd.readouterr() == ("", "")

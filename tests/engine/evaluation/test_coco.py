"""AP and AR against pycocotools, on random and on degenerate detections."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import asdict
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
    precision, recall = evaluation.eval["precision"][:, :, :, 0, -1], evaluation.eval["recall"][:, :, 0, -1]
    ap, ap50, ap75 = evaluation.stats[:3]
    ar1, ar10, ar100 = evaluation.stats[6:9]
    return {
        "ap": ap, "ap50": ap50, "ap75": ap75, "ar1": ar1, "ar10": ar10, "ar100": ar100,
        "ap_per_class": {name: mean_known(precision[:, :, label]) for label, name in enumerate(NAMES)},
        "ap50_per_class": {name: mean_known(precision[0, :, label]) for label, name in enumerate(NAMES)},
        "ar100_per_class": {name: mean_known(recall[:, label]) for label, name in enumerate(NAMES)},
    }


def mean_known(values: Any) -> float:
    return float(values[values > -1].mean()) if (values > -1).any() else -1.0


def assert_equal_pycocotools(records: Sequence[ImageRecord], found: Sequence[Detection]) -> CocoFigures:
    ours, theirs = coco_figures(records, found, NAMES), pycocotools_figures(records, found)
    assert asdict(ours).keys() == theirs.keys()
    for name, expected in theirs.items():
        value = asdict(ours)[name]
        if isinstance(value, dict):
            known = {key: -1 if figure is None else figure for key, figure in value.items()}
            assert known == pytest.approx(expected, abs=1e-6), name
        else:
            assert (-1 if value is None else value) == pytest.approx(expected, abs=1e-6), name
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
BIG_BOX = (0.0, 0, 300, 300)
# Where pycocotools alone says what is right.
UNSAID = -1.0
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
    "no images": ([], [], None),
    "only empty images": ([record([], [], size=BIG)] * 3, [NOTHING, detection([BOX], [1], [0.9]), NOTHING], None),
    "crowd found many times": (
        [record([BOX, OTHER], [0, 0], crowd=[0], size=BIG)],
        [detection([BOX] * 5 + [OTHER], [0] * 6, [0.9] * 5 + [0.1])], 1.0,
    ),
    "crowd of one class, objects of another": (
        [record([BOX, OTHER], [0, 1], crowd=[0], size=BIG)], [detection([BOX, OTHER], [1, 0], [0.9, 0.8])], 0.0
    ),
    "every score the same": (
        [record([BOX, OTHER], [0, 0], size=BIG)] * 2,
        [detection([OTHER, BOX, BIG_BOX], [0, 0, 0], [0.5] * 3), detection([BIG_BOX, OTHER], [0, 0], [0.5] * 2)],
        UNSAID,
    ),
    "scores of 0 and 1": (
        [record([BOX, OTHER], [0, 0], size=BIG)], [detection([BOX, OTHER], [0, 0], [1.0, 0.0])], 1.0
    ),
    "two objects in the same place": (
        [record([BOX, BOX], [0, 0], size=BIG)], [detection([BOX, BOX, BOX], [0, 0, 0], [0.9, 0.8, 0.7])], 1.0
    ),
    "an object of no area": ([record([(5, 5, 5, 5)], [0], size=BIG)], [detection([(5, 5, 5, 5)], [0], [0.9])], UNSAID),
    "an object of no width": (
        [record([(5, 5, 5, 50), BOX], [0, 0], size=BIG)],
        [detection([(5, 5, 5, 50), BOX], [0, 0], [0.9, 0.8])], UNSAID,
    ),
    "only boxes of no area": ([record([BOX], [0], size=BIG)], [detection([(5, 5, 5, 9)] * 9, [0] * 9, [0.9] * 9)], 0.0),
    "boxes beyond the picture": (
        [record([BOX], [0], size=BIG)],
        [detection([(-50, -50, 60, 60), (200, 200, 900, 900)], [0, 0], [0.9, 0.8])], UNSAID,
    ),
    "labels beyond the class map": (
        [record([BOX], [0], size=BIG)], [detection([BOX, BOX, BOX], [7, 3, 0], [0.9, 0.8, 0.7])], 1.0
    ),
    "detections in an image without objects only": (
        [record([], [], size=BIG), record([BOX], [0], size=BIG)], [detection([BOX], [0], [0.9]), NOTHING], 0.0
    ),
}


def test_thousands_of_detections_in_one_image_measure_as_with_pycocotools() -> None:
    """Only the hundred surest of each class count, so which they are matters."""
    random = np.random.default_rng(0)
    truth = record([BOX, OTHER, (200, 20, 260, 90)], [0, 1, 0], size=BIG)
    low = random.uniform(0, 200, (6000, 2))
    boxes = np.concatenate([low, low + random.uniform(1, 90, (6000, 2))], axis=1)
    labels, scores = random.integers(0, len(NAMES), 6000), np.round(random.random(6000), 2)
    crowded = detection(boxes.tolist(), labels.tolist(), scores.tolist())
    assert_equal_pycocotools([truth, record([BOX], [2], size=BIG)], [crowded, detection([BOX], [2], [0.01])])


def test_hundreds_of_objects_in_one_image_measure_as_with_pycocotools() -> None:
    places = [(x, y, x + 9, y + 9) for x in range(0, 290, 12) for y in range(0, 290, 12)]
    found = [(x + 1, y, x + 9, y + 9) for x, y, _, _ in places]
    scores = np.linspace(1, 0, len(found)).tolist()
    ours = assert_equal_pycocotools(
        [record(places, [0] * len(places), size=BIG)], [detection(found, [0] * len(found), scores)]
    )
    assert ours.ar100 == pytest.approx(8 / 10 * 100 / len(places), abs=0.01)  # at IoU 0.89, of a hundred


_coordinate = st.integers(0, 40)
_boxes = st.tuples(_coordinate, _coordinate, _coordinate, _coordinate).map(
    lambda box: (float(min(box[0], box[2])), float(min(box[1], box[3])), float(max(box[0], box[2])),
                 float(max(box[1], box[3])))
)
_objects = st.lists(st.tuples(_boxes, st.integers(0, 2), st.booleans()), max_size=5)
_guesses = st.lists(st.tuples(_boxes, st.integers(0, 3), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])), max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_objects, _guesses), max_size=4))
def test_anything_on_a_coarse_grid_measures_as_with_pycocotools(images: list[Any]) -> None:
    """Boxes that touch, coincide or are empty, ties, crowds and unknown labels, found by hypothesis."""
    records = [
        record(
            [box for box, _, _ in objects], [label for _, label, _ in objects], size=BIG,
            crowd=[index for index, (_, _, crowd) in enumerate(objects) if crowd],
        )
        for objects, _ in images
    ]
    found = []
    for _, guesses in images:
        ordered = sorted(guesses, key=lambda guess: -guess[2])
        found.append(detection(*([guess[part] for guess in ordered] for part in range(3))))
    assert_equal_pycocotools(records, found)


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_cases_measure_as_with_pycocotools(name: str) -> None:
    records, found, ap50 = DEGENERATE[name]
    ours = assert_equal_pycocotools(records, found)
    if ap50 != UNSAID:
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

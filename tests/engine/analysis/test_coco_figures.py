"""All twelve COCO figures against pycocotools, from files, on random and on degenerate input."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.analysis import CocoFigures, coco_figures
from tests.engine.analysis.cases import Json, parsed, pycocotools_twelve, random_case, results_json, truth_json

BOX, OTHER = (10.0, 10.0, 50.0, 50.0), (100.0, 100.0, 40.0, 80.0)


def assert_equal_pycocotools(truth: Json, results: list[Json]) -> CocoFigures:
    ours, theirs = coco_figures(*parsed(truth, results)), pycocotools_twelve(truth, results)
    values = {name: -1 if value is None else value for name, value in msgspec.structs.asdict(ours).items()}
    assert values == pytest.approx(theirs, abs=1e-6)
    return ours


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 4.0, 15.0]))
def test_random_detections(seed: int, jitter: float) -> None:
    assert_equal_pycocotools(*random_case(seed, jitter=jitter))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equal_scores(seed: int) -> None:
    assert_equal_pycocotools(*random_case(seed, score_digits=1, most=12))


DEGENERATE: dict[str, tuple[Json, list[Json], float | None]] = {
    "no detections": (truth_json([(1, 1, BOX)]), [], 0.0),
    "nothing to find": (truth_json([]), results_json([(1, 1, BOX, 0.9)]), None),
    "nothing at all": (truth_json([]), [], None),
    "no images": (truth_json([], num_images=0), [], None),
    "no classes": (truth_json([], names=()), [], None),
    "all crowd": (truth_json([(1, 1, BOX)], crowd=(0,)), results_json([(1, 1, BOX, 0.9)]), None),
    "perfect": (
        truth_json([(1, 1, BOX), (1, 2, OTHER)]), results_json([(1, 1, BOX, 0.9), (1, 2, OTHER, 0.8)]), 1.0
    ),
    "right box, wrong class": (truth_json([(1, 1, BOX)]), results_json([(1, 2, BOX, 0.9)]), 0.0),
    "the same box twice, same score": (truth_json([(1, 1, BOX)]), results_json([(1, 1, BOX, 0.9)] * 2), 1.0),
    "two objects in the same place": (truth_json([(1, 1, BOX)] * 2), results_json([(1, 1, BOX, 0.9)] * 2), 1.0),
    "a box without size": (truth_json([(1, 1, BOX)]), results_json([(1, 1, (5, 5, 0, 0), 0.9)]), 0.0),
    "an object without size": (truth_json([(1, 1, (5, 5, 0, 0))]), results_json([(1, 1, (5, 5, 0, 0), 0.9)]), 0.0),
    "a crowd found again and again": (
        truth_json([(1, 1, BOX), (1, 1, OTHER)], crowd=(0,)),
        results_json([(1, 1, BOX, 0.9), (1, 1, BOX, 0.8), (1, 1, OTHER, 0.7)]), 1.0,
    ),
    "more than a hundred": (
        truth_json([(1, 1, BOX)]), results_json([*[(1, 1, OTHER, 0.9)] * 120, (1, 1, BOX, 0.1)]), 0.0
    ),
    "scores beyond 0 and 1": (truth_json([(1, 1, BOX)]), results_json([(1, 1, BOX, 7.5), (1, 1, OTHER, -3.0)]), 1.0),
    "an IoU of exactly a half": (
        truth_json([(1, 1, (0, 0, 100, 100))]), results_json([(1, 1, (0, 0, 100, 50), 0.9)]), 0.1
    ),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name: str) -> None:
    truth, results, ap = DEGENERATE[name]
    if truth["images"] and truth["categories"]:
        assert assert_equal_pycocotools(truth, results).ap == pytest.approx(ap)
    else:  # pycocotools can't count over nothing
        assert coco_figures(*parsed(truth, results)).ap is None

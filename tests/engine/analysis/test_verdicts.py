"""Kinds of errors: one example of each, what mending it gains, and the sums over random cases."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.analysis import analyse
from engine.analysis.verdicts import ERROR_KINDS, judge_images
from tests.engine.analysis.cases import parsed, random_case, results_json, truth_json

MUG, LAPTOP = 1, 2
BOX, OTHER, ELSEWHERE = (0.0, 0.0, 100.0, 100.0), (150.0, 150.0, 80.0, 80.0), (300.0, 0.0, 50.0, 50.0)
PARTLY = (60.0, 0.0, 100.0, 100.0)  # overlaps BOX by a quarter
# (what was found, the verdicts on detections and on objects), with a mug in BOX.
KINDS: dict[str, tuple[list[tuple[int, int, Any, float]], list[str], list[str]]] = {
    "right": ([(1, MUG, BOX, 0.9)], ["right"], ["right"]),
    "localisation": ([(1, MUG, PARTLY, 0.9)], ["localisation"], ["localisation"]),
    "classification": ([(1, LAPTOP, BOX, 0.9)], ["classification"], ["classification"]),
    "both": ([(1, LAPTOP, PARTLY, 0.9)], ["both"], ["missed"]),
    "duplicate": ([(1, MUG, BOX, 0.9), (1, MUG, BOX, 0.8)], ["right", "duplicate"], ["right"]),
    "background": ([(1, MUG, ELSEWHERE, 0.9)], ["background"], ["missed"]),
    "missed": ([], [], ["missed"]),
    "the wrong class on what was found": (
        [(1, MUG, BOX, 0.9), (1, LAPTOP, BOX, 0.8)], ["right", "classification"], ["right"]
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind(name: str) -> None:
    found, of_detections, of_objects = KINDS[name]
    [image] = judge_images(*parsed(truth_json([(1, MUG, BOX)]), results_json(found)), score=0)
    assert [one.verdict for one in image.detections] == of_detections
    assert [one.verdict for one in image.objects] == of_objects


def test_a_crowd_is_neither_missed_nor_a_mistake() -> None:
    truth = truth_json([(1, MUG, BOX)], crowd=(0,))
    [image] = judge_images(*parsed(truth, results_json([(1, MUG, BOX, 0.9)])), score=0)
    assert ([one.verdict for one in image.detections], [one.verdict for one in image.objects]) == (
        ["excused"], ["excused"]
    )
    assert (image.num_right, image.num_wrong, image.num_missed, image.f1) == (0, 0, 0, None)


def test_a_threshold_leaves_detections_out() -> None:
    truth = truth_json([(1, MUG, BOX), (2, MUG, OTHER)], num_images=3)
    results = results_json([(1, MUG, BOX, 0.9), (2, MUG, OTHER, 0.4), (3, MUG, BOX, 0.6)])
    first, second, third = judge_images(*parsed(truth, results), score=0.5)
    assert (first.num_right, first.f1) == (1, 1.0)
    assert (second.num_missed, second.f1, second.detections) == (1, 0.0, ())
    assert (third.num_wrong, third.f1) == (1, 0.0)


def test_mistakes_name_what_they_are_about() -> None:
    truth = truth_json([(1, MUG, OTHER), (1, MUG, BOX)])
    [image] = judge_images(*parsed(truth, results_json([(1, MUG, PARTLY, 0.9), (1, MUG, OTHER, 0.5)])), score=0)
    assert [image.objects[one.about or 0].box_xywh for one in image.detections] == [BOX, OTHER]


@pytest.mark.parametrize("kind", ["localisation", "classification", "missed"])
def test_mending_the_only_error_gains_what_was_lost(kind: str) -> None:
    truth = truth_json([(1, MUG, BOX), (2, MUG, BOX), (1, LAPTOP, OTHER)], num_images=2)
    found, _, _ = KINDS[kind]
    results = results_json([*found, (2, MUG, BOX, 0.8), (1, LAPTOP, OTHER, 0.95)])
    analysis = analyse(*parsed(truth, results))
    costs = {one.kind: one.cost for one in analysis.errors}
    assert analysis.figures.ap50 is not None
    assert costs[kind] == pytest.approx(1 - analysis.figures.ap50)  # type: ignore[index]
    assert costs[kind] > 0.05  # type: ignore[index]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2.0, 10.0, 30.0]))
def test_every_wrong_detection_is_one_kind_and_mending_never_costs(seed: int, jitter: float) -> None:
    truth, results = random_case(seed, jitter=jitter)
    ours, found = parsed(truth, results)
    analysis, images = analyse(ours, found), judge_images(ours, found, score=-1)
    counts = {one.kind: one.count for one in analysis.errors}
    assert tuple(counts) == ERROR_KINDS
    assert sum(counts.values()) - counts["missed"] == sum(image.num_wrong for image in images)
    verdicts = [one.verdict for image in images for one in image.objects]
    assert counts["missed"] == verdicts.count("missed")
    assert sum(image.num_right for image in images) == verdicts.count("right")
    for one in analysis.errors:
        if one.kind in ("both", "duplicate", "background"):
            assert one.cost >= -1e-12

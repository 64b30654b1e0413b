"""Thresholds, confusion, calibration, VOC's AP and intervals."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.analysis import analyse
from engine.analysis.bootstrap import Resamples, resample
from engine.analysis.counting import ClassCounts, class_counts, count
from engine.analysis.matching import Setting
from engine.analysis.operating import f1_at, operating
from engine.analysis.schema import Analysis
from engine.analysis.tables import Detections, GroundTruth
from tests.engine.analysis.cases import parsed, random_case, results_json, truth_json

MUG, LAPTOP = 1, 2
BOX, OTHER, ELSEWHERE = (0.0, 0.0, 100.0, 100.0), (150.0, 150.0, 80.0, 80.0), (300.0, 0.0, 50.0, 50.0)


def counted(truth: GroundTruth, found: Detections) -> tuple[Setting, list[ClassCounts], Resamples]:
    setting = Setting.of(truth, found)
    tables = count(setting)
    classes = [class_counts(setting, tables.matches, label) for label in range(len(truth.class_names))]
    return setting, classes, resample(setting, tables.matches, classes, 50)


# --- thresholds ---


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 6]))
def test_no_threshold_is_better_than_the_best(seed: int, score_digits: int) -> None:
    truth, results = random_case(seed, score_digits=score_digits)
    ours, found = parsed(truth, results)
    analysis, (_, classes, _) = analyse(ours, found), counted(ours, found)
    tried = np.r_[found.score, 0, 1]
    for told, counts in zip(analysis.classes, classes, strict=True):
        everywhere = f1_at(counts, tried)
        if told.best is None:
            assert everywhere.max() == 0
            continue
        assert told.best.f1 == pytest.approx(everywhere.max())
        again = operating([counts], told.best.score)
        assert (again.num_right, again.num_wrong, again.f1) == (
            told.best.num_right, told.best.num_wrong, pytest.approx(told.best.f1)
        )
    if analysis.best:
        means = np.mean([f1_at(counts, tried) for counts in classes if counts.num_objects], axis=0)
        assert analysis.best.f1 == pytest.approx(means.max())


def test_a_threshold_is_short_and_leaves_its_detection_in() -> None:
    truth = truth_json([(1, MUG, BOX)])
    results = results_json([(1, MUG, BOX, 0.7123456), (1, MUG, OTHER, 0.7123451)])
    best = analyse(*parsed(truth, results)).best
    assert best is not None
    assert 0.7123451 < best.score <= 0.7123456
    assert (best.precision, best.recall, best.f1) == (1, 1, 1)
    far = analyse(*parsed(truth, results_json([(1, MUG, BOX, 0.7123456)]))).best
    assert far is not None
    assert far.score == 0.7


# --- confusion ---


def test_confusion_with_the_background() -> None:
    truth = truth_json([(1, MUG, BOX), (1, LAPTOP, OTHER), (1, LAPTOP, ELSEWHERE)])
    results = results_json([
        (1, MUG, BOX, 0.9), (1, MUG, OTHER, 0.9), (1, 3, (500, 500, 20, 20), 0.9),
    ])
    confusion = analyse(*parsed(truth, results)).confusion
    # mug, laptop, keyboard, background
    assert confusion.counts == ((1, 0, 0, 0), (1, 0, 0, 1), (0, 0, 0, 0), (0, 0, 1, 0))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_confusion_adds_up_to_the_objects_and_detections_at_the_threshold(seed: int) -> None:
    truth, found = parsed(*random_case(seed))
    analysis = analyse(truth, found)
    counts = np.array(analysis.confusion.counts)
    assert counts[:-1].sum(axis=1).tolist() == [one.num_objects for one in analysis.classes]
    if analysis.best:
        assert counts.diagonal().sum() == analysis.best.num_right
        assert counts[:, :-1].sum() == analysis.best.num_right + analysis.best.num_wrong


# --- calibration ---


def test_scores_that_mean_what_they_say() -> None:
    places = [(float(20 * one), 0.0, 10.0, 10.0) for one in range(10)]
    truth = truth_json([(1, MUG, place) for place in places[:8]])
    told = analyse(*parsed(truth, results_json([(1, MUG, place, 0.8) for place in places]))).calibration
    assert told is not None
    assert told.ece == pytest.approx(0)
    assert [one.num_detections for one in told.bins] == [0] * 8 + [10, 0]
    boastful = analyse(*parsed(truth, results_json([(1, MUG, place, 1.0) for place in places]))).calibration
    assert boastful is not None
    assert (boastful.ece, boastful.bins[-1].share_right) == (pytest.approx(0.2), 0.8)


def test_scores_that_are_no_shares_have_no_calibration() -> None:
    assert analyse(*parsed(truth_json([(1, MUG, BOX)]), results_json([(1, MUG, BOX, 42.0)]))).calibration is None


# --- VOC's AP ---


def test_voc_ap_is_the_whole_area() -> None:
    # Right, wrong, right of three objects: precision 1, then 2/3, over a third of the recall each.
    truth = truth_json([(1, MUG, BOX), (1, MUG, OTHER), (1, MUG, ELSEWHERE)])
    results = results_json([(1, MUG, BOX, 0.9), (1, MUG, (400, 400, 9, 9), 0.8), (1, MUG, OTHER, 0.7)])
    assert analyse(*parsed(truth, results)).voc_ap50 == pytest.approx((1 + 2 / 3) / 3)


# --- intervals ---


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_resample_counts_as_if_its_images_were_copied(seed: int) -> None:
    truth, results = random_case(seed, num_images=5)
    ours, found = parsed(truth, results)
    setting, classes, drawn = counted(ours, found)
    num_images = len(ours.images)
    weights = np.random.default_rng(0).multinomial(num_images, np.full(num_images, 1 / num_images), size=50)
    for place in (0, 17):
        tables = count(Setting.of(*copied(ours, found, weights[place].tolist())))
        expected = {"ap": tables.ap(), "ap50": tables.ap(threshold=0), "ap75": tables.ap(threshold=5),
                    "ar100": tables.ar()}
        values = {name: None if np.isnan(drawn.overall[name][place]) else drawn.overall[name][place]
                  for name in expected}
        assert values == pytest.approx(expected, abs=1e-9)
    assert len(setting.found) == len(found)
    assert len(classes) == 3


def copied(truth: GroundTruth, found: Detections, times: list[int]) -> tuple[GroundTruth, Detections]:
    """Each image as often as told, as images of their own."""
    images, objects, detections, of_object, of_detection = [], [], [], [], []
    for image, entry in enumerate(truth.images):
        for _ in range(times[image]):
            objects.append(np.flatnonzero(truth.image == image))
            detections.append(np.flatnonzero(found.image == image))
            of_object += [len(images)] * len(objects[-1])
            of_detection += [len(images)] * len(detections[-1])
            images.append(entry)
    rows = truth.select(np.concatenate(objects).astype(int))
    picked = found.select(np.concatenate(detections).astype(int))
    return (
        GroundTruth(tuple(images), rows.class_names, rows.category_ids, np.array(of_object, dtype=np.int64), rows.label,
                    rows.boxes_xywh, rows.area, rows.excused),
        Detections(np.array(of_detection, dtype=np.int64), picked.label, picked.boxes_xywh, picked.score),
    )


def test_intervals_hold_the_figures_and_narrow_with_more_images() -> None:
    few, many = (analyse(*parsed(*random_case(5, num_images=num, jitter=2))) for num in (10, 160))
    for analysis in (few, many):
        interval = analysis.intervals["ap50"]
        assert analysis.figures.ap50 is not None
        assert interval.low <= analysis.figures.ap50 <= interval.high
    widths = [analysis.intervals["ap50"].high - analysis.intervals["ap50"].low for analysis in (few, many)]
    assert widths[1] < widths[0] / 2


def test_one_image_has_no_interval() -> None:
    analysis = analyse(*parsed(truth_json([(1, MUG, BOX)]), results_json([(1, MUG, BOX, 0.9)])))
    assert (analysis.intervals, analysis.num_resamples) == ({}, 0)


# --- the whole ---


@pytest.mark.parametrize("num_images", [0, 1, 3])
def test_nothing_to_find_and_nothing_found(num_images: int) -> None:
    analysis = analyse(*parsed(truth_json([], num_images=num_images), []))
    assert set(msgspec.structs.astuple(analysis.figures)) == {None}
    assert (analysis.best, analysis.calibration, analysis.voc_ap50) == (None, None, None)
    assert {one.cost for one in analysis.errors} == {0.0}


def test_an_analysis_is_read_back_as_it_was_written() -> None:
    analysis = analyse(*parsed(*random_case(7)))
    written = msgspec.json.encode(analysis)
    assert msgspec.json.decode(written, type=Analysis) == analysis
    json.loads(written, parse_constant=lambda word: pytest.fail(f"{word} isn't JSON"))

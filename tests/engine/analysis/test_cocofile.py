"""Files that can't be evaluated: one message each that says where and what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.analysis.cocofile import parse_detections, parse_ground_truth, read_file
from engine.errors import DataError, Problem
from tests.engine.analysis.cases import parsed, results_json, truth_json

BOX = (0.0, 0.0, 10.0, 10.0)
TRUTH = truth_json([(1, 1, BOX)], num_images=2)


def problem_of(truth: Any, results: Any) -> Problem:
    with pytest.raises(DataError) as told:
        parsed(truth, results)
    [problem] = told.value.problems
    return problem


def changed(**parts: Any) -> dict[str, Any]:
    return {**TRUTH, **parts}


def annotation(**parts: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "category_id": 1, "bbox": list(BOX), **parts}


BAD_TRUTHS: dict[str, tuple[Any, str, str]] = {
    "a list": ([], "X302", "got `array`"),
    "no categories": ({"images": [], "annotations": []}, "X302", "categories"),
    "no box": (changed(annotations=[{"image_id": 1, "category_id": 1}]), "X302", "bbox"),
    "a box of three": (changed(annotations=[annotation(bbox=[1, 2, 3])]), "X302", "length 4"),
    "an id in words": (changed(annotations=[annotation(image_id="1")]), "X302", "got `str`"),
    "an unknown image": (changed(annotations=[annotation(image_id=9)]), "X304", "image id(s)"),
    "an unknown category": (changed(annotations=[annotation(category_id=9)]), "X304", "category id(s)"),
    "an image twice": (changed(images=TRUTH["images"] * 2), "X304", "given twice"),
    "a category twice": (changed(categories=TRUTH["categories"] * 2), "X304", "given twice"),
    "an inverted box": (changed(annotations=[annotation(bbox=[9, 9, -4, 2])]), "X307", "[9, 9, -4, 2]"),
}


@pytest.mark.parametrize("name", BAD_TRUTHS)
def test_bad_ground_truth(name: str) -> None:
    truth, code, words = BAD_TRUTHS[name]
    problem = problem_of(truth, [])
    assert (problem.code, problem.where.path) == (code, "truth.json")
    assert words in problem.found


def result(**parts: Any) -> list[dict[str, Any]]:
    return [results_json([(1, 1, BOX, 0.5)])[0] | parts]


BAD_RESULTS: dict[str, tuple[Any, str, str]] = {
    "ground truth instead": (TRUTH, "X303", "got `object`"),
    "no score": ([{"image_id": 1, "category_id": 1, "bbox": list(BOX)}], "X303", "score"),
    "a score in words": (result(score="high"), "X303", "got `str`"),
    "an unknown image": (result(image_id=7), "X305", "7; it has 2 from 1 to 2"),
    "an unknown category": (result(category_id=0), "X306", "0; it has 3 from 1 to 3"),
    "a box inside out": (result(bbox=[50, 50, -10, -10]), "X307", "negative"),
}


@pytest.mark.parametrize("name", BAD_RESULTS)
def test_bad_results(name: str) -> None:
    results, code, words = BAD_RESULTS[name]
    problem = problem_of(TRUTH, results)
    assert (problem.code, problem.where.path) == (code, "found.json")
    assert words in problem.found


NO_JSON = {"empty": b"", "cut": b"{", "binary": b"\xff\xfe", "not a number": b'[{"score": NaN}]'}


@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json(content: bytes) -> None:
    with pytest.raises(DataError) as told:
        parse_ground_truth(content, "truth.json")
    assert told.value.problems[0].code == "X302"
    truth, _ = parsed(TRUTH, [])
    with pytest.raises(DataError) as told:
        parse_detections(content, "found.json", truth)
    assert told.value.problems[0].code == "X303"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(DataError) as told:
            read_file(path)
        assert told.value.problems[0].code == "X301"


def test_what_other_tools_write_is_read() -> None:
    truth = changed(annotations=[annotation(iscrowd=True, segmentation=[[1, 2]], area=None)], info=None, licenses=[])
    ours = parse_ground_truth(json.dumps(truth).encode(), "truth.json")
    assert (ours.excused.tolist(), ours.area.tolist()) == ([True], [100.0])

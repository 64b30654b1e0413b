"""Rare classes, and boxes too small for the input size."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.annotations import audit, vanishing_boxes
from engine.annotations.proportions import imbalance_problems
from engine.annotations.records import summarise
from tests.engine.annotations.builders import VocFolder, classes, codes_of, voc_xml


def test_nothing_is_out_of_proportion_in_nothing() -> None:
    assert imbalance_problems(summarise((), ())) == []
    assert imbalance_problems(summarise((), ("mug",))) == []


@pytest.mark.parametrize(("num_mugs", "expected"), [(99, []), (100, [("D134", "warning")])])
def test_a_class_a_hundred_times_rarer_is_told(tmp_path: Path, num_mugs: int, expected: list[tuple[str, str]]) -> None:
    mugs = [("mug", (x % 50, x // 50, x % 50 + 10, x // 50 + 10)) for x in range(num_mugs)]
    folder = VocFolder(tmp_path).add("train", "a", xml=voc_xml([*mugs, ("lid", (1, 1, 9, 9))])).add("val", "b")
    assert codes_of(audit(folder.dataset(), classes("mug", "lid")).problems) == expected


@pytest.mark.parametrize(
    ("min_size", "max_size", "stretch", "told"),
    [
        pytest.param(48, 64, False, ["1 of 2"], id="as it is"),
        pytest.param(72, 96, False, [], id="enlarged"),
        pytest.param(72, 64, False, ["1 of 2"], id="bounded by the longer side"),
        pytest.param(24, 64, False, ["2 of 2"], id="shrunk"),
        pytest.param(65, 65, True, [], id="stretched"),
    ],
)
def test_boxes_that_vanish(tmp_path: Path, min_size: int, max_size: int, *, stretch: bool, told: list[str]) -> None:
    xml = voc_xml([("mug", (1, 1, 30, 4)), ("lid", (1, 1, 9, 6))])
    folder = VocFolder(tmp_path).add("train", "a", xml=xml).add("val", "b", xml=voc_xml([]))
    names = ("mug", "lid")
    found = audit(folder.dataset(), classes(*names))
    problems = vanishing_boxes(found, names, min_size=min_size, max_size=max_size, stretch=stretch)
    assert codes_of(problems) == [("D133", "warning")] * len(told)
    assert all(text in problem.found for text, problem in zip(told, problems, strict=True))

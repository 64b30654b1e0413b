"""Many findings of one kind read as one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.annotations import group
from engine.errors import Problem, Where


def empty_box(number: int, folder: str = "/data/train") -> Problem:
    where = Where(f"{folder}/{number % 10}.xml", line=number, item=f'object {number} "mug"')
    return Problem("D102", where, "empty box: width is 0 px", "correct it")


def test_nothing_is_grouped_from_nothing() -> None:
    assert group([]) == ()


def test_a_few_stay_as_they_are() -> None:
    problems = tuple(empty_box(number) for number in range(3))
    assert group(problems) == problems


def test_thousands_read_as_one() -> None:
    (told,) = group(empty_box(number) for number in range(4000))
    assert (told.code, told.severity, told.fix) == ("D102", "error", "correct it")
    assert told.where == Where("/data/train")
    assert told.found == (
        'empty box, 4000 times in 10 files: 0.xml:0  object 0 "mug" (empty box: width is 0 px); '
        '1.xml:1  object 1 "mug" (empty box: width is 0 px); 2.xml:2  object 2 "mug" (empty box: width is 0 px); '
        "and 3997 more, which `engine check --all` tells"
    )


def test_another_remedy_or_severity_is_another_kind() -> None:
    one = Problem("D105", Where("a.xml"), "class", "alias mgu")
    problems = [one] * 5 + [Problem("D105", Where("a.xml"), "class", "alias kub")] * 5
    problems += [Problem("D105", Where("a.xml"), "class", "alias kub", "warning")] * 5
    assert len(group(problems)) == 3


@pytest.mark.parametrize("paths", [["", ""], ["/a/b.xml", "c.xml"], ["a.xml", "a.xml"]], ids=str)
def test_places_without_a_common_folder(paths: list[str]) -> None:
    (told,) = group(Problem("X100", Where(path), "odd: thing", "fix") for path in paths * 3)
    assert told.found.startswith("odd, 6 times")


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("xy")), max_size=60))
def test_grouping_loses_no_kind_and_is_stable(kinds: list[tuple[str, str]]) -> None:
    problems = [Problem(code, Where(), "found", fix) for code, fix in kinds]
    told = group(problems)
    assert {(p.code, p.fix) for p in told} == set(kinds)
    assert group(told) == told


def test_unknown_classes_are_counted_each_by_itself() -> None:
    names = ["cup"] * 3 + ["bowl"] * 2 + ["spoon"]
    found = [
        Problem("D105", Where(f"/data/{index}.xml"), f'class "{name}" is not in the class map', "add it")
        for index, name in enumerate(names)
    ]
    (told,) = group(found)
    assert told.found == (
        'class not in the map, 6 times in 6 files: "cup" (3), "bowl" (2), "spoon" (1); first at 0.xml'
    )

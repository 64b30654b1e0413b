"""Which runs words mean."""

from __future__ import annotations

import pytest

from engine.errors import QueueError
from engine.runqueue import QueueRow, State
from engine.selection import select


def row(number: int, name: str, state: State = "queued") -> QueueRow:
    return QueueRow(f"{number:04d}-{name}", number, "a.toml", "", state, 0, "", "", 0.0, None, None)


ROWS = [
    row(1, "desk", "finished"), row(2, "desk-r50", "failed"), row(3, "mugs"), row(5, "desk", "failed"),
    row(12, "desk-r18"),
]


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["3"], [3]), (["0003"], [3]), (["0003-mugs"], [3]), (["mugs"], [3]), (["desk"], [5]),
        (["2-5"], [2, 3, 5]), (["3-"], [3, 5, 12]), (["4-5"], [5]), (["desk-*"], [2, 12]), (["*desk"], [1, 5]),
        (["000[12]*"], [1, 2]), (["*-r??"], [2, 12]), (["failed"], [2, 5]), (["all"], [1, 2, 3, 5, 12]),
        (["5", "3", "3-5"], [5, 3]), ([], []),
    ],
    ids=lambda value: " ".join(map(str, value)) or "nothing",
)
def test_words_mean_runs(words: list[str], numbers: list[int]) -> None:
    assert [found.number for found in select(ROWS, words)] == numbers


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("4", "name one of: 0001-desk"), ("6-9", "name one of"), ("5-2", 'write "2-5"'),
        ("desk-x", "0012-desk-r18"), ("Desk", "0012-desk-r18"), ("nothing*", "name one of"), ("held", "no run is held"),
        ("", "name one of"), ("-3", "name one of"), ("\x1b[31m", "name one of"),
    ],
)
def test_a_word_that_means_no_run_is_told(word: str, told: str) -> None:
    with pytest.raises(QueueError) as caught:
        select(ROWS, [word])
    [problem] = caught.value.problems
    assert problem.code == "Q103"
    assert told in problem.fix


def test_all_wrong_words_are_told_at_once() -> None:
    with pytest.raises(QueueError) as caught:
        select(ROWS, ["99", "1", "nobody"])
    assert [problem.found for problem in caught.value.problems] == ['no run "99"', 'no run "nobody"']


@pytest.mark.parametrize("name", ["failed", "all", "7", "3-7"])
def test_a_name_that_could_mean_two_things_is_refused(name: str) -> None:
    rows = [*ROWS, row(20, name)]
    with pytest.raises(QueueError) as caught:
        select(rows, [name])
    [problem] = caught.value.problems
    assert problem.code == "Q109"
    assert "20" in problem.fix
    assert [found.number for found in select(rows, ["20"])] == [20]
    assert [found.number for found in select(rows, [f"0020-{name}"])] == [20]


def test_no_runs_at_all() -> None:
    assert select([], ["all"]) == []
    with pytest.raises(QueueError, match="engine add"):
        select([], ["1"])


def test_many_runs_arent_all_listed() -> None:
    with pytest.raises(QueueError) as caught:
        select([row(number, "a") for number in range(1, 100)], ["x"])
    assert caught.value.problems[0].fix.count("-a") == 5

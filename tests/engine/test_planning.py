"""The plan for a night that ends before the queue does."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.planning import Candidate, plan


def waiting(run: str, left_s: float | None, priority: int = 0) -> Candidate:
    return Candidate(run, left_s, priority)


def working(run: str, left_s: float | None, priority: int = 0) -> Candidate:
    return Candidate(run, left_s, priority, at_work=True)


def test_nothing_to_plan() -> None:
    made = plan([], 100)
    assert (made.order, made.done, made.put_off) == ((), frozenset(), ())


def test_the_shortest_go_first_and_what_wont_be_done_last() -> None:
    made = plan([waiting("long", 80), waiting("mid", 50), waiting("short", 20), waiting("unknown", None)], 100)
    assert made.order == ("short", "mid", "unknown", "long")
    assert made.done == {"short", "mid"}


def test_a_run_of_higher_priority_goes_first_even_if_fewer_are_done() -> None:
    made = plan([waiting("a", 10), waiting("b", 20), waiting("long", 95, priority=1)], 100)
    assert made.order == ("long", "a", "b")
    assert made.done == {"long"}


def test_a_run_at_work_that_will_be_done_is_left_alone() -> None:
    made = plan([working("now", 90), waiting("a", 30), waiting("b", 30), waiting("c", 30)], 100)
    assert (made.put_off, made.order, made.done) == ((), ("a", "b", "c"), {"now"})


def test_a_run_at_work_that_wont_be_done_makes_room_for_those_that_will() -> None:
    made = plan([working("now", 500), waiting("long", 400), waiting("a", 60)], 100)
    assert (made.put_off, made.order, made.done) == (("now",), ("a", "long"), {"a"})


@pytest.mark.parametrize(
    "others",
    [(), (waiting("long", 400),), (waiting("unknown", None),), (waiting("less important", 50, priority=-1),)],
    ids=["none", "none that fits", "none that is known", "a less important one"],
)
def test_a_run_at_work_that_wont_be_done_goes_on_where_nothing_is_gained(others: tuple[Candidate, ...]) -> None:
    assert plan([working("now", 500), *others], 100).put_off == ()


def test_a_run_that_nobody_can_foretell_is_not_put_off_and_keeps_its_place() -> None:
    made = plan([working("now", None), waiting("a", 10)], 100)
    assert (made.put_off, made.done) == ((), frozenset())
    made = plan([working("now", None), waiting("a", 10)], 100, places=2)
    assert (made.put_off, made.done) == ((), {"a"})


def test_an_estimate_that_misses_by_little_is_given_the_benefit_of_the_doubt() -> None:
    assert plan([working("now", 104), waiting("a", 10)], 100).put_off == ()
    assert plan([working("now", 106), waiting("a", 10)], 100).put_off == ("now",)


def test_of_several_at_work_only_as_many_make_room_as_gains_something() -> None:
    made = plan([working("x", 500), working("y", 900), waiting("a", 60)], 100, places=2)
    assert (made.put_off, made.done) == (("y",), {"a"})


@pytest.mark.parametrize("time_s", [0, -50])
def test_when_time_is_up_nothing_is_done_and_nothing_put_off_for_it(time_s: float) -> None:
    made = plan([working("now", 50), waiting("a", 10)], time_s)
    assert (made.order, made.done, made.put_off) == (("a",), frozenset(), ())


_LEFTS = st.one_of(st.none(), st.integers(1, 60))


@given(lefts=st.lists(_LEFTS, max_size=7), time_s=st.integers(0, 120))
def test_no_other_choice_has_more_runs_done(lefts: list[int | None], time_s: int) -> None:
    made = plan([waiting(str(index), left) for index, left in enumerate(lefts)], time_s)
    known = {str(index): left for index, left in enumerate(lefts) if left is not None}
    assert sorted(made.order) == sorted(str(index) for index in range(len(lefts)))
    assert sum(known[run] for run in made.done) <= time_s
    most = max(
        count for count in range(len(known) + 1)
        if any(sum(chosen) <= time_s for chosen in itertools.combinations(known.values(), count))
    )
    assert len(made.done) == most
    # Those that will be done come first, so that they are.
    assert set(made.order[: len(made.done)]) == made.done


@given(
    lefts=st.lists(_LEFTS, max_size=8), working_lefts=st.lists(_LEFTS, max_size=3), time_s=st.integers(-10, 120),
    places=st.integers(1, 3), priorities=st.lists(st.integers(-1, 1), min_size=11, max_size=11),
)
def test_a_plan_is_sound_whatever_is_asked(
    lefts: list[int | None], working_lefts: list[int | None], time_s: int, places: int, priorities: list[int]
) -> None:
    at_work = [working(f"w{i}", left, priorities[i]) for i, left in enumerate(working_lefts[:places])]
    queued = [waiting(f"q{i}", left, priorities[3 + i]) for i, left in enumerate(lefts)]
    made = plan([*at_work, *queued], time_s, places)
    assert sorted(made.order) == sorted(one.run for one in queued)
    assert set(made.put_off) <= {one.run for one in at_work if one.left_s is not None and one.left_s > time_s}
    assert not made.done & set(made.put_off)
    # Nothing is put off for nothing.
    without = plan([*at_work, *queued], time_s, places)
    assert without == made
    if made.put_off:
        assert any(run.startswith("q") for run in made.done)

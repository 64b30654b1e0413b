from __future__ import annotations

from dataclasses import replace

import pytest

from engine.events import RunEnded
from tests.tui.build import EVENING, Course, events_of
from tui.comparing import CONTESTS, best_epoch, columns_of, compared, whole_of
from tui.feed import Fleet
from tui.look import Look
from tui.plot import draw
from tui.scene import Scene
from tui.view import RunView, apply, apply_all


def run(run_id: str, course: Course, *, finished: bool = True) -> RunView:
    view = apply_all(RunView(run_id), events_of(course))
    ended = RunEnded(time=EVENING + 900, outcome="finished", reason="", elapsed_s=900)
    return apply(view, ended) if finished else view


@pytest.fixture(scope="module")
def views() -> tuple[RunView, ...]:
    short = Course(epochs=6, num_epochs=6, steps_an_epoch=20)
    return (
        run("0001-first", replace(short, skill=0.5, seed=1)),
        run("0002-best", replace(short, skill=0.9, seed=2, step_s=0.9)),
        run("0003-running", replace(short, epochs=2, seed=3), finished=False),
        RunView("0004-queued"),
    )


def scene(views: tuple[RunView, ...], chosen: int | None, *marked: int) -> Scene:
    return Scene(
        Fleet(), views, None if chosen is None else views[chosen], (), EVENING,
        frozenset(views[index].run_id for index in marked),
    )  # fmt: skip


def ids(scene: Scene) -> list[str]:
    return [view.number for view in compared(scene)[0]]


def test_which_runs_are_compared(views: tuple[RunView, ...]) -> None:
    assert ids(scene(views, 3, 0, 2)) == ["0001", "0003"]
    assert ids(scene(views, 2)) == ["0002", "0003"]
    assert ids(scene(views, 1)) == ["0001", "0002"]
    assert ids(scene(views, 1, 2)) == ["0002", "0003"]
    assert ids(scene(views[3:], 0)) == ["0004"]
    assert ids(scene((), None)) == []
    assert "Space" in compared(scene(views, 2))[1]
    assert "best other finished run" in compared(scene(views, 2))[1]
    assert "best other run" in compared(scene(views[2:], 1))[1]


def test_no_more_than_can_be_told_apart(views: tuple[RunView, ...]) -> None:
    crowd = tuple(replace(views[0], run_id=f"{index:04d}-run") for index in range(12))
    found, words = compared(scene(crowd, 0, *range(12)))
    assert len(found) == 8
    assert words == "the first 8 of the 12 marked runs"


def test_curves_have_styles_and_letters_of_their_own(views: tuple[RunView, ...]) -> None:
    for contest in CONTESTS:
        plot = contest.plot(views, Look(kind="epoch"))
        assert [line.name for line in plot.lines] == ["A 0001", "B 0002", "C 0003"]
        assert len({line.dash for line in plot.lines}) == 3
        text = "".join("".join(row) for row in draw(plot, 60, 16).chars)
        assert {"A", "B", "C"} <= set(text)
    assert whole_of(views, Look(kind="epoch"))[1] == 6


def test_a_run_has_no_value_where_it_has_no_curve(views: tuple[RunView, ...]) -> None:
    lines = CONTESTS[0].plot(views, Look(kind="epoch", cursor=5)).lines
    assert [line.shown_value == line.shown_value for line in lines] == [True, True, False]


def test_figures_are_those_of_the_best_epoch(views: tuple[RunView, ...]) -> None:
    columns = {column.title: column for column in columns_of(views, EVENING)}
    best = best_epoch(views[1])
    assert best is not None
    assert columns["AP"].values[1] == best.ap
    assert columns["AP"].best == {1}
    assert columns["s a step"].values[1] == pytest.approx(0.9, rel=0.05)
    assert 1 not in columns["s a step"].best
    assert columns["at epoch"].texts == ("6", "6", "2", "-")
    assert columns["memory"].texts == ("-", "-", "-", "-")
    assert best_epoch(views[3]) is None


def test_nothing_is_best_among_one_or_equals(views: tuple[RunView, ...]) -> None:
    assert all(not column.best for column in columns_of(views[:1], EVENING))
    assert all(not column.best for column in columns_of((views[0], views[0]), EVENING))

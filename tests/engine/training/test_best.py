"""Which epoch is kept, and when a run stops early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.recipe.schema import Recipe
from engine.training.best import BestSoFar, Metric, best_metric, improves, should_stop_early, update
from tests.builders import load_recipe, write_recipe


def recipe(tmp_path: Path, **sections: Any) -> Recipe:
    return load_recipe(write_recipe(tmp_path, tmp_path, **sections))


def follow(recipe: Recipe, metric: Metric, values: list[float | None]) -> tuple[BestSoFar, list[bool], int | None]:
    """Feed an epoch's value after the other; tells the memory, which were best, and the epoch that ended it."""
    best, marks = BestSoFar(), []
    for epoch, value in enumerate(values):
        measured: dict[Metric, float | None] = {"ap": 0.0, "ap50": 0.0, "ap75": 0.0, "val_loss": 1.0}
        best, is_best = update(best, recipe, epoch, measured | {metric: value})
        marks.append(is_best)
        if should_stop_early(best, recipe):
            return best, marks, epoch
    return best, marks, None


@pytest.mark.parametrize(
    ("sections", "metric"),
    [
        pytest.param({}, "ap", id="by itself"),
        pytest.param({"early_stopping": {"metric": "val_loss"}}, "val_loss", id="what early stopping watches"),
        pytest.param(
            {"early_stopping": {"metric": "val_loss"}, "evaluation": {"best_metric": "ap50"}}, "ap50", id="named"
        ),
    ],
)
def test_what_decides_which_weights_are_kept(tmp_path: Path, sections: Any, metric: str) -> None:
    assert best_metric(recipe(tmp_path, **sections)) == metric


@pytest.mark.parametrize(
    ("metric", "value", "over", "by", "better"),
    [
        ("ap", 0.5, None, 0.0, True), ("ap", None, None, 0.0, False), ("ap", None, 0.1, 0.0, False),
        ("ap", 0.5, 0.4, 0.0, True), ("ap", 0.5, 0.5, 0.0, False), ("ap", 0.5, 0.4, 0.2, False),
        ("val_loss", 0.4, 0.5, 0.0, True), ("val_loss", 0.5, 0.5, 0.0, False), ("val_loss", 0.4, 0.5, 0.2, False),
        ("val_loss", float("nan"), 0.5, 0.0, False), ("ap", float("nan"), 0.5, 0.0, False),
    ],
)
def test_better_means_lower_loss_or_higher_precision(
    metric: Metric, value: float | None, over: float | None, by: float, better: bool
) -> None:
    assert improves(metric, value, over, by) is better


@pytest.mark.parametrize(
    ("metric", "values", "marks"),
    [
        pytest.param("ap", [0.1, 0.3, 0.2, 0.3, 0.4], [True, True, False, False, True], id="precision"),
        pytest.param("val_loss", [3, 2, 2.5, 1], [True, True, False, True], id="loss"),
        pytest.param("ap", [None, None, 0.0, 0.1], [True, False, True, True], id="nothing measured at first"),
        pytest.param("val_loss", [float("nan"), 2, 3], [True, True, False], id="a first loss that isn't a number"),
    ],
)
def test_the_best_epoch_is_kept(tmp_path: Path, metric: Any, values: Any, marks: list[bool]) -> None:
    best, found, _ = follow(recipe(tmp_path, evaluation={"best_metric": metric}), metric, values)
    assert found == marks
    last = max(epoch for epoch, mark in enumerate(marks) if mark)
    assert (best.epoch, best.value) == (last, values[last])


@pytest.mark.parametrize(
    ("stopping", "values", "stops_after"),
    [
        pytest.param({"patience": 2}, [5, 4, 4, 4, 3], 3, id="patience at its end"),
        pytest.param({"patience": 2}, [5, 4, 4, 3, 3], None, id="just in time"),
        pytest.param({"patience": 1}, [5, 5], 1, id="at once"),
        pytest.param({"patience": 2, "min_delta": 0.5}, [5, 4.8, 4.6, 4.4], 2, id="creeping doesn't count"),
        pytest.param({"patience": 3, "min_delta": 0.5}, [5, 4.8, 4.6, 4.4], None, id="creeping adds up"),
        pytest.param({"patience": 2, "metric": "ap"}, [None, None, 0.3], 1, id="never measured"),
    ],
)
def test_early_stopping(tmp_path: Path, stopping: Any, values: Any, stops_after: int | None) -> None:
    chosen = recipe(tmp_path, early_stopping=stopping)
    assert follow(chosen, stopping.get("metric", "val_loss"), values)[2] == stops_after


@pytest.mark.parametrize("metric", ["ap", "ap50", "ap75", "val_loss"])
def test_every_metric_may_decide_both(tmp_path: Path, metric: Metric) -> None:
    """The others stay as they are, and neither keep nor end anything."""
    chosen = recipe(tmp_path, early_stopping={"metric": metric, "patience": 2})
    rising: list[float | None] = [0.1, 0.2, 0.3, 0.3, 0.25, 0.9]
    values = [-value for value in rising if value is not None] if metric == "val_loss" else rising
    best, marks, stopped_after = follow(chosen, metric, [*values])
    assert (marks, stopped_after) == ([True, True, True, False, False], 4)
    assert (best.epoch, best.value) == (2, values[2])


def test_without_early_stopping_a_run_goes_on(tmp_path: Path) -> None:
    assert follow(recipe(tmp_path), "val_loss", [1.0] * 100)[2] is None


def test_the_memory_survives_a_checkpoint() -> None:
    best = BestSoFar(0.5, 3, 0.4, 2)
    assert BestSoFar(**best.as_dict()) == best

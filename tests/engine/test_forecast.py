"""Durations of runs and of a queue, from figures."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from engine.forecast import (
    Figures,
    Waiting,
    clock_words,
    forecast_bytes,
    forecast_queue,
    forecast_run,
    left_of,
    read_forecast,
    step_pace,
)
from engine.recipe.schema import Recipe

NOW = datetime(2026, 11, 23, 22, 0).timestamp()  # noqa: DTZ001 - a Monday evening, wherever the tests run
HOUR = 3600.0


def figures(**values: Any) -> Figures:
    usual: dict[str, Any] = {
        "device": "cpu", "batch_size": 4, "micro_batch_size": 4, "startup_s": 10.0, "step_s": 2.0,
        "evaluate_image_s": 0.5, "peak_bytes": 10**9, "available_bytes": 10**10, "num_train_images": 100,
        "num_val_images": 20,
    }
    return Figures(**(usual | values))


def recipe(**sections: Any) -> Recipe:
    folders = {split: {"images": split, "annotations": split} for split in ("train", "val")}
    content: dict[str, Any] = {
        "name": "desk", "dataset": folders, "classes": {"names": ["mug"]}, "previews": {"num_images": 0},
    }
    return Recipe.model_validate(content | sections)


@pytest.mark.parametrize(
    ("values", "sections", "seconds"),
    [
        pytest.param({}, {"training": {"epochs": 1}}, 10 + 50 + 10, id="one-epoch"),
        pytest.param({}, {"training": {"epochs": 3}}, 10 + 3 * 60, id="the-start-only-once"),
        pytest.param({"batch_size": 8}, {"training": {"epochs": 1}}, 10 + 25 + 10, id="a-last-small-batch"),
        pytest.param({"num_val_images": 0}, {"training": {"epochs": 1}}, 60, id="nothing-to-evaluate"),
        pytest.param({"num_train_images": 0, "num_val_images": 0}, {"training": {"epochs": 5}}, 10, id="empty"),
        pytest.param(
            {}, {"training": {"epochs": 1}, "previews": {"num_images": 4}}, 70 + 0.4, id="previews",
        ),
        pytest.param({"state_bytes": 400_000_000, "model_bytes": 200_000_000}, {"training": {"epochs": 2}},
                     10 + 2 * 60 + 2 * 2.5, id="checkpoints"),
    ],
)  # fmt: skip
def test_a_run_takes_its_epochs(values: dict[str, Any], sections: dict[str, Any], seconds: float) -> None:
    forecast = forecast_run(figures(**values), recipe(**sections), NOW)
    assert forecast.run_s == pytest.approx(seconds)


def test_a_run_that_may_stop_early_says_so() -> None:
    assert not forecast_run(figures(), recipe(), NOW).may_end_early
    assert forecast_run(figures(), recipe(early_stopping={}), NOW).may_end_early


@pytest.mark.parametrize(
    ("num_workers", "shared", "seconds"),
    [
        pytest.param(0, True, 3.0, id="loads-by-itself"),
        pytest.param(1, True, 2.5, id="takes-cores-from-the-training"),
        pytest.param(1, False, 2.0, id="beside-a-gpu"),
    ],
)
def test_loading_costs_what_it_takes_from_the_step(num_workers: int, shared: bool, seconds: float) -> None:
    assert step_pace(2.0, 1.0, num_workers=num_workers, num_cores=2, shared_cores=shared) == seconds


def test_slow_loading_is_the_pace() -> None:
    assert step_pace(0.1, 4.0, num_workers=2, num_cores=8, shared_cores=False) == 2.0


# --- the queue ---


def waiting(number: int, hours: float | None, **values: Any) -> Waiting:
    return Waiting(f"r{number}", number, None if hours is None else hours * HOUR, **values)


def ends(*runs: Waiting, num_places: int = 1) -> dict[str, float | None]:
    """Hours from now until each run's end."""
    found = forecast_queue(runs, NOW, num_places).done_at
    return {run: None if end is None else round((end - NOW) / HOUR, 6) for run, end in found.items()}


def test_an_empty_queue_ends_at_no_time() -> None:
    forecast = forecast_queue([], NOW)
    assert (forecast.done_at, forecast.queue_done_at) == ({}, None)


def test_runs_go_one_after_another_by_priority_position_and_number() -> None:
    runs = [waiting(1, 1), waiting(2, 2, priority=5), waiting(3, 4, position=-1.0), waiting(4, 8, active=True)]
    assert ends(*runs) == {"r4": 8, "r2": 10, "r3": 14, "r1": 15}
    assert forecast_queue(runs, NOW).queue_done_at == NOW + 15 * HOUR


def test_a_run_waits_for_its_time_and_others_go_before_it() -> None:
    later = NOW + 3 * HOUR
    assert ends(waiting(1, 1, not_before=later, priority=9), waiting(2, 2)) == {"r2": 2, "r1": 4}
    assert ends(waiting(1, 1, not_before=later), waiting(2, 5)) == {"r2": 5, "r1": 6}
    assert ends(waiting(1, 1, not_before=NOW - HOUR)) == {"r1": 1}


def test_of_two_that_wait_for_their_time_the_earlier_goes_first() -> None:
    runs = [waiting(1, 1, not_before=NOW + 5 * HOUR), waiting(2, 1, not_before=NOW + 2 * HOUR)]
    assert ends(*runs) == {"r2": 3, "r1": 6}


def test_behind_a_run_that_nobody_can_foretell_nothing_is_certain() -> None:
    runs = [waiting(1, 1), waiting(2, None), waiting(3, 1)]
    assert ends(*runs) == {"r1": 1, "r2": None, "r3": None}
    assert forecast_queue(runs, NOW).queue_done_at is None


def test_places_side_by_side() -> None:
    runs = [waiting(1, 4, active=True), waiting(2, 1, active=True), waiting(3, 1), waiting(4, 3)]
    assert ends(*runs, num_places=2) == {"r1": 4, "r2": 1, "r3": 2, "r4": 5}


def test_early_stopping_makes_all_that_follow_an_upper_bound() -> None:
    forecast = forecast_queue([waiting(1, 1), waiting(2, 1, may_end_early=True), waiting(3, 1)], NOW)
    assert forecast.at_the_latest == {"r2", "r3"}


def test_what_is_left_of_a_run() -> None:
    forecast = forecast_run(figures(), recipe(training={"epochs": 1}), NOW)
    assert left_of(None) is None
    assert left_of(forecast) == 70
    assert left_of(forecast, fraction=0.5) == 10 + 30
    assert left_of(forecast, fraction=0.5, eta_s=7.0) == 7.0
    assert left_of(None, eta_s=7.0) == 7.0


# --- words and files ---


@pytest.mark.parametrize(
    ("hours", "words"),
    [(0.0, "22:00"), (0.51, "22:30"), (1.99, "Tue 00:00"), (4.1, "Tue 02:05"), (6 * 24.0 + 1, "29 Nov 23:00")],
)
def test_times_of_the_clock(hours: float, words: str) -> None:
    assert clock_words(NOW + hours * HOUR, NOW) == words


def test_a_forecast_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "forecast.json"
    forecast = forecast_run(figures(), recipe(), time.time())
    path.write_bytes(forecast_bytes(forecast))
    assert read_forecast(path) == forecast


@pytest.mark.parametrize("content", [None, b"", b"{}", b"null", b'{"run_s": "x"}', b"\xff\x00"])
def test_a_forecast_that_cannot_be_read_is_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "forecast.json"
    if content is not None:
        path.write_bytes(content)
    assert read_forecast(path) is None

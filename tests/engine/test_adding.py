"""Times that a person writes, and recipes on their way into the queue."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from engine.adding import new_run
from engine.clock import next_time
from engine.recipe.load import load_recipes, read_resolved
from engine.rundir import RunDir
from engine.runqueue import RunQueue
from tests.builders import write_recipe


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where the clock goes forward at 2:00 on 29 March 2026 and back at 3:00 on 25 October."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text: str) -> float:
    """A time with its offset, in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("words", "now", "expected"),
    [
        (None, "2026-03-01T12:00+01:00", None),
        ("22:30", "2026-03-01T12:00+01:00", "2026-03-01T22:30+01:00"),
        ("07:00", "2026-03-01T22:00+01:00", "2026-03-02T07:00+01:00"),
        ("22:30", "2026-03-01T22:30+01:00", "2026-03-01T22:30+01:00"),
        ("22:30", "2026-03-01T22:30:40+01:00", "2026-03-01T22:30+01:00"),
        ("2026-07-01T06:00", "2026-03-01T22:30+01:00", "2026-07-01T06:00+02:00"),
        # Over the night in which the clock goes forward, and the one in which it goes back.
        ("07:00", "2026-03-28T22:00+01:00", "2026-03-29T07:00+02:00"),
        ("07:00", "2026-10-24T22:00+02:00", "2026-10-25T07:00+01:00"),
        ("02:30", "2026-03-28T22:00+01:00", "2026-03-29T03:30+02:00"),
        ("02:30", "2026-10-24T22:00+02:00", "2026-10-25T02:30+02:00"),
        ("00:00", "2026-12-31T23:59+01:00", "2027-01-01T00:00+01:00"),
    ],
)
def test_a_time_of_the_clock_is_when_the_clock_shows_it(
    berlin: None, words: str | None, now: str, expected: str | None
) -> None:
    assert next_time(words, at(now)) == (None if expected is None else at(expected))


def test_a_recipe_goes_into_the_queue_with_all_that_it_asks(tmp_path: Path, dataset: Path) -> None:
    path = write_recipe(
        tmp_path, dataset, queue={"priority": 3, "retries": 2, "max_hours": 1.5, "not_before": "2030-01-01T00:00"}
    )
    [loaded] = load_recipes(path)
    queue = RunQueue(tmp_path / "runs")
    [(row, is_new)] = queue.enqueue([new_run(loaded, held=True)])
    assert is_new
    assert (row.priority, row.retries_left, row.max_hours, row.state) == (3, 2, 1.5, "held")
    assert row.not_before == datetime(2030, 1, 1).timestamp()  # noqa: DTZ001 - local, as a person writes it
    run_dir = RunDir(queue.runs_dir / row.run)
    assert run_dir.recipe.read_text() == path.read_text()
    assert read_resolved(run_dir.resolved) == loaded.recipe
    assert json.loads(run_dir.decision.read_text())["state"] == "held"
    [(twin, is_new)] = queue.enqueue([new_run(loaded)])
    assert (twin.run, is_new) == (row.run, False)
    queue.close()

"""`engine run` as a person uses it: processes, signals, a second one beside the first."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.events import RunEnded
from engine.rundir import SUPERVISOR_LOCK, RunDir
from engine.runqueue import QueueRow, RunQueue
from tests.builders import (
    enqueue_recipe,
    events_of,
    load_recipe,
    process_environment,
    start_engine,
    steps_of,
    wait_for,
    write_recipe,
)
from tests.engine.cli.conftest import Ask

NO_PREVIEWS = {"previews": {"num_images": 0}}


def rows_of(runs_dir: Path) -> list[QueueRow]:
    queue = RunQueue(runs_dir)
    try:
        return queue.rows()
    finally:
        queue.close()


def test_a_second_run_joins_the_queue_ctrl_c_saves_and_a_third_goes_on(tmp_path: Path, dataset: Path) -> None:
    long = write_recipe(tmp_path, dataset, "long", training={"epochs": 30}, **NO_PREVIEWS)
    short = write_recipe(tmp_path, dataset, "short", **NO_PREVIEWS)
    runs_dir = tmp_path / "runs"
    long_run, short_run = RunDir(runs_dir / "0001-long"), RunDir(runs_dir / "0002-short")

    first = start_engine(tmp_path, "run", "--no-rehearsal", str(long))
    wait_for(lambda: len(steps_of(long_run)) >= 2, 100, lambda: first.output)

    second = start_engine(tmp_path, "run", "--no-rehearsal", str(short), str(long))
    assert second.wait(60) == 0, second.output
    assert "queued 0002-short" in second.output
    assert "0001-long is the same recipe" in second.output
    assert "another `engine run` is at work" in second.output

    first.process.send_signal(signal.SIGINT)
    assert first.wait(60) == 130, first.output
    assert "saving, then stopping" in first.output
    assert "goes on where it was" in first.output
    assert [row.state for row in rows_of(runs_dir)] == ["queued", "queued"]
    assert "everything saved" in rows_of(runs_dir)[0].reason
    made = len(steps_of(long_run))
    assert 2 <= made < 90
    assert [event.outcome for event in events_of(long_run) if isinstance(event, RunEnded)] == ["stopped"]

    third = start_engine(tmp_path, "run")
    assert third.wait() == 0, third.output
    assert "2 runs: 2 finished" in third.output
    assert [(row.state, row.attempt) for row in rows_of(runs_dir)] == [("finished", 2), ("finished", 1)]
    assert [event.step for event in steps_of(long_run)] == list(range(90))
    assert len(steps_of(short_run)) == 3
    assert short_run.recipe.read_text() == short.read_text()


@pytest.mark.slow
def test_ctrl_c_while_the_worker_still_starts_fails_nothing(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path, dataset, **NO_PREVIEWS)
    first = start_engine(tmp_path, "run", "--no-rehearsal", str(recipe))
    first.wait_for_output("started, attempt 1")
    first.process.send_signal(signal.SIGINT)
    assert first.wait(60) == 130, first.output
    assert [row.state for row in rows_of(tmp_path / "runs")] == ["queued"]
    again = start_engine(tmp_path, "run")
    assert again.wait() == 0, again.output


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path, dataset, training={"epochs": 1000}, **NO_PREVIEWS)
    first = start_engine(tmp_path, "run", "--no-rehearsal", str(recipe))
    wait_for(lambda: bool(steps_of(RunDir(tmp_path / "runs" / "0001-tiny"))), 100, lambda: first.output)
    first.process.send_signal(signal.SIGINT)
    first.process.send_signal(signal.SIGINT)
    first.process.send_signal(signal.SIGINT)
    assert first.wait(20) == 130, first.output
    assert [row.state for row in rows_of(tmp_path / "runs")] == ["queued"]


def test_nothing_to_do(engine: Ask) -> None:
    answer = engine("run")
    assert (answer.code, answer.out) == (0, "nothing was queued\n")


def test_held_runs_alone_are_told_with_what_lets_them_go_on(engine: Ask, tmp_path: Path, dataset: Path) -> None:
    recipes = [write_recipe(tmp_path, dataset, name, training={"seed": seed}) for seed, name in enumerate("ab")]
    engine("add", "--no-rehearsal", "--hold", *recipes)
    answer = engine("run")
    assert (answer.code, answer.out) == (0, "2 runs are held; `engine release 1 2` lets them go on\n")


def test_a_failed_run_is_told_and_gives_exit_code_one(engine: Ask, tmp_path: Path, dataset: Path) -> None:
    """The run's folder is gone by the time it is its turn: the quickest way for a worker not to start."""
    queue = RunQueue(tmp_path / "runs")
    row = enqueue_recipe(queue, load_recipe(write_recipe(tmp_path, dataset)))
    queue.close()
    (tmp_path / "runs" / row.run).rename(tmp_path / "elsewhere")
    answer = engine("run")
    assert answer.code == 1
    assert "1 run: 1 failed" in answer.out
    assert "can't be started" in answer.out


_LOOK = """
import fcntl, sys, time
with open(sys.argv[1], "rb") as file:
    fcntl.lockf(file, fcntl.LOCK_SH)
    print("looking", flush=True)
    time.sleep(0.2)
"""


def test_a_dashboard_that_looks_at_the_lock_is_no_supervisor(engine: Ask, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    lock = tmp_path / "runs" / SUPERVISOR_LOCK
    lock.touch()
    looker = subprocess.Popen(
        [sys.executable, "-S", "-c", _LOOK, str(lock)], stdout=subprocess.PIPE, env=process_environment()
    )
    assert looker.stdout is not None
    looker.stdout.readline()
    assert "another" not in engine("run").out
    looker.wait()
    looker.stdout.close()


def test_skip_bad_says_so_and_fails_in_the_end(engine: Ask, tmp_path: Path) -> None:
    answer = engine("run", "--skip-bad", "missing.toml")
    assert answer.code == 1
    assert "not queued" in answer.err
    assert "nothing was queued" in answer.out

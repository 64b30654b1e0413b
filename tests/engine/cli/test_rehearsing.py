"""What `engine run` does before it queues anything."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import psutil
import pytest

from engine.cli.rehearsing import admit
from engine.forecast import read_forecast
from engine.recipe.load import LoadedRecipe, load_recipes, read_resolved, recipe_hash
from engine.rundir import RunDir
from engine.runqueue import RunQueue
from tests.builders import Engine, enqueue_recipe, start_engine, wait_for, write_recipe
from tests.engine.cli.conftest import Ask

NO_PREVIEWS = {"previews": {"num_images": 0}}


def test_a_rehearsed_run_holds_its_batch_size_and_its_forecast(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path, dataset, training={"batch_size": "auto"}, early_stopping={}, **NO_PREVIEWS)
    first = start_engine(tmp_path, "run", str(recipe))
    assert first.wait(200) == 0, first.output
    run_dir = RunDir(tmp_path / "runs" / "0001-tiny")
    assert read_resolved(run_dir.resolved).training.batch_size == 4
    assert run_dir.recipe.read_text() == recipe.read_text()
    assert 'batch_size = "auto" became 4' in first.output
    forecast = read_forecast(run_dir.forecast)
    assert forecast is not None
    assert forecast.may_end_early
    [line] = [line for line in first.output.splitlines() if line.startswith("0001-tiny: 1 epoch, about ")]
    assert "GB, done about " in line
    assert line.endswith(" at the latest")
    assert "rehearsing tiny" in first.output


def children(engine: Engine) -> list[psutil.Process]:
    """Its processes that rehearse; another may try an allocator for an instant."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(engine.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "engine.rehearse" in child.cmdline():
                    found.append(child)
    return found


def rehearsing(tmp_path: Path, dataset: Path) -> tuple[Engine, psutil.Process]:
    """An `engine run` in the middle of its rehearsal, and the process that rehearses."""
    engine = start_engine(tmp_path, "run", str(write_recipe(tmp_path, dataset, **NO_PREVIEWS)))
    wait_for(lambda: bool(children(engine)), 60, lambda: engine.output)
    return engine, children(engine)[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_the_rehearsal_and_queues_nothing(
    tmp_path: Path, dataset: Path, number: signal.Signals
) -> None:
    engine, child = rehearsing(tmp_path, dataset)
    engine.process.send_signal(number)
    assert engine.wait(20) == 130, engine.output
    assert "nothing was queued" in engine.output
    assert "Traceback" not in engine.output
    # Hit between its start and its being known to us, it ends by its lifeline once torch is imported.
    wait_for(lambda: not child.is_running(), 20, lambda: engine.output)
    assert not (tmp_path / "runs").exists()


def test_a_rehearsal_outlives_nobody(tmp_path: Path, dataset: Path) -> None:
    engine, child = rehearsing(tmp_path, dataset)
    engine.process.kill()
    engine.wait(20)
    wait_for(lambda: not child.is_running(), 20)


def test_a_killed_rehearsal_is_a_message(tmp_path: Path, dataset: Path) -> None:
    engine, child = rehearsing(tmp_path, dataset)
    child.kill()
    assert engine.wait(20) == 1, engine.output
    assert "tiny.toml: rehearsed, 1 error, nothing queued" in engine.output
    assert "error T301 tiny: the system killed the rehearsal" in engine.output
    assert not (tmp_path / "runs").exists()


def test_auto_without_a_rehearsal_is_refused(engine: Ask, tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path, dataset, training={"batch_size": "auto"})
    answer = engine("run", "--no-rehearsal", recipe)
    assert answer.code == 1
    assert answer.err.count("T307") == 1
    assert "tiny.toml:" in answer.err
    assert not (tmp_path / "runs").exists()


# --- several recipes ---


@pytest.fixture
def two(tmp_path: Path, dataset: Path) -> list[LoadedRecipe]:
    """A recipe without fault, and one whose memory limit leaves no room for torch itself."""
    good = write_recipe(tmp_path, dataset, "good", training={"batch_size": 2})
    bad = write_recipe(tmp_path, dataset, "bad", hardware={"memory_limit_gb": 0.5})
    return [load_recipes(path)[0] for path in (bad, good)]


def test_skip_bad_leaves_out_what_failed_its_rehearsal(
    two: list[LoadedRecipe], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    admitted = admit(two, tmp_path / "runs", rehearsal=True, skip_bad=True)
    assert admitted.refused
    assert [one.recipe.name for one in admitted.recipes] == ["good"]
    assert list(admitted.forecasts) == [recipe_hash(two[1].recipe)]
    told = capfd.readouterr().err
    assert "bad.toml: rehearsed, 1 error, not queued" in told
    assert "T301 bad: 0.5 GB of memory, where the program" in told


def test_one_bad_rehearsal_keeps_the_good_ones_out_too(engine: Ask, two: list[LoadedRecipe], tmp_path: Path) -> None:
    answer = engine("run", two[0].path)
    assert answer.code == 1
    assert "bad.toml: rehearsed, 1 error, nothing queued" in answer.err
    assert not (tmp_path / "runs").exists()


def test_what_is_queued_already_is_not_rehearsed_again(two: list[LoadedRecipe], queue: RunQueue) -> None:
    enqueue_recipe(queue, two[0].recipe)
    admitted = admit(two[:1], queue.runs_dir, rehearsal=True, skip_bad=False)
    assert (admitted.recipes, admitted.forecasts, admitted.refused) == (two[:1], {}, False)


def test_without_a_rehearsal_all_but_auto_is_admitted(
    two: list[LoadedRecipe], tmp_path: Path, dataset: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    auto = load_recipes(write_recipe(tmp_path, dataset, "auto", training={"batch_size": "auto"}))
    admitted = admit([*two, *auto], tmp_path / "runs", rehearsal=False, skip_bad=True)
    assert (admitted.recipes, admitted.refused) == (two, True)
    assert "T307" in capfd.readouterr().err

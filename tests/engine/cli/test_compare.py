"""`engine compare` of two runs that were really trained, if shortly."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from engine.rundir import RunDir
from tests.builders import load_recipe, train_run, write_recipe
from tests.engine.cli.conftest import Ask


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, dataset: Path, trained: Path) -> Path:
    """A runs folder with two runs that differ in their learning rate."""
    runs_dir = tmp_path_factory.mktemp("pair") / "runs"
    shutil.copytree(trained, runs_dir)
    recipe = load_recipe(
        write_recipe(runs_dir.parent, dataset, "slow", previews={"num_images": 0}, optimizer={"lr": 0.001})
    )
    train_run(RunDir(runs_dir / "0002-slow"), recipe)
    return runs_dir


@pytest.fixture
def runs(tmp_path: Path, pair: Path) -> Path:
    """A copy of that folder, to be changed."""
    return Path(shutil.copytree(pair, tmp_path / "runs"))


def test_a_ranking_from_what_the_worker_left(engine: Ask, runs: Path) -> None:
    for run_dir in map(RunDir, sorted(runs.iterdir())):
        run_dir.best_checkpoint.unlink()  # no model is needed
    answer = engine("compare", 1, "slow")
    assert answer.code == 0
    assert "more than luck" not in answer.out
    assert "3 images are too few to tell skill from luck: measure on 20 or more" in answer.out
    for word in ("2 runs on val", "0001-tiny", "0002-slow", "optimizer.lr", "mug", "3 images"):
        assert word in answer.out


def test_json_and_csv_say_the_same(engine: Ask, runs: Path, tmp_path: Path) -> None:
    answer = engine("compare", 1, 2, "--json", "--out", "there")
    told = json.loads(answer.out)
    assert json.loads((tmp_path / "there" / "comparison.json").read_text()) == told
    assert {"key": "optimizer.lr", "values": [{"0001-tiny": "0.01", "0002-slow": "0.001"}[one["name"]]
                                              for one in told["models"]]} in told["recipe_differences"]
    rows = list(csv.DictReader(io.StringIO(engine("compare", 1, 2, "--csv").out)))
    assert [row["run"] for row in rows] == [one["name"] for one in told["models"]]
    for row, one in zip(rows, told["models"], strict=True):
        assert float(row["ap"]) == pytest.approx(one["figures"]["ap"])
        assert row["ap mug"] == str(one["ap_per_class"]["mug"])
    with Image.open(tmp_path / "there" / "comparison.png") as picture:
        assert picture.width > 1000


def test_other_photos_are_measured_first(engine: Ask, runs: Path, dataset: Path) -> None:
    told = json.loads(engine("compare", 1, 2, "--data", dataset, "--split", "train", "--json").out)
    assert told["num_images"] == 6
    assert RunDir(runs / "0001-tiny").detections(f"data-{dataset.name}-train").is_file()


def test_figures_of_a_former_model_are_not_told(engine: Ask, runs: Path) -> None:
    kept = RunDir(runs / "0001-tiny").ground_truth("val")
    kept.write_text(kept.read_text().replace('"epoch":0', '"epoch":7'))
    told = json.loads(engine("compare", 1, 2, "--json").out)
    assert [one["epoch"] for one in told["models"]] == [0, 0]


def test_what_cannot_be_compared(engine: Ask, runs: Path, tmp_path: Path) -> None:
    assert "two runs or more" in engine("compare", 1).err
    assert "two runs or more" in engine("compare", 1, "tiny").err
    assert "Q103" in engine("compare", 1, "nobody").err
    empty = RunDir(runs / "0002-slow")
    shutil.rmtree(empty.evaluation)
    empty.best_checkpoint.unlink()
    answer = engine("compare", 1, 2)
    assert (answer.code, "X101" in answer.err) == (1, True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "comparison.csv").write_text("mine")
    answer = engine("compare", 1, 2, "--out", "out")
    assert (answer.code, "X104" in answer.err) == (1, True)
    assert (tmp_path / "out" / "comparison.csv").read_text() == "mine"


def test_a_narrow_terminal_keeps_the_runs_names(engine: Ask, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    answer = engine("compare", 1, 2)
    assert answer.code == 0
    for name in ("0001-tiny", "0002-slow"):
        assert name in answer.out

"""`engine evaluate` with a really trained, if hardly skilled, model, and with other tools' files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.analysis import CocoFigures, load_analysis
from engine.evaluation.predict import Predictor
from engine.models.detector import Detection
from engine.report.evaluation_plots import PLOTS
from engine.rundir import RunDir
from tests.builders import recipe_text, write_photo, write_voc
from tests.engine.analysis.cases import pycocotools_twelve, random_case, results_json, truth_json, write
from tests.engine.cli.conftest import Answer, Ask

BOX = (10.0, 10.0, 50.0, 50.0)


@pytest.fixture
def run(tmp_path: Path, trained: Path) -> RunDir:
    """A copy of that run, to be changed."""
    shutil.copytree(trained, tmp_path / "runs")
    return RunDir(tmp_path / "runs" / "0001-tiny")


def refused(answer: Answer, code: str) -> str:
    """The message of a command that ended with one problem."""
    assert answer.code == 1
    assert f"error {code} " in answer.err
    assert answer.err.count("fix: ") == 1
    return answer.err


# --- a run ---


def test_a_run_on_its_validation_photos(engine: Ask, run: RunDir) -> None:
    answer = engine("evaluate", "tiny")
    assert answer.code == 0
    assert "0001-tiny, epoch 1  on val" in answer.out
    for word in ("AP50", "mug", "laptop", "costs AP50", "background", "ms an image"):
        assert word in answer.out
    analysis = load_analysis(run)
    assert analysis is not None
    assert analysis.speed is not None
    assert analysis.num_images == 3
    assert {path.name for path in (run.evaluation / "val").iterdir()} <= set(PLOTS)
    assert (run.evaluation / "val" / "precision_recall.png").stat().st_size > 1000


def test_the_number_format_is_asked_for_and_told(engine: Ask, run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.evaluation import evaluate as module

    seen: list[str] = []
    detect = module._detect

    def noted(predictor: Predictor, pixels: torch.Tensor) -> Detection:
        seen.append(predictor.detector.detect_precision)
        return detect(predictor, pixels)

    monkeypatch.setattr(module, "_detect", noted)
    plain, short = engine("evaluate", "tiny"), engine("evaluate", "tiny", "--precision", "bf16")
    assert (plain.code, short.code) == (0, 0)
    assert seen == ["fp32"] * 3 + ["bf16"] * 3
    assert "bf16" not in plain.out
    assert any(line.endswith(", bf16") for line in short.out.splitlines() if line.startswith("speed:"))
    analysis = load_analysis(run)
    assert analysis is not None
    assert analysis.speed is not None
    assert analysis.speed.precision == "bf16"
    assert "is not one of" in engine("evaluate", "tiny", "--precision", "fp8").err


def test_json_is_the_analysis_and_nothing_else(engine: Ask, run: RunDir) -> None:
    told = json.loads(engine("evaluate", 1, "--json").out)
    assert told == json.loads(run.analysis("val").read_text())
    assert told["figures"].keys() == set(CocoFigures.__struct_fields__)


def test_a_checkpoint_by_itself_on_a_folder(engine: Ask, run: RunDir, tmp_path: Path, dataset: Path) -> None:
    moved = tmp_path / "moved.pt"
    shutil.copy(run.best_checkpoint, moved)
    refused(engine("evaluate", moved), "X308")
    answer = engine("evaluate", moved, "--data", dataset / "val", "--out", "there", "--json")
    assert answer.code == 0
    assert json.loads(answer.out)["num_images"] == 3
    assert {"analysis.json", "ground_truth.json", "detections.json", "precision_recall.png"} <= {
        path.name for path in (tmp_path / "there").iterdir()
    }
    # What was written is what other tools read, and reads as the same.
    again = engine(
        "evaluate", "--ground-truth", "there/ground_truth.json", "--detections", "there/detections.json", "--json"
    )
    assert json.loads(again.out)["figures"] == json.loads(answer.out)["figures"]


def test_a_checkpoint_that_is_not_the_best_leaves_the_best_ones_figures_alone(engine: Ask, run: RunDir) -> None:
    before = run.detections("val").read_bytes()
    answer = engine("evaluate", run.last_checkpoint)
    assert answer.code == 0
    assert "0001-tiny/last.pt" in answer.out
    assert run.detections("val").read_bytes() == before
    assert not run.analysis("val").exists()


def test_a_folder_of_several_splits_asks_which(engine: Ask, run: RunDir, dataset: Path) -> None:
    assert "train, val" in refused(engine("evaluate", 1, "--data", dataset), "X309")
    answer = engine("evaluate", 1, "--data", dataset, "--split", "train", "--json")
    assert json.loads(answer.out)["num_images"] == 6
    assert run.detections(f"data-{dataset.name}-train").is_file()


def test_a_recipe_of_fewer_and_of_other_classes(engine: Ask, run: RunDir, tmp_path: Path, dataset: Path) -> None:
    fewer = tmp_path / "fewer.toml"
    fewer.write_text(recipe_text(dataset, classes={"names": ["laptop"], "ignore": ["mug"]}))
    told = json.loads(engine("evaluate", 1, "--data", fewer, "--json").out)
    assert [one["name"] for one in told["classes"]] == ["mug", "laptop"]
    assert told["num_objects"] == sum(one["num_objects"] for one in told["classes"])
    assert all(one["num_objects"] for one in told["classes"])  # what the model knows is demanded
    other = tmp_path / "other.toml"
    other.write_text(recipe_text(dataset, classes={"names": ["mug", "spoon"], "ignore": ["laptop"]}))
    assert "spoon" in refused(engine("evaluate", 1, "--data", other), "X310")


def test_a_split_that_the_recipe_has_not(engine: Ask, run: RunDir) -> None:
    assert "no split test" in refused(engine("evaluate", 1, "--split", "test"), "X309")


def test_photos_of_classes_that_the_model_does_not_know(engine: Ask, run: RunDir, tmp_path: Path) -> None:
    write_photo(tmp_path / "more" / "a.jpg", [])
    write_voc(tmp_path / "more" / "a.xml", [("spoon", (5, 5, 30, 30))])
    answer = engine("evaluate", 1, "--data", "more")
    assert answer.code == 1
    assert "spoon" in answer.err


def test_a_photo_that_breaks_is_told_and_left_out(engine: Ask, run: RunDir, tmp_path: Path, dataset: Path) -> None:
    shutil.copytree(dataset / "val", tmp_path / "photos")
    first, second, _ = sorted((tmp_path / "photos" / "images").iterdir())
    first.write_bytes(b"no photo")
    second.write_bytes(second.read_bytes()[:700])  # its size can still be read
    answer = engine("evaluate", 1, "--data", "photos", "--json")
    assert answer.code == 1
    assert json.loads(answer.out)["num_images"] == 1
    assert first.name in answer.err
    assert second.name in answer.err


def test_a_run_without_a_model(engine: Ask, run: RunDir) -> None:
    run.best_checkpoint.unlink()
    refused(engine("evaluate", 1), "X101")


# --- other tools' detections ---


def test_all_twelve_figures_are_pycocotools(engine: Ask, tmp_path: Path) -> None:
    truth, results = random_case(11, num_images=30)
    gt, dets = write(tmp_path / "other", truth, results)
    answer = engine("evaluate", "--ground-truth", gt, "--detections", dets, "--json")
    assert answer.code == 0
    figures = {name: -1 if value is None else value for name, value in json.loads(answer.out)["figures"].items()}
    assert figures == pytest.approx(pycocotools_twelve(truth, results), abs=1e-6)
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == ["dets.json", "gt.json"]


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits(engine: Ask, tmp_path: Path, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gt, dets = write(tmp_path, *random_case(4, num_images=30))
    monkeypatch.setenv("COLUMNS", str(columns))
    answer = engine("evaluate", "--ground-truth", gt, "--detections", dets)
    assert max(map(len, answer.out.splitlines())) <= columns
    assert "keyboard" in answer.out


NOTHING: dict[str, tuple[Any, Any, str]] = {
    "no detections": (truth_json([(1, 1, BOX)]), [], "AP"),
    "nothing to find": (truth_json([]), results_json([(1, 1, BOX, 0.5)]), "nothing to find"),
    "no images": (truth_json([], num_images=0, names=()), [], "nothing to find"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_to_measure_is_a_result(engine: Ask, tmp_path: Path, name: str) -> None:
    truth, results, word = NOTHING[name]
    gt, dets = write(tmp_path / "files", truth, results)
    answer = engine("evaluate", "--ground-truth", gt, "--detections", dets, "--out", "out")
    assert (answer.code, answer.err) == (0, "")
    assert word in answer.out


def test_swapped_files_are_told(engine: Ask, tmp_path: Path) -> None:
    gt, dets = write(tmp_path, *random_case(4))
    assert "gt.json" not in refused(engine("evaluate", "--ground-truth", dets, "--detections", gt), "X302")
    refused(engine("evaluate", "--ground-truth", gt, "--detections", tmp_path / "none.json"), "X301")


@pytest.mark.parametrize(
    "arguments",
    [(), ("--ground-truth", "a.json"), ("tiny", "--ground-truth", "a.json", "--detections", "b.json")],
    ids=["nothing", "half", "both"],
)
def test_arguments_that_do_not_go_together(engine: Ask, arguments: tuple[str, ...]) -> None:
    answer = engine("evaluate", *arguments)
    assert answer.code == 2
    assert "Error: " in answer.err


def test_a_persons_file_is_never_overwritten(engine: Ask, tmp_path: Path) -> None:
    gt, dets = write(tmp_path, *random_case(4))
    (tmp_path / "out").mkdir()
    mine = tmp_path / "out" / "confusion.png"
    mine.write_text("mine")
    refused(engine("evaluate", "--ground-truth", gt, "--detections", dets, "--out", "out"), "X104")
    assert mine.read_text() == "mine"
    mine.unlink()
    for _ in range(2):  # a former evaluation is replaced
        assert engine("evaluate", "--ground-truth", gt, "--detections", dets, "--out", "out").code == 0

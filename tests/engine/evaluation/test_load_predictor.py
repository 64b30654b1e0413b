"""From whatever a person names to a model that is ready, or one clear message."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import EngineError, QueueError
from engine.evaluation.predict import load_predictor
from engine.modelfile import find_model
from engine.models.checkpoint import load_checkpoint, save_checkpoint
from engine.rundir import RunDir
from engine.training.ema import WeightAverage
from tests.builders import fill_run_dir, load_recipe, write_recipe


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = load_checkpoint(path)
    content.pop("format")
    change(content)
    save_checkpoint(path, content, keep_previous=False)


def code_of(source: RunDir | Path | str, runs_dir: Path = Path("runs")) -> str:
    with pytest.raises(EngineError) as raised:
        load_predictor(source, "cpu", runs_dir=runs_dir)
    [problem] = raised.value.problems
    return problem.code


@pytest.mark.parametrize(
    "name", [lambda run: run, lambda run: run.path, lambda run: str(run.path), lambda _: "4", lambda _: "desk",
             lambda run: run.best_checkpoint, lambda run: run.path / "checkpoints"],
    ids=["run", "folder", "folder as text", "number", "name", "best.pt", "folder of checkpoints"],
)
def test_every_way_to_name_a_model(run: RunDir, name: Callable[[RunDir], Any]) -> None:
    predictor = load_predictor(name(run), "cpu", runs_dir=run.path.parent)
    assert (predictor.epoch, predictor.class_names) == (2, ("mug", "laptop"))
    assert predictor.file.name == "0004-desk"
    assert not predictor.detector.training
    assert predictor.model.min_size == 48


def test_a_checkpoint_by_itself_has_the_same_network(run: RunDir, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "mugs.pt"
    moved.parent.mkdir()
    shutil.copy(run.best_checkpoint, moved)
    predictor, original = load_predictor(moved, "cpu"), load_predictor(run, "cpu")
    assert (predictor.file.name, predictor.file.run_dir) == ("mugs.pt", None)
    assert predictor.model == original.model
    images = [torch.rand(3, 48, 64)]
    assert torch.equal(predictor.detector.detect(images)[0]["scores"], original.detector.detect(images)[0]["scores"])


def test_a_checkpoint_by_itself_brings_its_thresholds(run: RunDir, tmp_path: Path) -> None:
    known = {"overall": 0.37, "per_class": {"mug": 0.3, "laptop": 0.4}}
    moved = Path(shutil.copy(run.best_checkpoint, tmp_path / "mugs.pt"))
    for told, expected in ((known, 0.37), (None, None), ({"overall": 0.3}, None), ({**known, "per_class": {}}, None)):
        rewrite(moved, lambda content, told=told: content.update(thresholds=told))  # type: ignore[misc]
        found = load_predictor(moved, "cpu").thresholds
        assert (found and found.overall) == expected


def test_a_recipe_beside_a_moved_checkpoint_tells_how_it_is_built(run: RunDir, tmp_path: Path) -> None:
    rewrite(run.best_checkpoint, lambda content: content.pop("model_settings"))
    moved = tmp_path / "elsewhere" / "best.pt"
    moved.parent.mkdir()
    shutil.copy(run.best_checkpoint, moved)
    assert code_of(moved) == "X107"
    shutil.copy(run.resolved, moved.parent)
    assert load_predictor(moved, "cpu").model.fpn_channels == 16


def test_last_detects_with_the_averaged_weights_where_there_are_some(run: RunDir) -> None:
    predictor = load_predictor(run, "cpu")
    average = WeightAverage(predictor.detector.network, 0.9).state_dict()
    average["weights"] = {name: tensor + 1 for name, tensor in average["weights"].items()}
    content = load_checkpoint(run.best_checkpoint)
    identity = {key: content[key] for key in ("arch", "class_names", "model_settings")}
    place = {"step": 9, "steps_per_epoch": 3}
    save_checkpoint(run.last_checkpoint, {"model": content["model"], "average": average, **place, **identity})
    last = load_predictor(run.last_checkpoint, "cpu")
    assert (last.file.name, last.epoch) == ("0004-desk/last.pt", 2)
    name, before = next(iter(predictor.detector.network.named_parameters()))
    assert torch.equal(last.detector.network.get_parameter(name), before + 1)


def test_a_run_without_a_model(run: RunDir) -> None:
    run.best_checkpoint.unlink()
    assert code_of(run) == "X101"
    assert code_of("desk", run.path.parent) == "X101"


def test_a_run_or_a_file_that_isnt_there(run: RunDir) -> None:
    with pytest.raises(QueueError, match="no run"):
        find_model("nothing", run.path.parent)
    assert code_of("gone.pt", run.path.parent) == "X105"


def test_a_damaged_checkpoint(run: RunDir, tmp_path: Path) -> None:
    run.best_checkpoint.write_bytes(run.best_checkpoint.read_bytes()[:5000])
    assert code_of(run) == "T102"
    alone = tmp_path / "noise.pt"
    alone.write_bytes(b"this was never a model")
    assert code_of(alone) == "T102"


def test_weights_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "published.pth"
    torch.save({"backbone.weight": torch.zeros(3)}, path)
    assert code_of(path) == "X106"


@pytest.mark.parametrize(
    "sections", [{"classes": {"names": ["laptop", "mug"]}}, {"model": {"arch": "fasterrcnn_resnet18_fpn"}}],
    ids=["classes", "arch"],
)
def test_a_checkpoint_of_another_recipe(
    run: RunDir, tmp_path: Path, dataset: Path, sections: dict[str, dict[str, Any]]
) -> None:
    fill_run_dir(run, load_recipe(write_recipe(tmp_path / "other", dataset, **sections)))
    assert code_of(run) == "X102"


def test_weights_that_dont_fit_their_own_description(run: RunDir, tmp_path: Path) -> None:
    rewrite(run.best_checkpoint, lambda content: content["model_settings"].update(fpn_channels=32))
    alone = tmp_path / "alone.pt"
    shutil.copy(run.best_checkpoint, alone)
    assert code_of(alone) == "X102"


def test_settings_of_another_version(run: RunDir, tmp_path: Path) -> None:
    rewrite(run.best_checkpoint, lambda content: content["model_settings"].update(invented=1))
    alone = tmp_path / "alone.pt"
    shutil.copy(run.best_checkpoint, alone)
    assert code_of(alone) == "X107"

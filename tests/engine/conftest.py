from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.rundir import RunDir
from tests.builders import fill_run_dir, load_recipe, write_recipe


@pytest.fixture(scope="session")
def saved_run(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> RunDir:
    """A run folder with a recipe and a best model that has learnt nothing; not to be changed."""
    import torch

    from engine.models import build_detector
    from engine.models.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("saved")
    recipe = load_recipe(write_recipe(folder, dataset))
    run_dir = fill_run_dir(RunDir(folder / "runs" / "0004-desk"), recipe)
    torch.manual_seed(0)
    detector = build_detector(recipe.model, recipe.classes.names)
    content = {
        "model": detector.network.state_dict(), "epoch": 2, "arch": recipe.model.arch,
        "class_names": list(recipe.classes.names), "model_settings": recipe.model.model_dump(mode="json"),
    }
    save_checkpoint(run_dir.best_checkpoint, content)
    return run_dir


@pytest.fixture
def run(saved_run: RunDir, tmp_path: Path) -> RunDir:
    """A copy of that run, to be changed."""
    shutil.copytree(saved_run.path.parent, tmp_path / "runs")
    return RunDir(tmp_path / "runs" / saved_run.run_id)

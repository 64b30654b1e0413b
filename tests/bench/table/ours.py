"""engine's own training and detection, as a run has them: its loader, supply, step, events; its way of predicting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.evaluation.predict import load_predictor
from engine.events import EventLog, EventTail, StepEvent
from engine.models.checkpoint import save_checkpoint
from engine.prediction.ahead import load_ahead
from engine.prediction.apply import Applier, Choices
from engine.prediction.inputs import Picture
from engine.recipe.schema import Recipe
from engine.rundir import RunDir
from engine.training.trainer import _Trainer
from tests.bench.table.cases import CLASS_NAMES, Case
from tests.builders import fill_run_dir


def recipe_of(case: Case, photos: Path, model: dict[str, Any], precision: str) -> Recipe:
    """The case as a recipe: the lesson's optimizer, photos as they are, everything else as it comes."""
    splits = {
        split: {part: str(photos / split / part) for part in ("images", "annotations")} for split in ("train", "val")
    }
    return Recipe.model_validate({
        "name": "bench",
        "dataset": {"format": "voc", **splits},
        "classes": {"names": list(CLASS_NAMES)},
        "model": model,
        "training": {"epochs": 1, "batch_size": case.batch_size},
        "augmentation": {"horizontal_flip": 0.0},
        "previews": {"num_images": 0},
        "hardware": {"device": "cpu", "precision": precision},
    })


def train(
    recipe: Recipe, state: dict[str, Tensor], run: Path, ready: Callable[[], object], after_step: Callable[[], bool]
) -> list[float]:
    """An epoch of the trainer; returns the loss of each step.

    Args:
        recipe: What to train.
        state: Weights to begin with.
        run: A folder for the run.
        ready: Called when all is set up.
        after_step: Called after each step; True ends it.
    """
    run_dir = fill_run_dir(RunDir(run), recipe)
    with EventLog(run_dir.events) as events:
        trainer = _Trainer(recipe, run_dir, events, None, heartbeat=lambda: None, micro_batch_size=None)
        trainer.detector.network.load_state_dict(state)
        ready()
        trainer.train_epoch(after_step)
        trainer.close()
    return [event.loss or 0.0 for event in EventTail(run_dir.events).read_all() if isinstance(event, StepEvent)]


def detect(recipe: Recipe, state: dict[str, Tensor], folder: Path, paths: Sequence[Path]) -> Iterator[int]:
    """What `engine predict` does short of writing; yields how many objects each photo has."""
    checkpoint = folder / "best.pt"
    save_checkpoint(checkpoint, {
        "model": state, "epoch": 0, "arch": recipe.model.arch, "class_names": list(CLASS_NAMES),
        "model_settings": recipe.model.model_dump(mode="json"),
    })
    applier = Applier(load_predictor(str(checkpoint), "cpu", recipe.hardware.precision))
    pictures = [Picture(path, path.name) for path in paths]
    for _, pixels in load_ahead(pictures, 2 * applier.batch_size):
        assert not isinstance(pixels, Exception), "the photos can be read"
        [found] = applier.apply([pixels], Choices(threshold=0.0))
        yield len(found.scores)

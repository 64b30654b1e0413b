"""A dataset that went through every format trains to the same losses and weights, to the bit."""

from __future__ import annotations

from pathlib import Path

import torch

from engine.annotations.convert import Format, convert
from engine.events import EpochEvent, EventLog
from engine.models.checkpoint import load_checkpoint
from engine.recipe.schema import Recipe
from engine.rundir import RunDir
from engine.training.trainer import train
from tests.builders import events_of, fill_run_dir, load_recipe, make_voc_dataset, steps_of, write_recipe

WAY: tuple[Format, ...] = ("coco", "yolo", "voc")


def trained(recipe: Recipe, path: Path) -> RunDir:
    run_dir = fill_run_dir(RunDir(path), recipe)
    with EventLog(run_dir.events) as events:
        train(recipe, run_dir, events, attempt=1, resume_from=None, stop_requested=lambda: False)
    return run_dir


def converted(recipe: Recipe, to: Format, out_dir: Path) -> Recipe:
    done = convert(recipe.dataset, recipe.classes, to=to, out_dir=out_dir)
    assert done.problems == ()
    return recipe.model_copy(update={"dataset": done.dataset})


def make_fractional(annotations: Path) -> None:
    """Give the boxes decimals that no binary number holds, and pixels counted from 1."""
    for path in annotations.glob("*.xml"):
        text = path.read_text()
        for side, decimals in (("xmin", ".7"), ("ymin", ".1"), ("xmax", ".3"), ("ymax", ".9")):
            text = text.replace(f"</{side}>", f"{decimals}</{side}>")
        path.write_text(text)


def test_a_dataset_converted_round_trip_trains_to_the_same_losses(tmp_path: Path) -> None:
    data = make_voc_dataset(tmp_path / "data", num_train=4, num_val=2)
    make_fractional(data / "train/annotations")
    path = write_recipe(tmp_path, data, augmentation={"horizontal_flip": 0.5}, training={"epochs": 2})
    recipe = load_recipe(path)
    policies = {"first_pixel": 1, "outside_boxes": "clip"}
    recipe = recipe.model_copy(update={"dataset": recipe.dataset.model_copy(update=policies)})
    original = trained(recipe, tmp_path / "original")
    losses = [(event.loss, event.losses) for event in steps_of(original)]
    assert len(losses) == 4
    weights = load_checkpoint(original.last_checkpoint)["model"]
    for form in WAY:
        recipe = converted(recipe, form, tmp_path / form)
        assert recipe.dataset.format == form
        run_dir = trained(recipe, tmp_path / f"run-{form}")
        assert [(event.loss, event.losses) for event in steps_of(run_dir)] == losses
        measured = [
            [(event.val_loss, event.ap) for event in events_of(run) if isinstance(event, EpochEvent)]
            for run in (original, run_dir)
        ]
        assert measured[0] == measured[1]
        again = load_checkpoint(run_dir.last_checkpoint)["model"]
        assert [name for name in weights if not torch.equal(weights[name], again[name])] == []

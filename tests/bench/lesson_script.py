"""The lesson's own training script on a recipe's dataset and model: `python -m tests.bench.lesson_script RECIPE`.

Constant SGD (lr 0.005, momentum 0.9, weight decay 0.0005, StepLR 15/0.1), batches of 4, no warm-up, no
augmentation, no validation, the last weights kept: what engine is measured against. Only reading and cleaning
the dataset, and the network, are engine's. It trains for so many minutes of all its cores' time (processor time
over the number of threads, so that company on the machine takes nothing from it), then measures the test split.
`--run RUN_DIR` measures a run's best model on the same split instead.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from engine.annotations import read_split
from engine.data.batch import Batch
from engine.data.dataset import DetectionDataset, Draw
from engine.data.loading import make_loader
from engine.data.order import FixedOrder
from engine.evaluation.coco import CocoFigures
from engine.evaluation.validate import validate
from engine.models import build_detector
from engine.models.checkpoint import load_checkpoint
from engine.models.detector import Detector
from engine.recipe.load import load_recipes, read_resolved
from engine.recipe.schema import Recipe
from engine.rundir import RunDir

_CPU = torch.device("cpu")


def cores_s() -> float:
    """Seconds that all cores together have worked for this process."""
    return time.process_time() / torch.get_num_threads()


def train_as_in_the_lesson(recipe: Recipe, minutes: float, curve: Path | None = None) -> Detector:
    """The lesson's loop, stopped after so many minutes.

    Args:
        recipe: Dataset and model.
        minutes: Of training; measuring isn't counted.
        curve: Gets a line of JSON an epoch: its number, minutes trained, seconds on the clock, AP and AP50 of the
            test split.
    """
    torch.manual_seed(0)
    data = DetectionDataset(read_split(recipe.dataset, recipe.classes, "train").records)
    draws = [Draw(0, place) for place in range(len(data))]
    loader = DataLoader(
        [data[draw] for draw in draws],  # type: ignore[arg-type]  # a list is a dataset
        batch_size=4, shuffle=True, collate_fn=Batch,
    )
    detector = build_detector(recipe.model, recipe.classes.names)
    optimizer = torch.optim.SGD(
        [p for p in detector.parameters() if p.requires_grad], lr=0.005, momentum=0.9, weight_decay=0.0005
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=15, gamma=0.1)
    trained_s, epoch = 0.0, 0
    while trained_s < minutes * 60:
        detector.train()
        begun, wall, total, num_steps = cores_s(), time.monotonic(), 0.0, 0
        for batch in loader:
            on_device = batch.to(_CPU)
            loss = torch.stack(list(detector.losses(on_device.images, on_device.targets).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, num_steps = total + loss.item(), num_steps + 1
            if trained_s + cores_s() - begun >= minutes * 60:
                break
        scheduler.step()
        trained_s += cores_s() - begun
        epoch += 1
        print(
            f"epoch {epoch} ({num_steps} steps): loss {total / num_steps:.4f}, trained {trained_s / 60:.1f} min, "
            f"this epoch {time.monotonic() - wall:.0f} s on the clock", flush=True,
        )
        if curve:
            clock_s, figures = time.monotonic() - wall, measure(detector, recipe)
            with curve.open("a") as file:
                file.write(json.dumps({
                    "epoch": epoch, "minutes": round(trained_s / 60, 3), "clock_s": round(clock_s, 1),
                    "ap": figures.ap, "ap50": figures.ap50,
                }) + "\n")
    return detector


def measure(detector: Detector, recipe: Recipe) -> CocoFigures:
    """Print and return the figures of the test split."""
    data = DetectionDataset(read_split(recipe.dataset, recipe.classes, "test").records)
    loader = make_loader(data, FixedOrder.of(data.records, 4), num_workers=0, device=_CPU)
    figures = validate(detector, data, loader, _CPU).figures
    per_class = ", ".join(f"{name} {value or 0:.3f}" for name, value in figures.ap_per_class.items())
    print(f"test split, {len(data)} images: AP50 {figures.ap50:.4f}, AP {figures.ap:.4f} ({per_class})", flush=True)
    return figures


def main() -> None:
    """Train as the lesson does, or measure a run."""
    parser = argparse.ArgumentParser(prog="tests.bench.lesson_script")
    parser.add_argument("recipe", type=Path, nargs="?")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--curve", type=Path, help="a file for the test split's figures after each epoch")
    arguments = parser.parse_args()
    if arguments.run:
        run_dir = RunDir(arguments.run)
        recipe = read_resolved(run_dir.resolved)
        state = load_checkpoint(run_dir.best_checkpoint)["model"]
        measure(build_detector(recipe.model, recipe.classes.names, state), recipe)
        return
    recipe = load_recipes(arguments.recipe)[0].recipe
    measure(train_as_in_the_lesson(recipe, arguments.minutes, arguments.curve), recipe)


if __name__ == "__main__":
    main()

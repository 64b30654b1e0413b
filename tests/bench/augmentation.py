"""What each change to training images costs: `python -m tests.bench.augmentation [RECIPE]`.

Loads the same images through the training's dataset, in one process and one thread, with each change
alone and all of them together. Rounds are interleaved; the ratios of the medians are what counts.
Without a recipe, photos of the sample dataset are drawn.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from engine.annotations import ImageRecord, read_split
from engine.data.dataset import DetectionDataset, Draw, Sample
from engine.recipe.load import load_recipes
from engine.recipe.schema import Augmentation
from engine.sample import SampleCounts, write_sample
from tests.builders import write_recipe

STILL = Augmentation(horizontal_flip=0.0)
CHANGES: dict[str, Augmentation | None] = {
    "none": None,
    "horizontal_flip 0.5": Augmentation(),
    **{
        name: STILL.model_copy(update={name: 1.0})
        for name in ("horizontal_flip", "vertical_flip", "photometric", "zoom_out", "iou_crop", "mosaic")
    },
    "scale_jitter [0.5, 1.5]": STILL.model_copy(update={"scale_jitter": (0.5, 1.5)}),
    "all of them, 0.5 each": Augmentation(
        vertical_flip=0.5, photometric=0.5, zoom_out=0.5, iou_crop=0.5, mosaic=0.5, scale_jitter=(0.5, 1.5)
    ),
}


def images_per_s(records: Sequence[ImageRecord], augmentation: Augmentation | None, epoch: int) -> float:
    """How many images a second one pass over the records brings."""
    data = DetectionDataset(records, augmentation)
    begun = time.perf_counter()
    for place in range(len(data)):
        assert isinstance(data[Draw(epoch, place)], Sample)
    return len(data) / (time.perf_counter() - begun)


def measure(records: Sequence[ImageRecord], num_rounds: int) -> dict[str, list[float]]:
    """Images a second of every round, the rounds interleaved; one more round warms up."""
    speeds: dict[str, list[float]] = {name: [] for name in CHANGES}
    for number in range(num_rounds + 1):
        for name, augmentation in CHANGES.items():
            speed = images_per_s(records, augmentation, number)
            if number:
                speeds[name].append(speed)
    return speeds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.recipe
        if path is None:
            write_sample(Path(folder, "data"), seed=0, counts=SampleCounts(arguments.images, 1, 0))
            path = write_recipe(Path(folder), Path(folder, "data"), classes={"names": ["mug", "laptop", "keyboard"]})
        recipe = load_recipes(path)[0].recipe
        records = read_split(recipe.dataset, recipe.classes, "train").records[: arguments.images]
        speeds = measure(records, arguments.rounds)
    table = Table("change", "images/s", "min-max", "ms an image", "ratio to none")
    none = statistics.median(speeds["none"])
    for name, own in speeds.items():
        middle = statistics.median(own)
        span = f"{min(own):.0f}-{max(own):.0f}"
        table.add_row(name, f"{middle:.0f}", span, f"{1000 / middle:.1f}", f"{middle / none:.2f}")
    Console().print(f"{len(records)} images of {records[0].width} x {records[0].height} px, {arguments.rounds} rounds")
    Console().print(table)


if __name__ == "__main__":
    main()

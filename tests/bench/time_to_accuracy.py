"""How soon engine reaches what the lesson's script reaches: `python -m tests.bench.time_to_accuracy train DATA ...`.

`train` trains on BCCD (DATA holds train, val and test, photos in Pascal VOC) with a MobileNetV2 that has ImageNet
weights: with the settings of recipes/custom-mobilenet-quick.toml or another recipe, or with `--like-lesson` those of
the lesson and torchvision's widths, so that one sees how much is speed and how much is recipe. After each epoch the
model that the run would keep then, chosen on the validation photos, is measured on the test photos; nothing is chosen
by those. Minutes are processor time over threads, as in `tests.bench.lesson_script`. All that training does beside
training counts (reading the dataset, validation, checkpoints); measuring the test photos doesn't. `--slice` ends the
command after so many minutes of the clock; given again, it goes on from the run's checkpoint.

`plot` draws such curves and the lesson's, and tells the ratio:
`... plot OUT.png --lesson LESSON.jsonl "engine, its recipe"=A.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.recipe.load import load_recipes
from engine.recipe.schema import Hardware, Recipe
from engine.rundir import RunDir
from tests.bench.table.environment import found_allocator, worker_environment
from tests.builders import REPOSITORY, fill_run_dir

Curve = list[dict[str, Any]]
_CHILD = "ENGINE_BENCH_CHILD"
CLASSES = ["RBC", "WBC", "Platelets"]


def recipe_of(data: Path, weights: Path, overrides: Sequence[str], path: Path | None) -> Recipe:
    """A recipe, or without one the lesson's settings, for this dataset."""
    if path is not None:
        splits = [f'dataset.{split}.{part}="{data / split / part}"'
                  for split in ("train", "val") for part in ("images", "annotations")]
        mine = [*splits, 'dataset.empty_boxes="drop"', f"classes.names={json.dumps(CLASSES)}",
                f'model.weights="{weights}"', "hardware.num_workers=0", "previews.num_images=0", *overrides]
        [loaded] = load_recipes(path, overrides=mine)
        return loaded.recipe
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "like-lesson.toml"
        path.write_text(f"""
name = "like-lesson"
[dataset]
empty_boxes = "drop"
train = {{ images = "{data / "train/images"}", annotations = "{data / "train/annotations"}" }}
val   = {{ images = "{data / "val/images"}", annotations = "{data / "val/annotations"}" }}
[classes]
names = {json.dumps(CLASSES)}
[model]
arch    = "fasterrcnn_mobilenet_v2_fpn"
weights = "{weights}"
[training]
epochs     = 10
batch_size = 4
[optimizer]
lr           = 0.005
weight_decay = 0.0005
[schedule]
kind      = "step"
step_size = 15
gamma     = 0.1
[augmentation]
horizontal_flip = 0.0
[previews]
num_images = 0
[hardware]
num_workers = 0
""")
        [loaded] = load_recipes(path, overrides=list(overrides))
        return loaded.recipe


def train(recipe: Recipe, test: Recipe, run: Path, minutes: float, slice_minutes: float) -> None:
    """Train in this process; a line an epoch in `curve.jsonl`, with the test figures of the model kept by then.

    Args:
        recipe: What to train.
        test: The same with the test photos.
        run: The run's folder; what lies there is gone on with.
        minutes: Of training, after which it stops.
        slice_minutes: Of the clock, after which it stops for now.
    """
    import torch

    from engine.events import EventLog, rewind
    from engine.models import build_detector
    from engine.models.checkpoint import load_checkpoint, load_newest
    from engine.models.speed import prepared
    from engine.training.trainer import train as train_run
    from tests.bench.lesson_script import cores_s, measure

    curve_path, spent_path = run / "curve.jsonl", run / "spent.json"
    spent: dict[str, float] = json.loads(spent_path.read_text()) if spent_path.exists() else {"minutes": 0, "epochs": 0}
    begun, clock_begun = cores_s(), time.monotonic()
    measured_s = 0.0
    stamp = 0

    def trained_s() -> float:
        return 60 * spent["minutes"] + cores_s() - begun - measured_s

    run_dir = RunDir(run)
    if not run_dir.resolved.exists():
        fill_run_dir(run_dir, recipe)
    resume_from, _ = load_newest(run_dir.last_checkpoint)
    rewind(run_dir.events, resume_from["events_bytes"] if resume_from else 0)

    def look() -> None:
        """After an epoch, measure what the run would keep; its time is taken off."""
        nonlocal measured_s, stamp
        last = run_dir.last_checkpoint
        if not last.exists() or last.stat().st_mtime_ns == stamp:
            return
        trained, stamp = trained_s(), last.stat().st_mtime_ns
        num_epochs = load_checkpoint(last)["num_measured"]
        if num_epochs > spent["epochs"]:
            spent["epochs"] = num_epochs
            with torch.random.fork_rng():
                state = load_checkpoint(run_dir.best_checkpoint)["model"]
                detector = build_detector(test.model, test.classes.names, state)
                figures = measure(prepared(detector, Hardware(precision="fp32"), torch.device("cpu")), test)
            line = {"epoch": num_epochs, "minutes": round(trained / 60, 3), "ap": figures.ap, "ap50": figures.ap50}
            print(line, flush=True)
            with curve_path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        measured_s += trained_s() - trained

    def stop() -> bool:
        return trained_s() >= 60 * minutes or time.monotonic() - clock_begun >= 60 * slice_minutes

    with EventLog(run_dir.events) as events:
        train_run(recipe, run_dir, events, resume_from=resume_from, heartbeat=look, stop_requested=stop)
    spent_path.write_text(json.dumps({"minutes": trained_s() / 60, "epochs": spent["epochs"]}))


def minutes_to(curve: Curve, figure: str, value: float) -> float | None:
    """Minutes after which a curve has reached a figure; as measured, nothing between two epochs."""
    return next((float(point["minutes"]) for point in curve if (point[figure] or 0.0) >= value), None)


def plot(lesson: Curve, others: dict[str, Curve], out: Path, cores: str) -> None:
    """Draw AP and AP50, the lesson's best as the line to reach, and when each curve reaches it."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, both = plt.subplots(1, 2, figsize=(11, 4.6), dpi=130)
    # Distinct in lightness and marker too, not in hue alone.
    styles = [("#555555", "x"), ("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D")]
    for axes, key, name in zip(both, ("ap50", "ap"), ("AP50", "AP (IoU 0.50 to 0.95)"), strict=True):
        target = max(point[key] for point in lesson)
        theirs = minutes_to(lesson, key, target) or 0.0
        axes.axhline(target, color="0.6", linestyle="--", linewidth=1)
        axes.annotate(
            f"the lesson's best, {target:.3f}, after {theirs:.0f} min", (1, target), xytext=(0, 4),
            xycoords=("axes fraction", "data"), textcoords="offset points", ha="right", color="0.35", fontsize=8,
        )
        for (who, curve), (colour, marker) in zip({"the lesson's script": lesson, **others}.items(), styles,
                                                  strict=False):
            own = minutes_to(curve, key, target)
            told = f": {curve[-1][key]:.3f} at its end"
            if own:
                told = f": there after {own:.1f} min, {theirs / own:.1f} times as soon"
            print(f"{name}, {who}{told}")
            label = who + told.replace(": ", ":\n", 1) if who in others else who
            axes.plot([point["minutes"] for point in curve], [point[key] for point in curve], color=colour,
                      marker=marker, markersize=4, linewidth=1.6, label=label)
        axes.set_xlabel(f"minutes of training {cores}")
        axes.set_ylabel(f"{name} on the test photos")
        axes.set_xlim(left=0)
        axes.margins(y=0.12)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.14), fontsize=8, frameon=False)
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def read_curve(path: Path) -> Curve:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _train_command(arguments: argparse.Namespace) -> None:
    if not os.environ.get(_CHILD):  # a worker's environment has to be there when the process begins
        environment = {**os.environ, **worker_environment(), **found_allocator()[1], _CHILD: "1"}
        raise SystemExit(subprocess.run(
            [sys.executable, "-m", "tests.bench.time_to_accuracy", *sys.argv[1:]], env=environment, check=False
        ).returncode)
    data, weights = arguments.data.resolve(), arguments.weights.resolve()
    recipe = recipe_of(data, weights, arguments.set, None if arguments.like_lesson else arguments.recipe)
    folders = {"images": data / "test/images", "annotations": data / "test/annotations"}
    test = recipe.model_copy(update={"dataset": recipe.dataset.model_copy(
        update={"test": type(recipe.dataset.train).model_validate(folders)}
    )})
    train(recipe, test, arguments.run.resolve(), arguments.minutes, arguments.slice)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.time_to_accuracy", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("data", type=Path, help="a folder with train, val and test")
    training.add_argument("--weights", type=Path, required=True)
    training.add_argument("--run", type=Path, required=True, help="a folder; its curve.jsonl gets a line an epoch")
    training.add_argument("--minutes", type=float, default=12, help="of training")
    training.add_argument("--slice", type=float, default=1e6, help="minutes of the clock after which it stops for now")
    training.add_argument("--recipe", type=Path, default=REPOSITORY / "recipes" / "custom-mobilenet-quick.toml")
    training.add_argument("--like-lesson", action="store_true")
    training.add_argument("--set", action="append", default=[], help="KEY=VALUE of the recipe")
    plotting = commands.add_parser("plot")
    plotting.add_argument("out", type=Path)
    plotting.add_argument("--lesson", type=Path, required=True)
    plotting.add_argument("curves", nargs="+", help="NAME=FILE")
    plotting.add_argument("--cores", default="on one core", help="what the minutes are of, in words")
    arguments = parser.parse_args()
    if arguments.command == "train":
        _train_command(arguments)
        return
    named = dict(one.rsplit("=", 1) for one in arguments.curves)
    others = {name: read_curve(Path(path)) for name, path in named.items()}
    plot(read_curve(arguments.lesson), others, arguments.out, arguments.cores)


if __name__ == "__main__":
    main()

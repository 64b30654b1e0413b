"""Whether bf16 costs accuracy: `python -m tests.bench.precision_study DATA --weights FILE --into FOLDER`.

DATA holds `bccd` and `raccoon`, photos in Pascal VOC; FILE is a MobileNetV2 with ImageNet weights. The same recipe is
trained on both in fp32 and in bf16 with each seed, by the worker that the queue uses. Measured are the last epoch's
weights on all photos that weren't trained on (the splits val and test together), detecting in the format that was
trained in, as a run does, and in fp32, which tells what training alone costs. No run's best epoch is picked, for that
would be picking by what is measured.

A finished run is a line of FOLDER/results.jsonl and isn't trained again; one that was cut off goes on from its
checkpoint. The command may be started twice side by side: each takes the runs that the other has not.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from engine.annotations import ImageRecord, read_split
from engine.data.dataset import DetectionDataset
from engine.data.loading import make_loader
from engine.data.order import FixedOrder
from engine.evaluation.validate import validate
from engine.models import build_detector
from engine.models.checkpoint import load_checkpoint
from engine.models.speed import prepared
from engine.recipe.schema import Hardware, Recipe
from engine.rundir import EXIT_FINISHED, EXIT_LOCKED, RunDir
from tests.builders import fill_run_dir

PRECISIONS = ("fp32", "bf16")
CLASSES = {"bccd": ["RBC", "WBC", "Platelets"], "raccoon": ["raccoon"]}
# Enough for an AP50 well off zero and a learning rate that has come down; small enough for an evening.
SETTINGS: dict[str, dict[str, Any]] = {
    "bccd": {"min_size": 288, "max_size": 384, "epochs": 5},
    "raccoon": {"min_size": 240, "max_size": 320, "epochs": 5},
}
# Two-sided 95 % of Student's t by degrees of freedom.
_T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)
FIGURES = {
    "ap": "AP", "ap50": "AP50", "fp32_ap": "AP, both detecting in fp32", "fp32_ap50": "AP50, both detecting in fp32",
}
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of the study."""

    dataset: str
    seed: int
    precision: str

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.precision}-{self.seed}"


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to.

    Attributes:
        ap: On val and test together, detecting in the run's own format.
        ap50: The same at IoU 0.50.
        fp32_ap: Of the same weights, detecting in fp32.
        fp32_ap50: The same at IoU 0.50.
        core_minutes: Processor time of the training.
        settings: Input size and epochs, so that results of other settings aren't mixed in.
    """

    dataset: str
    seed: int
    precision: str
    ap: float
    ap50: float
    fp32_ap: float
    fp32_ap50: float
    core_minutes: float
    settings: dict[str, Any]


def recipe_of(trial: Trial, data: Path, weights: Path, settings: dict[str, Any]) -> Recipe:
    folder = data / trial.dataset
    splits = [split for split in ("train", "val", "test") if (folder / split).is_dir()]
    return Recipe.model_validate({
        "name": trial.name,
        "dataset": {
            "format": "voc", "empty_boxes": "drop",
            **{split: {"images": str(folder / split / "images"), "annotations": str(folder / split / "annotations")}
               for split in splits},
        },
        "classes": {"names": CLASSES[trial.dataset]},
        "model": {
            "arch": "fasterrcnn_mobilenet_v2_fpn", "weights": str(weights), "fpn_channels": 128, "box_head_width": 512,
            "box_samples": 128, "min_size": settings["min_size"], "max_size": settings["max_size"],
        },
        "training": {"epochs": settings["epochs"], "batch_size": 4, "clip_grad_norm": 10.0, "seed": trial.seed},
        "optimizer": {"lr": 0.01},
        "schedule": {"kind": "cosine", "warmup_epochs": 1.0},
        "previews": {"num_images": 0},
        "hardware": {"device": "cpu", "num_workers": 0, "precision": trial.precision},
    })


def train(run_dir: RunDir, recipe: Recipe, threads: int) -> Literal["finished", "taken"]:
    """Train by a worker process of its own, from the last checkpoint where there is one."""
    if not run_dir.resolved.exists():
        fill_run_dir(run_dir, recipe)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with run_dir.worker_log.open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "engine.worker", str(run_dir.path)], stdin=subprocess.PIPE, stdout=log,
            stderr=log, env=environment,
        )
        code = worker.wait()
    if code == EXIT_LOCKED:
        return "taken"
    if code != EXIT_FINISHED:
        raise SystemExit(f"{recipe.name} failed; {run_dir.worker_log} tells why")
    return "finished"


def measure(run_dir: RunDir, recipe: Recipe, hardware: Hardware) -> tuple[float, float]:
    """AP and AP50 of the last weights on all photos that weren't trained on, detecting with this hardware."""
    records: list[ImageRecord] = list(read_split(recipe.dataset, recipe.classes, "val").records)
    if recipe.dataset.test is not None:
        records += read_split(recipe.dataset, recipe.classes, "test").records
    state = load_checkpoint(run_dir.last_checkpoint)["model"]
    detector = prepared(build_detector(recipe.model, recipe.classes.names, state), hardware, _CPU)
    data = DetectionDataset(records)
    loader = make_loader(data, FixedOrder.of(data.records, 4), num_workers=0, device=_CPU)
    figures = validate(detector, data, loader, _CPU).figures
    return figures.ap or 0.0, figures.ap50 or 0.0


def results_in(path: Path) -> list[Result]:
    if not path.exists():
        return []
    return [Result(**json.loads(line)) for line in path.read_text().splitlines()]


def write(path: Path, result: Result) -> None:
    with path.open("a") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        file.write(json.dumps(asdict(result)) + "\n")


def trials(datasets: Sequence[str], seeds: int) -> Iterator[Trial]:
    """Whole pairs first, so that what there is of an unfinished study can be read."""
    for seed in range(seeds):
        for dataset in datasets:
            for precision in PRECISIONS:
                yield Trial(dataset, seed, precision)


def interval(differences: Sequence[float]) -> str:
    """Mean and its 95 % interval, of differences paired by seed."""
    mean = statistics.mean(differences)
    if len(differences) < 2:
        return f"{mean:+.3f}"
    degrees = min(len(differences) - 1, len(_T95))
    half = _T95[degrees - 1] * statistics.stdev(differences) / len(differences) ** 0.5
    return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})"


def spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def show(results: Sequence[Result], console: Console) -> None:
    """The table: a row for each dataset and figure, and one over all pairs."""
    by_trial = {(one.dataset, one.seed, one.precision): one for one in results}
    table = Table(
        "dataset", "figure", "seeds", *PRECISIONS, "bf16 - fp32 (95 % interval)", "core minutes a run", box=MARKDOWN
    )
    pooled: dict[str, list[float]] = {figure: [] for figure in FIGURES}
    for dataset in CLASSES:
        seeds = [seed for seed in sorted({one.seed for one in results})
                 if all((dataset, seed, precision) in by_trial for precision in PRECISIONS)]
        if not seeds:
            continue
        for figure in pooled:
            values = {
                precision: [float(getattr(by_trial[dataset, seed, precision], figure)) for seed in seeds]
                for precision in PRECISIONS
            }
            differences = [short - full for full, short in zip(values["fp32"], values["bf16"], strict=True)]
            pooled[figure] += differences
            minutes = " / ".join(
                f"{statistics.mean(by_trial[dataset, seed, precision].core_minutes for seed in seeds):.1f}"
                for precision in PRECISIONS
            )
            table.add_row(
                dataset, FIGURES[figure], str(len(seeds)), *(spread(values[precision]) for precision in PRECISIONS),
                interval(differences), minutes if figure == "ap" else "",
            )
    for figure, differences in pooled.items():
        if differences:
            table.add_row("all pairs", FIGURES[figure], str(len(differences)), "", "", interval(differences), "")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.precision_study", description=__doc__)
    parser.add_argument("data", type=Path, help="the folder that holds bccd and raccoon")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True, help="a folder for runs and results; kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=sorted(CLASSES), help="this dataset alone")
    parser.add_argument("--precision", choices=PRECISIONS, help="train with this one alone")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="instead of the study's own")
    parser.add_argument("--min-size", type=int, help="instead of the study's own; the longer side follows")
    parser.add_argument("--table", action="store_true", help="train nothing, print what there is")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results_path = arguments.into / "results.jsonl"
    arguments.into.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 160)
    for trial in trials([arguments.only] if arguments.only else list(CLASSES), arguments.seeds):
        settings = dict(SETTINGS[trial.dataset])
        if arguments.epochs:
            settings["epochs"] = arguments.epochs
        if arguments.min_size:
            settings |= {"min_size": arguments.min_size, "max_size": arguments.min_size * 4 // 3}
        wanted = arguments.precision in {None, trial.precision} and not arguments.table
        done = {(one.dataset, one.seed, one.precision) for one in results_in(results_path) if one.settings == settings}
        if not wanted or (trial.dataset, trial.seed, trial.precision) in done:
            continue
        name = f"{trial.name}-{settings['min_size']}px-{settings['epochs']}ep"
        run_dir = RunDir((arguments.into / name).resolve())
        recipe = recipe_of(trial, arguments.data.resolve(), arguments.weights.resolve(), settings)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        if train(run_dir, recipe, arguments.threads) == "taken":
            continue
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        minutes = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60
        own = measure(run_dir, recipe, recipe.hardware)
        full = own if trial.precision == "fp32" else measure(run_dir, recipe, Hardware())
        result = Result(trial.dataset, trial.seed, trial.precision, *own, *full, round(minutes, 2), settings)
        write(results_path, result)
        console.print(f"{name}: AP {own[0]:.3f}, AP50 {own[1]:.3f}, {minutes:.1f} core minutes", highlight=False)
    show([one for one in results_in(results_path) if arguments.epochs or arguments.min_size
          or one.settings == SETTINGS[one.dataset]], console)


if __name__ == "__main__":
    main()

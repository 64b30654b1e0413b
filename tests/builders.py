"""Datasets, recipes, runs and events, made under a test's folder. No torch: the ground floor's tests use this too."""

from __future__ import annotations

import colorsys
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from engine.annotations import ImageRecord
from engine.events import EpochEvent, Event, EventLog, EventTail, RunStarted, StepEvent
from engine.recipe.load import load_recipes, recipe_hash, resolved_json
from engine.recipe.schema import Recipe
from engine.rundir import RunDir
from engine.runqueue import NewRun, QueueRow, RunQueue

REPOSITORY = Path(__file__).parents[1]
CLASS_NAMES = ("mug", "laptop")
SIZE = (64, 48)

Box = tuple[int, int, int, int]


# --- datasets ---


def write_photo(path: Path, objects: Sequence[tuple[str, Box]], *, size: tuple[int, int] = SIZE, seed: int = 0) -> Path:
    """A noisy grey photo with a filled rectangle for each object; the class decides the hue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(90, 130, (size[1], size[0], 3), dtype=np.uint8)
    photo = Image.fromarray(noise)
    draw = ImageDraw.Draw(photo)
    for name, (x0, y0, x1, y1) in objects:
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=colour_of(name))
    photo.save(path, quality=95)
    return path


def colour_of(name: str) -> tuple[int, int, int]:
    hue = CLASS_NAMES.index(name) / len(CLASS_NAMES) if name in CLASS_NAMES else 0.8
    red, green, blue = colorsys.hsv_to_rgb(hue, 1, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def write_voc(path: Path, objects: Sequence[tuple[str, Box]], *, size: tuple[int, int] = SIZE) -> Path:
    """A Pascal VOC file as LabelImg writes it, each tag on a line of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["<annotation>", f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"]
    for name, (x0, y0, x1, y1) in objects:
        lines += [
            "<object>", f"<name>{name}</name>",
            f"<bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>", "</object>",
        ]
    path.write_text("\n".join([*lines, "</annotation>", ""]), encoding="utf-8")
    return path


def random_objects(random: np.random.Generator, size: tuple[int, int] = SIZE) -> list[tuple[str, Box]]:
    """One or two rectangles that don't overlap: one in the left half, maybe one in the right."""
    objects = []
    for half in range(int(random.integers(1, 3))):
        width, height = int(random.integers(14, 26)), int(random.integers(14, 30))
        x0 = half * size[0] // 2 + int(random.integers(0, size[0] // 2 - width))
        y0 = int(random.integers(0, size[1] - height))
        objects.append((CLASS_NAMES[int(random.integers(len(CLASS_NAMES)))], (x0, y0, x0 + width, y0 + height)))
    return objects


def make_voc_dataset(folder: Path, num_train: int = 6, num_val: int = 3, *, seed: int = 0) -> Path:
    """A dataset of tiny photos in `folder`/train and `folder`/val; returns the folder."""
    random = np.random.default_rng(seed)
    for split, count in (("train", num_train), ("val", num_val)):
        for index in range(count):
            objects = random_objects(random)
            name = f"{split}{index:02d}"
            write_photo(folder / split / "images" / f"{name}.jpg", objects, seed=seed + 100 * index + len(split))
            write_voc(folder / split / "annotations" / f"{name}.xml", objects)
    return folder


def record(
    boxes: Sequence[Sequence[float]], labels: Sequence[int], *, crowd: Sequence[int] = (),
    difficult: Sequence[int] = (), path: Path = Path("any.jpg"), size: tuple[int, int] = SIZE,
) -> ImageRecord:
    """An image record; `crowd` and `difficult` are the indices of objects marked so."""

    def flags(marked: Sequence[int]) -> NDArray[np.bool_]:
        return np.isin(np.arange(len(labels)), list(marked))

    return ImageRecord(
        image_path=path, annotation_path=None, width=size[0], height=size[1],
        boxes_xyxy=np.array(boxes, dtype=np.float32).reshape(-1, 4), labels=np.array(labels, dtype=np.int64),
        difficult=flags(difficult), crowd=flags(crowd),
    )


# --- recipes ---

_SECTIONS: dict[str, dict[str, Any]] = {
    "dataset": {},
    "classes": {"names": list(CLASS_NAMES)},
    "model": {
        # Two pyramid levels at stride 32: the quickest step and the smallest checkpoint of all Faster R-CNNs here.
        "arch": "fasterrcnn_mobilenet_v3_large_fpn", "weights": "none", "min_size": 48, "max_size": 64,
        "fpn_channels": 16, "box_head_width": 16, "box_samples": 32,
    },
    "training": {"epochs": 1, "batch_size": 2},
    "optimizer": {"lr": 0.01},
    "previews": {"num_images": 1},
    "hardware": {"device": "cpu", "num_workers": 0},
}


def recipe_text(dataset: Path, name: str = "tiny", **sections: Mapping[str, Any]) -> str:
    """A recipe that trains in seconds; `sections` change or add keys, as in training={"epochs": 2}."""
    lines = [f'name = "{name}"']
    content = {section: dict(values) for section, values in _SECTIONS.items()}
    for split in ("train", "val"):
        paths = {part: str(dataset / split / part) for part in ("images", "annotations")}
        content["dataset"][split] = paths
    for section, values in sections.items():
        content.setdefault(section, {}).update(values)
    for section, values in content.items():
        lines += ["", f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
    return "\n".join([*lines, ""])


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return str(value)


def write_recipe(folder: Path, dataset: Path, name: str = "tiny", **sections: Mapping[str, Any]) -> Path:
    """Write `recipe_text` to `folder`/`name`.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(recipe_text(dataset, name, **sections), encoding="utf-8")
    return path


def load_recipe(path: Path) -> Recipe:
    [loaded] = load_recipes(path)
    return loaded.recipe


# --- runs ---


def new_run(name: str, digest: str | None = None, create: Callable[[RunDir], object] = lambda _: None) -> NewRun:
    """A run for the queue that needs no recipe."""
    return NewRun(name, f"{name}.toml", digest if digest is not None else f"hash of {name}", create)


def fill_run_dir(run_dir: RunDir, recipe: Recipe) -> RunDir:
    run_dir.path.mkdir(parents=True, exist_ok=True)
    run_dir.recipe.write_text("")
    run_dir.resolved.write_bytes(resolved_json(recipe))
    return run_dir


def train_run(run_dir: RunDir, recipe: Recipe) -> RunDir:
    """Really train a recipe, in this process."""
    from engine.training.trainer import train

    with EventLog(fill_run_dir(run_dir, recipe).events) as events:
        train(recipe, run_dir, events)
    return run_dir


def enqueue_recipe(queue: RunQueue, recipe: Recipe) -> QueueRow:
    run = NewRun(recipe.name, "a.toml", recipe_hash(recipe), lambda run_dir: fill_run_dir(run_dir, recipe))
    [(row, _)] = queue.enqueue([run])
    return row


def started(**values: Any) -> RunStarted:
    """A start event of a run of 2 epochs of 5 steps."""
    usual: dict[str, Any] = {
        "attempt": 1, "device": "cpu", "num_train_images": 20, "num_val_images": 4, "num_epochs": 2, "num_steps": 10,
        "class_names": CLASS_NAMES,
    }
    return RunStarted(**(usual | values))


def stepped(step: int, **values: Any) -> StepEvent:
    usual: dict[str, Any] = {
        "step": step, "epoch": step // 5, "elapsed_s": float(step + 1), "loss": 1.0, "losses": {"loss_classifier": 1.0},
        "lr": 0.01, "step_s": 2.0,
    }
    return StepEvent(**(usual | values))


def measured(epoch: int, **values: Any) -> EpochEvent:
    usual: dict[str, Any] = {
        "epoch": epoch, "step": 5 * epoch + 4, "elapsed_s": 5.0 * (epoch + 1), "train_loss": 1.0, "val_loss": 1.0,
        "val_losses": {}, "ap": 0.1, "ap50": 0.2, "ap75": 0.1, "ar100": 0.3, "ap_per_class": {}, "best": True,
        "evaluate_s": 3.0,
    }
    return EpochEvent(**(usual | values))


def events_of(run_dir: RunDir) -> list[Event]:
    return EventTail(run_dir.events).read_all()


def steps_of(run_dir: RunDir) -> list[StepEvent]:
    return [event for event in events_of(run_dir) if isinstance(event, StepEvent)]


# --- processes ---


def wait_for(condition: Callable[[], bool], timeout_s: float = 60, told: Callable[[], str] = lambda: "") -> None:
    """Wait until something is so; fails with `told` when it never is."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain; {told()}"
        time.sleep(0.02)


@dataclass
class Engine:
    """An `engine` process; its output lies in a file, so that nothing blocks on a full pipe."""

    process: subprocess.Popen[bytes]
    output_path: Path

    @property
    def output(self) -> str:
        return self.output_path.read_text(encoding="utf-8", errors="replace")

    def wait(self, timeout_s: float = 120) -> int:
        return self.process.wait(timeout_s)

    def wait_for_output(self, text: str, timeout_s: float = 120) -> None:
        wait_for(lambda: text in self.output, timeout_s, told=lambda: self.output)


def start_engine(folder: Path, *arguments: str) -> Engine:
    """Start `engine` in a folder, as a process that a signal can be sent to."""
    output_path = folder / f"output-{len(list(folder.glob('output-*')))}.txt"
    with output_path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.cli.main", *arguments], cwd=folder, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, env=process_environment(),
        )
    return Engine(process, output_path)


def process_environment() -> dict[str, str]:
    """One thread a process, and this checkout's `engine` whatever folder a process starts in."""
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}

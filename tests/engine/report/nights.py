"""Nights to report on, without any training: events, recipes, forecasts, ground truth and detections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.analysis.runfiles import EvaluationFiles, encode_measured, save_measured
from engine.events import Event, EventLog, MessageEvent, Preview, PreviewEvent, RecoveryEvent, RunEnded
from engine.forecast import Figures, Forecast
from engine.recipe.load import recipe_hash
from engine.rundir import RunDir
from engine.runqueue import NewRun, QueueRow, RunQueue
from tests.builders import (
    CLASS_NAMES,
    fill_run_dir,
    load_recipe,
    make_voc_dataset,
    measured,
    started,
    stepped,
    write_recipe,
)

FIGURES = Figures(
    device="cpu", batch_size=4, micro_batch_size=4, startup_s=3.0, step_s=1.0, evaluate_image_s=0.1,
    peak_bytes=1_800_000_000, available_bytes=8_000_000_000, num_train_images=20, num_val_images=4,
)


def training_events(
    num_epochs: int = 6, steps_per_epoch: int = 20, *, best_ap: float = 0.5, seed: int = 0,
    before: Sequence[Event] = (),
) -> list[Event]:
    """A run that learns: the loss falls and AP rises to `best_ap`, with noise."""
    random = np.random.default_rng(seed)
    num_steps = num_epochs * steps_per_epoch
    events: list[Event] = [
        started(num_epochs=num_epochs, num_steps=num_steps, versions={"torch": "2.9.0"}), *before
    ]
    for step in range(num_steps):
        epoch, loss = step // steps_per_epoch, 0.5 + 2 * np.exp(-5 * step / num_steps)
        noisy = float(loss * min(1.5, max(0.5, random.normal(1, 0.15))))
        events.append(stepped(step, epoch=epoch, loss=noisy, lr=0.01 * (1 - step / num_steps), elapsed_s=step + 1.0))
        if (step + 1) % steps_per_epoch == 0:
            ap = best_ap * (1 - float(np.exp(-6 * (epoch + 1) / num_epochs)))
            events.append(
                measured(
                    epoch, step=step, elapsed_s=step + 1.0, train_loss=float(loss), val_loss=float(loss) + 0.1, ap=ap,
                    ap50=min(1.0, 1.5 * ap), ap75=0.8 * ap, ar100=1.1 * ap,
                    ap_per_class=dict.fromkeys(CLASS_NAMES, ap),
                )
            )
    return [*events, RunEnded(outcome="finished", reason="", attempt=1, elapsed_s=num_steps + 5.0)]


def add_run(
    queue: RunQueue, folder: Path, dataset: Path, name: str, events: Sequence[Event] | None, **recipe: Any
) -> RunDir:
    """Queue a run and leave it as if it had been worked on; without events it still waits."""
    made = load_recipe(write_recipe(folder, dataset, name, **recipe))
    new = NewRun(name, f"{name}.toml", recipe_hash(made), lambda run_dir: fill_run_dir(run_dir, made) and None)
    [(row, _)] = queue.enqueue([new])
    run_dir = RunDir(queue.runs_dir / row.run)
    run_dir.recipe.write_text((folder / f"{name}.toml").read_text())
    forecast = Forecast(figures=FIGURES, num_epochs=6, run_s=110.0, may_end_early=False, rehearsed_at=0.0)
    run_dir.forecast.write_bytes(msgspec.json.encode(forecast))
    if events is not None:
        _execute(queue, run_dir, events)
    return run_dir


def _execute(queue: RunQueue, run_dir: RunDir, events: Sequence[Event]) -> None:
    def this(due: Sequence[QueueRow]) -> QueueRow:
        return next(row for row in due if row.run == run_dir.run_id)

    row = queue.claim(this)
    assert row is not None
    append_events(run_dir, events)
    ended = events[-1]
    assert isinstance(ended, RunEnded)
    state = "finished" if ended.outcome == "finished" else "failed"
    queue.finish(row, state, ended.reason, ended.cause)


def keep_detections(
    run_dir: RunDir, photos: Sequence[Path], size: tuple[int, int], *, seed: int = 0, per_photo: int = 4
) -> None:
    """Leave ground truth and detections of these photos: most right, some wrong in every way there is."""
    random = np.random.default_rng(seed)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    found: list[dict[str, object]] = []
    for image, path in enumerate(photos, start=1):
        images.append({
            "id": image, "file_name": path.name, "path": str(path), "width": size[0], "height": size[1]
        })
        for _ in range(per_photo):
            side = size[1] / 4
            x, y = (float(random.uniform(0, room - side)) for room in size)
            category = int(random.integers(1, len(CLASS_NAMES) + 1))
            annotations.append({
                "id": len(annotations) + 1, "image_id": image, "category_id": category, "bbox": [x, y, side, side],
                "area": side * side, "iscrowd": 0,
            })
            shift = float(random.choice([0.0, 0.02, 0.05, 0.5])) * side
            if random.random() < 0.9:  # else it is missed
                wrong = random.random() < 0.1
                found.append({
                    "image_id": image, "category_id": 3 - category if wrong else category,
                    "bbox": [x + shift, y, side, side], "score": round(float(random.uniform(0.3, 1)), 3),
                })
            if random.random() < 0.2:
                found.append({**found[-1], "score": 0.31} if found else {})
        found.append({"image_id": image, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.4})
    truth: dict[str, object] = {
        "images": images, "annotations": annotations,
        "categories": [{"id": index + 1, "name": name} for index, name in enumerate(CLASS_NAMES)],
    }
    detections = [one for one in found if one]
    content = encode_measured(truth, detections, model=run_dir.run_id, split="val", epoch=5)
    save_measured(EvaluationFiles.of_run(run_dir, "val"), content)


def tracked_run(queue: RunQueue, folder: Path) -> RunDir:
    """A run of 3 epochs of 5 steps with one picture, whose recipe asks for TensorBoard and the project "desks"."""
    dataset = make_voc_dataset(folder / "data", 1, 1)
    run_dir = add_run(queue, folder, dataset, "desk", None, tracking={"tensorboard": True, "project": "desks"})
    picture = run_dir.preview(0, 0)
    picture.parent.mkdir(parents=True)
    picture.write_bytes(next((dataset / "val" / "images").iterdir()).read_bytes())
    shown = Preview(path=run_dir.relative(picture), image="IMG_1.jpg", num_ground_truth=1, num_detections=1)
    events = training_events(3, 5)
    append_events(run_dir, [*events[:-1], PreviewEvent(epoch=0, previews=(shown,)), events[-1]])
    return run_dir


def append_events(run_dir: RunDir, events: Sequence[Event]) -> None:
    """Write events to the end of a run's log."""
    with EventLog(run_dir.events) as log:
        for event in events:
            log.append(event)


FAILURE = RunEnded(
    outcome="failed", cause="diverged", attempt=1, elapsed_s=12.0,
    reason="the loss exploded 3 times after going back (fix: <b>lower</b> optimizer.lr)",
)
RECOVERIES = (
    RecoveryEvent(
        kind="discarded step", text="the loss was no number & the step was discarded", epoch=0, step=3,
        images=("IMG_<script>.jpg",),
    ),
    RecoveryEvent(kind="rolled back", text="went back to step 0 at half the learning rate", epoch=0, step=6),
    MessageEvent(level="warning", text="1 image could not be read"),
)

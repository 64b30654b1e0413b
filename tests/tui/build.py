"""Builds run directories that look like real ones, with the real queue and event log, but no training.

Also a program: `python -m tests.tui.build DIR` fills DIR, `--live` goes on writing into its running run.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import tomli
from PIL import Image, ImageDraw

from engine.events import (
    CheckpointEvent,
    EpochEvent,
    Event,
    EventLog,
    MessageEvent,
    PhaseEvent,
    Preview,
    PreviewEvent,
    RunEnded,
    RunStarted,
    StepEvent,
)
from engine.recipe.load import resolved_json
from engine.recipe.schema import Recipe
from engine.rundir import FileLock, RunDir
from engine.runqueue import NewRun, QueueRow, RunQueue

# 2026-03-14 21:30 UTC: an evening.
EVENING = 1_773_523_800.0
CLASS_NAMES = ("mug", "laptop", "keyboard")
_ARCHS = {
    "mobilenet": "fasterrcnn_mobilenet_v3_large_fpn", "ssdlite": "ssdlite320_mobilenet_v3_large",
    "r18": "fasterrcnn_resnet18_fpn",
}  # fmt: skip
PARTS = {"loss_classifier": 0.42, "loss_box_reg": 0.30, "loss_objectness": 0.18, "loss_rpn_box_reg": 0.10}


@dataclass(frozen=True)
class Course:
    """How a made-up training goes.

    Attributes:
        epochs: Epochs it has done so far.
        num_epochs: Epochs it shall do.
        steps_an_epoch: Optimizer steps an epoch.
        skill: Best AP50 it will ever reach.
        step_s: Seconds a step.
    """

    epochs: int = 12
    num_epochs: int = 30
    steps_an_epoch: int = 120
    skill: float = 0.86
    step_s: float = 0.42
    seed: int = 0
    start: float = EVENING
    num_previews: int = 4


def loss_at(share: float, noise: float) -> float:
    """A total loss that falls from 3 to 0.3 over the whole of a training."""
    return (2.6 * math.exp(-7 * share) + 0.28 + 0.25 * math.exp(-2 * share)) * math.exp(noise)


def lr_at(step: int, num_steps: int) -> float:
    """Warm-up over 100 steps, then two drops to a tenth."""
    warm = min(1.0, (step + 1) / 100)
    drops = sum(step >= num_steps * share for share in (0.5, 0.8))
    return 0.005 * warm * 0.1**drops


def events_of(course: Course, *, first_epoch: int = 0) -> Iterator[Event]:
    """The events of a training, epoch after epoch; begins with the start unless it is carried on."""
    rng = random.Random(course.seed + 1000 * first_epoch)
    num_steps = course.num_epochs * course.steps_an_epoch
    seconds_an_epoch = course.steps_an_epoch * course.step_s + 9
    if first_epoch == 0:
        yield RunStarted(
            time=course.start, attempt=1, device="cuda:0 (RTX 4070)", num_train_images=480, num_val_images=120,
            num_epochs=course.num_epochs, num_steps=num_steps, class_names=CLASS_NAMES,
            versions={"torch": "2.9", "torchvision": "0.24"},
        )  # fmt: skip
    for epoch in range(first_epoch, course.epochs):
        yield from _epoch(course, epoch, epoch * seconds_an_epoch, num_steps, rng)


def _epoch(course: Course, epoch: int, elapsed: float, num_steps: int, rng: random.Random) -> Iterator[Event]:
    for index in range(course.steps_an_epoch):
        step = epoch * course.steps_an_epoch + index
        elapsed += course.step_s
        total = loss_at(step / num_steps, rng.gauss(0, 0.16))
        shares = {name: share * math.exp(rng.gauss(0, 0.1)) for name, share in PARTS.items()}
        whole = sum(shares.values())
        yield StepEvent(
            time=course.start + elapsed, step=step, epoch=epoch, elapsed_s=elapsed, loss=total,
            losses={name: total * share / whole for name, share in shares.items()},
            lr=lr_at(step, num_steps), step_s=course.step_s * math.exp(rng.gauss(0, 0.05)), data_s=0.03,
        )  # fmt: skip
    share = (epoch + 1) / course.num_epochs
    now = course.start + elapsed
    yield PhaseEvent(time=now, phase="evaluating", epoch=epoch, done=0, total=120)
    ap50 = course.skill * (1 - math.exp(-4.5 * share)) * math.exp(rng.gauss(0, 0.03))
    ap = ap50 * (0.42 + 0.2 * share)
    yield EpochEvent(
        time=now + 6, epoch=epoch, step=(epoch + 1) * course.steps_an_epoch - 1, elapsed_s=elapsed + 6,
        train_loss=loss_at(share, 0), val_loss=loss_at(share, rng.gauss(0.12, 0.04)) + 0.06 * share,
        val_losses={}, ap=ap, ap50=ap50, ap75=ap * 0.9, ar100=ap * 1.2,
        ap_per_class={name: ap * factor for name, factor in zip(CLASS_NAMES, (1.1, 1.25, 0.65), strict=True)},
        best=True, evaluate_s=6,
    )  # fmt: skip
    yield CheckpointEvent(time=now + 7, kind="best", path="checkpoints/best.pt", epoch=epoch, step=0)
    previews = tuple(
        Preview(
            path=f"previews/{epoch:04d}/{index:02d}.jpg", image=f"IMG_{index + 88:04d}.jpg",
            num_ground_truth=3, num_detections=max(0, round(9 - 6 * share)),
        )
        for index in range(course.num_previews)
    )  # fmt: skip
    yield PreviewEvent(time=now + 9, epoch=epoch, previews=previews)


def draw_preview(path: Path, epoch: int, num_epochs: int, index: int) -> None:
    """A desk with a mug, a laptop and a keyboard; the boxes come nearer with the epochs."""
    rng = random.Random(index)
    image = Image.new("RGB", (480, 320), (176 + 10 * index, 148, 118))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, 480, 120), fill=(92, 110 + 12 * index, 128))
    for y in range(120, 320, 14):
        pen.line((0, y, 480, y + rng.randrange(-5, 5)), fill=(160, 132, 104), width=2)
    things = [
        ((120, 60, 310, 190), (52, 56, 66), "laptop"),
        ((110, 215, 330, 270), (225, 222, 214), "keyboard"),
        ((360, 130, 430, 220), (178, 62, 52), "mug"),
    ]
    wobble = 46 * (1 - (epoch + 1) / num_epochs)
    noise = random.Random(epoch * 31 + index)
    for box, colour, _ in things:
        pen.rounded_rectangle(box, 10, fill=colour, outline=(30, 30, 30), width=2)
    pen.rectangle((132, 70, 298, 160), fill=(120, 168, 196))
    pen.ellipse((368, 134, 422, 152), fill=(90, 50, 36))
    for box, _, name in things:
        pen.rectangle(box, outline=(95, 215, 215), width=3)
        found = tuple(value + noise.uniform(-wobble, wobble) for value in box)
        x0, x1 = sorted((found[0], found[2]))
        y0, y1 = sorted((found[1], found[3]))
        pen.rectangle((x0, y0, x1, y1), outline=(255, 175, 95), width=3)
        pen.text((x0 + 5, y0 + 3), name, fill=(255, 255, 255))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=88)


def write_events(run_dir: RunDir, events: Iterator[Event] | list[Event], *, num_epochs: int = 30) -> None:
    """Append events, and draw the previews that they name."""
    with EventLog(run_dir.events) as log:
        for event in events:
            if isinstance(event, PreviewEvent):
                for index, preview in enumerate(event.previews):
                    draw_preview(run_dir.path / preview.path, event.epoch, num_epochs, index)
            log.append(event)


def enqueue(queue: RunQueue, *names: str) -> list[QueueRow]:
    """Queue runs of these names."""

    def create(run_dir: RunDir) -> None:
        text = recipe_text(run_dir.run_id.partition("-")[2])
        run_dir.recipe.write_text(text)
        run_dir.resolved.write_bytes(resolved_json(Recipe.model_validate(tomli.loads(text))))

    new = [NewRun(name, f"recipes/{name}.toml", f"hash of {name}", create) for name in names]
    return [row for row, _ in queue.enqueue(new)]


def recipe_text(name: str) -> str:
    """A recipe that goes with a run's name."""
    arch = next((arch for part, arch in _ARCHS.items() if part in name), "fasterrcnn_resnet50_fpn")
    lr = 0.1 if "lr01" in name else 0.005
    return (
        f'name = "{name}"\n[dataset]\nformat = "voc"\nval_fraction = 0.2\n'
        'train = { images = "desk/images", annotations = "desk/annotations" }\n'
        f'[classes]\nnames = ["mug", "laptop", "keyboard"]\n[model]\narch = "{arch}"\nweights = "imagenet"\n'
        f'[training]\nepochs = 30\n[optimizer]\nlr = {lr}\n[schedule]\nkind = "step"\nstep_size = 15\n'
    )


def claim(queue: RunQueue) -> QueueRow:
    """Start the next run."""
    row = queue.claim()
    assert row is not None
    return row


def write_log(run_dir: RunDir, num_lines: int = 40) -> None:
    """A worker's log with colours, a progress bar and a warning in it."""
    lines = [f"21:{30 + index // 4:02d}:{index * 15 % 60:02d} epoch 1 step {index * 10}" for index in range(num_lines)]
    lines.insert(5, "\x1b[33mwarning: IMG_0088.jpg has no objects, used as a negative\x1b[0m")
    lines.append("evaluating:  10%\revaluating:  50%\revaluating: 100%")
    run_dir.worker_log.write_text("\n".join(lines) + "\n")


def an_evening(runs_dir: Path, *, with_previews: bool = True, start: float = EVENING) -> RunDir:
    """A queue in the middle of its night; returns the running run's directory.

    Finished, failed, cancelled, running and queued runs; six in all.
    """
    queue = RunQueue(runs_dir)
    enqueue(queue, "desk-mobilenet", "desk-r50-lr01", "desk-ssdlite", "desk-r50", "desk-r50-v2", "desk-r18-long")
    previews = 4 if with_previews else 0

    row = claim(queue)
    done = Course(epochs=30, skill=0.74, step_s=0.2, seed=1, start=start - 7000, num_previews=previews)
    write_events(RunDir(runs_dir / row.run), events_of(done))
    ended = RunEnded(time=done.start + 1100, outcome="finished", reason="", elapsed_s=1080)
    write_events(RunDir(runs_dir / row.run), [ended])
    queue.finish(row, "finished")

    row = claim(queue)
    broken = Course(epochs=2, skill=0.3, seed=2, start=start - 3000, num_previews=previews)
    reason = "the loss became infinite at step 241, batch IMG_0088.jpg, IMG_0131.jpg; lower optimizer.lr"
    write_events(RunDir(runs_dir / row.run), events_of(broken))
    failed = RunEnded(time=start - 2800, outcome="failed", reason=reason, cause="diverged", elapsed_s=130)
    write_events(RunDir(runs_dir / row.run), [failed])
    queue.finish(row, "failed", reason, "diverged")

    row = claim(queue)
    queue.finish(row, "cancelled", "cancelled by hand")

    row = claim(queue)
    run_dir = RunDir(runs_dir / row.run)
    write_events(run_dir, events_of(Course(start=start, num_previews=previews)))
    dirt = "2 images have no objects; kept as negatives"
    write_events(run_dir, [MessageEvent(time=start + 600, level="warning", text=dirt)])
    write_events(run_dir, part_of_epoch(Course(start=start, epochs=13), 12, 47))
    write_log(run_dir)
    queue.close()
    return run_dir


def part_of_epoch(course: Course, epoch: int, num_steps: int) -> list[Event]:
    """The first steps of an epoch."""
    events = events_of(course, first_epoch=epoch)
    return [next(events) for _ in range(num_steps)]


def live(run_dir: RunDir, seconds: float, step_s: float) -> None:
    """Go on with the running run of `an_evening`, with the clock of this machine."""
    course = Course(epochs=30, start=time.time(), step_s=step_s)
    deadline = time.monotonic() + seconds
    lock = FileLock(run_dir.worker_lock)
    assert lock.acquire(5)
    for event in events_of(course, first_epoch=13):
        write_events(run_dir, [msgspec.structs.replace(event, time=time.time())])
        if isinstance(event, StepEvent):
            with run_dir.worker_log.open("a") as log:
                log.write(f"step {event.step} loss {event.loss:.3f}\n")
            time.sleep(step_s)
        if time.monotonic() > deadline:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs_dir", type=Path)
    parser.add_argument("--live", type=float, default=0.0, help="seconds to go on writing")
    parser.add_argument("--step-s", type=float, default=0.1)
    args = parser.parse_args()
    start = time.time() - 13 * 60 if args.live else EVENING
    run_dir = an_evening(args.runs_dir, start=start)
    if args.live:
        live(run_dir, args.live, args.step_s)


if __name__ == "__main__":
    main()

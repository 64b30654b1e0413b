"""A run's words: its events' texts, its log lines, and the problems that end it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from engine.allocator import in_use
from engine.errors import EngineError, MemoryExhausted, Problem, Where
from engine.events import EpochEvent, EventLog, PhaseEvent, RunStarted
from engine.recipe.schema import Model, Recipe, Recovery
from engine.training.best import BestSoFar, best_metric
from engine.training.measure import Measured
from engine.training.recovery import Troubles
from engine.training.step import StepFigures

# Seconds between two progress events of a long evaluation.
_PHASE_EVERY_S = 1.0


def started(
    recipe: Recipe, *, attempt: int, device: torch.device, num_train_images: int, num_val_images: int, num_steps: int,
    first_step: int,
) -> RunStarted:
    """The event with which an attempt begins."""
    return RunStarted(
        attempt=attempt, device=device_name(device), num_train_images=num_train_images, num_val_images=num_val_images,
        num_epochs=recipe.training.epochs, num_steps=num_steps, class_names=recipe.classes.names,
        first_step=first_step,
        versions={name: version(name) for name in ("detection-engine", "torch", "torchvision")},
        allocator=in_use().name,
    )


def device_name(device: torch.device) -> str:
    """A device with its product name where it has one."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def epoch_event(
    epoch: int, measured: Measured, *, step: int, elapsed_s: float, is_best: bool, evaluate_s: float,
    train_loss: float | None, memory_bytes: int,
) -> EpochEvent:
    """What an epoch came to."""
    validation, figures = measured.validation, measured.validation.figures
    return EpochEvent(
        epoch=epoch, step=step, elapsed_s=elapsed_s, train_loss=train_loss, val_loss=validation.loss,
        val_losses=dict(validation.losses), ap=figures.ap, ap50=figures.ap50, ap75=figures.ap75, ar100=figures.ar100,
        ap_per_class=figures.ap_per_class, best=is_best, evaluate_s=evaluate_s, weights=measured.weights,
        memory_bytes=memory_bytes,
    )


def describe_epoch(event: EpochEvent, num_epochs: int) -> str:
    """An epoch's figures as a line of the log."""
    figures = (
        ("loss", event.train_loss), ("val loss", event.val_loss), ("AP", event.ap), ("AP50", event.ap50),
        *((f"AP {name}", value) for name, value in event.ap_per_class.items()),
    )
    words = ", ".join(f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in figures)
    averaged = " (averaged weights)" if event.weights == "averaged" else ""
    return f"epoch {event.epoch + 1}/{num_epochs}{averaged}: {words}{', best so far' if event.best else ''}"


def progress_teller(events: EventLog, epoch: int, heartbeat: Callable[[], None]) -> Callable[[int, int], None]:
    """What a validation pass tells its progress to: an event about once a second."""
    told_at = -math.inf

    def tell(done: int, total: int) -> None:
        nonlocal told_at
        heartbeat()
        if time.monotonic() - told_at >= _PHASE_EVERY_S:
            told_at = time.monotonic()
            events.append(PhaseEvent(phase="evaluating", epoch=epoch, done=done, total=total))

    return tell


def early_stop_reason(recipe: Recipe, best: BestSoFar) -> str:
    """Why a run ended before its last epoch."""
    metric, stopping = best_metric(recipe), recipe.early_stopping
    assert stopping is not None  # only asked once patience is at its end
    assert best.epoch is not None
    return (
        f"stopped early: {stopping.metric} has not improved for {stopping.patience} epochs; "
        f"the best model by {metric} is of epoch {best.epoch + 1}"
    )


def of_another_version(path: Path, error: Exception) -> EngineError:
    """A checkpoint that lacks what this version resumes from, or has it in another form."""
    return EngineError.of(
        "T103", str(path), f"the checkpoint is of another version of engine: {type(error).__name__} {error}",
        "go on with the version that began the run, or queue its recipe again",
    )


# --- recoveries; steps are zero-based, as everywhere inside ---


def halved(step: int, micro_batch_size: int, batch_size: int) -> str:
    """Memory ran out in a step, and smaller parts are tried."""
    images = "1 image" if micro_batch_size == 1 else f"{micro_batch_size} images"
    return (
        f"memory ran out at step {step + 1}; going on with {images} in memory at a time "
        f"(the batch stays {batch_size}, the learning rate too)"
    )


def begun_anew(step: int, micro_batch_size: int) -> str:
    """The process gives up for one that begins with less."""
    return (
        f"memory ran out at step {step + 1}, scattered by what was tried; a fresh process goes on from this very step "
        f"with at most {micro_batch_size} image(s) in memory at a time"
    )


def discarded(step: int, figures: StepFigures, images: tuple[str, ...], spoilers: tuple[str, ...]) -> str:
    """A step was discarded before it changed a weight."""
    parts = ", ".join(f"{name} = {value:.3g}" for name, value in figures.losses.items())
    which = f"spoilt by {', '.join(spoilers)}" if spoilers else f"images of the batch: {', '.join(images)}"
    return f"{figures.fault} at step {step + 1} ({parts}), so the step was discarded; {which}"


def went_back(text: str, step: int, troubles: Troubles, micro_batch_size: int) -> str:
    """The run goes on from an earlier state."""
    words = f"{text}; going on from step {step}"
    if troubles.lr_scale != 1:
        words += f" with the learning rate times {troubles.lr_scale:.3g}"
    return f"{words} and at most {micro_batch_size} image(s) in memory at a time"


def diverged(run_id: str, step: int, troubles: Troubles, settings: Recovery) -> Problem:
    """Going back did not help."""
    count = f"{troubles.rollbacks} time{'' if troubles.rollbacks == 1 else 's'}"
    found = (
        f"the loss diverged at step {step + 1}: {troubles.in_a_row} steps in a row had to be discarded, after the run "
        f"went back to a checkpoint {count} (recovery.max_rollbacks = {settings.max_rollbacks})"
    )
    fix = (
        "lower optimizer.lr (try a tenth), add schedule.warmup_steps = 500, or set training.clip_grad_norm = 10; "
        f"`engine replay {run_id}` repeats the first discarded step"
    )
    return Problem("T201", Where(""), found, fix)


def no_room(step: int, model: Model, share: float | None) -> MemoryExhausted:
    """Not even one image at a time fits; says what would."""
    found = f"memory ran out at step {step + 1} with a single image at a time"
    if share is None:
        fix = "choose a smaller model.arch, or a machine with more memory"
    else:
        small, large = int(share * model.input_min_size), int(share * model.input_max_size)
        fix = f"model.min_size = {small} with model.max_size = {large} would fit; tried just now"
    problem = Problem("T202", Where(""), found, fix)
    return MemoryExhausted((problem,))

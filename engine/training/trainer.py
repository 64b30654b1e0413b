"""Train one recipe: the file to read first.

`train` sets everything up, goes through the epochs, and returns how it ended. Whatever happens is
told as events. Everything that resuming needs is the block `_Trainer.state`; order, augmentation and
learning rate follow from seed, epoch and step and need no memory. Nothing here catches an exception:
what can't be mended is the worker's to record.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from engine.annotations import ImageRecord, read_split
from engine.data.dataset import DetectionDataset
from engine.data.loading import Batch, make_loader, pick_num_workers
from engine.data.order import EpochOrder, FixedOrder
from engine.errors import DataError, Diverged, Problem, Where, has_errors
from engine.evaluation.previews import draw_previews, pick_preview_images
from engine.evaluation.validate import Validation, validate
from engine.events import (
    CheckpointEvent,
    EpochEvent,
    EventLog,
    MessageEvent,
    PhaseEvent,
    PreviewEvent,
    RunStarted,
    StepEvent,
)
from engine.models import build_detector
from engine.models.checkpoint import Content, save_checkpoint
from engine.models.detector import pick_device
from engine.recipe.schema import Recipe
from engine.rundir import RunDir
from engine.training.best import BestSoFar, best_metric, should_stop_early, update
from engine.training.optim import build_optimizer, set_lr
from engine.training.schedule import lr_factor

log = logging.getLogger(__name__)

# A detector's loss begins between 1 and 10; from here no training has ever come back.
_EXPLODED = 1e5
# Seconds between two progress events of a long evaluation.
_PHASE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How training ended: "finished", or "stopped" with everything saved to go on later."""

    outcome: Literal["finished", "stopped"]
    reason: str
    elapsed_s: float


def train(
    recipe: Recipe,
    run_dir: RunDir,
    events: EventLog,
    *,
    attempt: int = 1,
    resume_from: Content | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train a recipe to its end, or until asked to stop.

    Args:
        recipe: What to train; its paths are absolute.
        run_dir: Where checkpoints and previews go.
        events: Where everything is told.
        attempt: How often the run has been started, this time included.
        resume_from: A checkpoint of this run to go on from.
        stop_requested: Asked after each step; on True the state is saved and training returns.

    Raises:
        EngineError: Data, weights or checkpoint don't fit, or the loss diverged.
        OSError: The disk is full.
    """
    trainer = _Trainer(recipe, run_dir, events, resume_from)
    trainer.announce(attempt)
    while trainer.epoch < recipe.training.epochs and not should_stop_early(trainer.best, recipe):
        if stop_requested() or not trainer.train_epoch(stop_requested):
            trainer.save_last()
            events.append(trainer.last_checkpoint_event())
            reason = f"stopped on request after step {trainer.step} of {trainer.num_steps}, everything saved"
            return TrainingResult("stopped", reason, trainer.elapsed_s)
        trainer.measure_epoch()
        trainer.save_last()
    reason = trainer.early_stop_reason() if should_stop_early(trainer.best, recipe) else ""
    return TrainingResult("finished", reason, trainer.elapsed_s)


class _Trainer:
    """What a run carries from step to step."""

    def __init__(self, recipe: Recipe, run_dir: RunDir, events: EventLog, resume_from: Content | None) -> None:
        self.recipe, self.run_dir, self.events = recipe, run_dir, events
        self.class_names = recipe.classes.names
        self.device = pick_device(recipe.hardware.device)
        self._started = time.monotonic()
        self._elapsed_before_s = 0.0
        events.append(PhaseEvent(phase="loading", epoch=0))

        train_records, val_records = _read("train", recipe), _read("val", recipe)
        seed, batch_size = recipe.training.seed, recipe.training.batch_size
        assert batch_size != "auto"
        self.train_data = DetectionDataset(train_records, recipe.augmentation, seed)
        self.val_data = DetectionDataset(val_records)
        self.order = EpochOrder(len(train_records), batch_size, seed)
        num_workers = pick_num_workers(recipe.hardware.num_workers, self.device)
        self.train_loader = make_loader(self.train_data, self.order, num_workers=num_workers, device=self.device)
        val_order = FixedOrder(len(val_records), batch_size)
        self.val_loader = make_loader(self.val_data, val_order, num_workers=num_workers, device=self.device)
        self.preview_images = pick_preview_images(val_records, recipe.previews.num_images)

        torch.manual_seed(seed)
        state = resume_from["model"] if resume_from else None
        self.detector = build_detector(recipe.model, self.class_names, state).to(self.device)
        self.optimizer = build_optimizer(self.detector.parameters(), recipe.optimizer)
        self.steps_per_epoch = len(self.order)
        self.num_steps = self.steps_per_epoch * recipe.training.epochs
        self.step = 0  # optimizer steps done
        self.loss_sum = 0.0  # training loss of the current epoch's steps, added up
        self.best = BestSoFar()
        if resume_from:
            self.restore(resume_from)

    @property
    def epoch(self) -> int:
        """Zero-based epoch that the next step belongs to."""
        return self.step // self.steps_per_epoch

    @property
    def elapsed_s(self) -> float:
        """Seconds the run has been worked on, earlier attempts included."""
        return self._elapsed_before_s + time.monotonic() - self._started

    # --- everything that resuming needs ---

    def state(self) -> Content:
        return {
            "model": self.detector.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "loss_sum": self.loss_sum,
            "best": self.best.as_dict(),
            "elapsed_s": self.elapsed_s,
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            "events_bytes": self.events.sync(),
            **self.identity(),
        }

    def restore(self, state: Content) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.loss_sum = state["step"], state["loss_sum"]
        self.best = BestSoFar(**state["best"])
        self._elapsed_before_s = state["elapsed_s"]
        torch.set_rng_state(state["torch_random"])
        if state["cuda_random"]:
            torch.cuda.set_rng_state_all(state["cuda_random"])

    def identity(self) -> dict[str, Any]:
        """What a checkpoint is of."""
        return {"arch": self.recipe.model.arch, "class_names": list(self.class_names)}

    def save_last(self) -> None:
        save_checkpoint(self.run_dir.last_checkpoint, self.state())

    def last_checkpoint_event(self) -> CheckpointEvent:
        path = self.run_dir.relative(self.run_dir.last_checkpoint)
        return CheckpointEvent(kind="last", path=path, epoch=self.epoch, step=self.step)

    # --- an epoch ---

    def train_epoch(self, stop_requested: Callable[[], bool]) -> bool:
        """Train to the end of the current epoch; False when asked to stop before."""
        epoch = self.epoch
        self.order.epoch, self.order.first_batch = epoch, self.step % self.steps_per_epoch
        self.events.append(PhaseEvent(phase="training", epoch=epoch))
        self.detector.train()
        waiting_since = time.perf_counter()
        for batch in self.train_loader:
            begun = time.perf_counter()
            loss, losses, lr = self.train_step(batch)
            now = time.perf_counter()
            self.events.append(
                StepEvent(
                    step=self.step, epoch=epoch, elapsed_s=self.elapsed_s, loss=loss, losses=losses, lr=lr,
                    step_s=now - waiting_since, data_s=begun - waiting_since,
                )
            )
            self.step += 1
            self.loss_sum += loss
            if stop_requested() and self.epoch == epoch:
                return False
            waiting_since = time.perf_counter()
        return True

    def train_step(self, batch: Batch) -> tuple[float, dict[str, float | None], float]:
        lr = self.recipe.optimizer.lr * lr_factor(
            self.step, steps_per_epoch=self.steps_per_epoch, num_steps=self.num_steps, schedule=self.recipe.schedule
        )
        set_lr(self.optimizer, lr)
        on_device = batch.to(self.device)
        precision = self.recipe.hardware.precision
        losses = self.detector.losses(on_device.images, on_device.targets, precision)  # name -> 0-d tensor
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total) or total > _EXPLODED:  # before any weight changes
            raise self.diverged(losses, batch)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self.recipe.training.clip_grad_norm is not None:
            clip_grad_norm_(self.detector.parameters(), self.recipe.training.clip_grad_norm)
        self.optimizer.step()
        return total.item(), {name: value.item() for name, value in losses.items()}, lr

    def diverged(self, losses: dict[str, Tensor], batch: Batch) -> Diverged:
        parts = ", ".join(f"{name} = {value.item():.3g}" for name, value in losses.items())
        images = ", ".join(str(self.train_data.records[place].image_path) for place in batch.places)
        total = sum(value.item() for value in losses.values())
        what = f"the loss exploded to {total:.3g}" if math.isfinite(total) else "the loss is no longer a number"
        found = f"{what} at step {self.step + 1} ({parts}); images of the batch: {images}"
        fix = "lower optimizer.lr (try a tenth), add schedule.warmup_steps = 500, or set training.clip_grad_norm = 10"
        return Diverged((Problem("T201", Where(self.run_dir.run_id), found, fix),))

    def measure_epoch(self) -> None:
        """Validate, keep the model if it is the best, draw previews; the epoch just trained is `epoch - 1`."""
        epoch = self.epoch - 1
        begun = time.perf_counter()
        validation = validate(
            self.detector, self.val_data, self.val_loader, self.device, self._tell_progress(epoch)
        )
        evaluate_s = time.perf_counter() - begun
        figures = validation.figures
        self.best, is_best = update(
            self.best, self.recipe, epoch,
            {"ap": figures.ap, "ap50": figures.ap50, "ap75": figures.ap75, "val_loss": validation.loss},
        )
        if is_best:
            self.save_best(epoch)
        event = self.epoch_event(epoch, validation, is_best=is_best, evaluate_s=evaluate_s)
        self.events.append(event)
        log.info("%s", describe_epoch(event, self.recipe.training.epochs))
        self.loss_sum = 0.0
        if self.preview_images:
            self.events.append(PhaseEvent(phase="drawing", epoch=epoch))
            previews = draw_previews(
                self.run_dir, epoch, self.val_data.records, validation.detections, self.preview_images,
                self.class_names, self.recipe.previews.score_threshold,
            )
            self.events.append(PreviewEvent(epoch=epoch, previews=previews))

    def epoch_event(self, epoch: int, validation: Validation, *, is_best: bool, evaluate_s: float) -> EpochEvent:
        figures = validation.figures
        return EpochEvent(
            epoch=epoch, step=self.step - 1, elapsed_s=self.elapsed_s,
            train_loss=self.loss_sum / self.steps_per_epoch, val_loss=validation.loss,
            val_losses=dict(validation.losses), ap=figures.ap, ap50=figures.ap50, ap75=figures.ap75,
            ar100=figures.ar100, ap_per_class=figures.ap_per_class, best=is_best, evaluate_s=evaluate_s,
        )

    def save_best(self, epoch: int) -> None:
        path = self.run_dir.best_checkpoint
        content = {"model": self.detector.network.state_dict(), "epoch": epoch, "best": self.best.as_dict()}
        save_checkpoint(path, {**content, **self.identity()}, keep_previous=False)
        self.events.append(
            CheckpointEvent(kind="best", path=self.run_dir.relative(path), epoch=epoch, step=self.step - 1)
        )

    def _tell_progress(self, epoch: int) -> Callable[[int], None]:
        total, told_at = len(self.val_data), 0.0

        def tell(done: int) -> None:
            nonlocal told_at
            if time.monotonic() - told_at >= _PHASE_EVERY_S:
                told_at = time.monotonic()
                self.events.append(PhaseEvent(phase="evaluating", epoch=epoch, done=done, total=total))

        self.events.append(PhaseEvent(phase="evaluating", epoch=epoch, done=0, total=total))
        return tell

    # --- words ---

    def announce(self, attempt: int) -> None:
        self.events.append(
            RunStarted(
                attempt=attempt, device=_device_name(self.device), num_train_images=len(self.train_data),
                num_val_images=len(self.val_data), num_epochs=self.recipe.training.epochs, num_steps=self.num_steps,
                class_names=self.class_names, first_step=self.step,
                versions={name: version(name) for name in ("detection-engine", "torch", "torchvision")},
            )
        )
        log.info(
            "%s on %s: %d training and %d validation images, %d steps of %d images",
            self.recipe.model.arch, _device_name(self.device), len(self.train_data), len(self.val_data),
            self.num_steps, self.recipe.training.batch_size,
        )
        if self.step:
            text = f"going on from step {self.step} of {self.num_steps}"
            self.events.append(MessageEvent(level="note", text=text))

    def early_stop_reason(self) -> str:
        metric, stopping = best_metric(self.recipe), self.recipe.early_stopping
        assert stopping is not None  # only asked once patience is at its end
        assert self.best.epoch is not None
        return (
            f"stopped early: {stopping.metric} has not improved for {stopping.patience} epochs; "
            f"the best model by {metric} is of epoch {self.best.epoch + 1}"
        )


def describe_epoch(event: EpochEvent, num_epochs: int) -> str:
    """An epoch's figures as a line of the log."""
    figures = (
        ("loss", event.train_loss), ("val loss", event.val_loss), ("AP", event.ap), ("AP50", event.ap50),
        *((f"AP {name}", value) for name, value in event.ap_per_class.items()),
    )
    words = ", ".join(f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in figures)
    return f"epoch {event.epoch + 1}/{num_epochs}: {words}{', best so far' if event.best else ''}"


def _read(split: Literal["train", "val"], recipe: Recipe) -> tuple[ImageRecord, ...]:
    found = read_split(recipe.dataset, recipe.classes, split)
    if has_errors(found.problems):
        raise DataError([problem for problem in found.problems if problem.severity == "error"])
    for problem in found.problems:
        log.info("%s", problem)
    return found.records


def _device_name(device: torch.device) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)

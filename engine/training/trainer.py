"""Train one recipe: the file to read first.

`train` sets everything up, goes through the epochs, and returns how it ended. Whatever happens is
told as events. Everything that resuming needs is the block `_Trainer.state`; order, augmentation and
learning rate follow from seed, epoch and step and need no memory. What can be mended is mended here:
steps that don't fit into memory or spoil the loss (`step`, `recovery`), files and loaders that fail
(`supply`), measuring that doesn't fit (`measure`). What can't be mended is the worker's to record.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from engine.annotations import ImageRecord, read_split
from engine.data.dataset import DetectionDataset, Sample
from engine.data.loading import Batch, BatchStream, pick_num_workers
from engine.data.order import EpochOrder, repeat_factors
from engine.errors import DataError, Diverged, has_errors
from engine.evaluation.previews import draw_previews, pick_preview_images
from engine.events import CheckpointEvent, EventLog, MessageEvent, PhaseEvent, PreviewEvent, RecoveryEvent, StepEvent
from engine.events import Recovery as Kind
from engine.models import build_detector
from engine.models.checkpoint import Content, load_accepted, save_checkpoint
from engine.models.detector import pick_device
from engine.recipe.schema import Recipe
from engine.rundir import RunDir
from engine.training import telling
from engine.training.best import BestSoFar, should_stop_early, update
from engine.training.ema import WeightAverage
from engine.training.measure import Measured, Measurer
from engine.training.memory import OutOfMemory, largest_share_that_fits
from engine.training.optim import build_optimizer, set_lr, set_training_mode
from engine.training.precision import make_scaler
from engine.training.recovery import (
    Troubles,
    after_discarded_step,
    after_good_step,
    after_rollback,
    rollback_before,
    suspects_of,
    wants_rollback,
)
from engine.training.replay import save_bundle
from engine.training.schedule import Plateau, lr_factor, update_plateau
from engine.training.step import Remembered, StepFigures, Stepper, UpdateBroken, min_size_of, set_input_size
from engine.training.supply import Pace, Supply

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How training ended: "finished", or with everything saved: "stopped", or "restart".

    "restart" asks for a fresh process: on a CPU, memory that a failed step gave back stays scattered, and
    smaller parts need not fit into it although they would into a process that begins with them.
    """

    outcome: Literal["finished", "stopped", "restart"]
    reason: str
    elapsed_s: float


def train(
    recipe: Recipe,
    run_dir: RunDir,
    events: EventLog,
    *,
    attempt: int = 1,
    resume_from: Content | None = None,
    micro_batch_size: int | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
    heartbeat: Callable[[], None] = lambda: None,
    may_restart: bool = False,
) -> TrainingResult:
    """Train a recipe to its end, or until asked to stop.

    Args:
        recipe: What to train; its paths are absolute.
        run_dir: Where checkpoints and previews go.
        events: Where everything is told.
        attempt: How often the run has been started, this time included.
        resume_from: A checkpoint of this run to go on from.
        micro_batch_size: Images in memory at a time, at most; None for what recipe and checkpoint say.
        stop_requested: Asked after each step; on True the state is saved and training returns.
        heartbeat: Called whenever something moved.
        may_restart: Whether the caller can go on in a fresh process when this asks for one.

    Raises:
        EngineError: Data, weights or checkpoint don't fit, memory doesn't hold one image, or the loss diverged.
        OSError: The disk is full.
    """
    back: _GoBackError | None = None
    while True:
        # After going back everything is built anew: memory, loaders and random states begin clean.
        state, size = (back.content, back.micro_batch_size) if back else (resume_from, micro_batch_size)
        made = _Trainer(recipe, run_dir, events, state, heartbeat=heartbeat, micro_batch_size=size)
        with contextlib.closing(made) as trainer:
            if back is None:
                trainer.announce(attempt)
            else:
                trainer.take_up_again(back, attempt)
            try:
                return trainer.run(stop_requested)
            except _GoBackError as error:
                back = error.with_traceback(None)  # which would hold on to all of the former trainer
            except _NoRoomError as error:
                if may_restart and trainer.could_do_with_less():
                    return trainer.restart()
                raise trainer.explained(error) from None


@dataclass(eq=False)
class _GoBackError(Exception):
    """The run has to go on from a checkpoint: `content`, or the very start without one."""

    content: Content | None
    kind: Kind
    text: str
    step: int
    micro_batch_size: int
    troubles: Troubles | None = None


@dataclass(eq=False)
class _NoRoomError(Exception):
    """Not even one image at a time fits; `batch` is what training failed at, None while measuring."""

    batch: Batch | None = None


class _Trainer:
    """What a run carries from step to step."""

    def __init__(
        self, recipe: Recipe, run_dir: RunDir, events: EventLog, resume_from: Content | None, *,
        heartbeat: Callable[[], None], micro_batch_size: int | None,
    ) -> None:
        self.recipe, self.run_dir, self.events, self.heartbeat = recipe, run_dir, events, heartbeat
        self.class_names = recipe.classes.names
        self.device = pick_device(recipe.hardware.device)
        self._started = self._saved_at = time.monotonic()
        self._elapsed_before_s = 0.0
        events.append(PhaseEvent(phase="loading", epoch=0))

        train_records, val_records = _read("train", recipe), _read("val", recipe)
        seed, batch_size = recipe.training.seed, recipe.training.batch_size
        assert batch_size != "auto"  # resolved before a run is queued
        self.batch_size: int = batch_size
        self.train_data = DetectionDataset(train_records, recipe.augmentation, seed, recipe.training.epochs)
        threshold = recipe.training.repeat_threshold
        factors = repeat_factors(train_records, len(self.class_names), threshold) if threshold else None
        order = EpochOrder(len(train_records), self.batch_size, seed, factors)
        num_workers = pick_num_workers(recipe.hardware.num_workers, self.device)
        self.pace = Pace(recipe.recovery)
        self.stream = BatchStream(self.train_data, order, num_workers=num_workers, device=self.device)
        self.supply = Supply(
            self.train_data, order, self.stream, seed=seed, settings=recipe.recovery, pace=self.pace, tell=self.tell
        )
        self.measurer = Measurer(
            DetectionDataset(val_records), recipe, self.device, num_workers=num_workers, pace=self.pace, tell=self.tell
        )
        self.preview_images = pick_preview_images(val_records, recipe.previews.num_images)

        torch.manual_seed(seed)
        state = resume_from["model"] if resume_from else None
        self.detector = build_detector(recipe.model, self.class_names, state).to(self.device)
        self.optimizer = build_optimizer(self.detector, recipe.optimizer)
        self.scaler = make_scaler(recipe.hardware.precision, self.device)
        decay = recipe.training.ema_decay
        self.average = WeightAverage(self.detector.network, decay) if decay else None
        sizes = (micro_batch_size, recipe.training.micro_batch_size, self.batch_size)
        self.stepper = Stepper(
            self.detector, self.optimizer, self.scaler, device=self.device, precision=recipe.hardware.precision,
            clip_grad_norm=recipe.training.clip_grad_norm, exploding_loss=recipe.recovery.exploding_loss,
            micro_batch_size=min(size for size in sizes if size is not None), on_halved=self.tell_halved,
        )
        self.num_measured = 0  # epochs that were measured
        self.steps_per_epoch = len(order)
        self.num_steps = self.steps_per_epoch * recipe.training.epochs
        self.step = 0  # optimizer steps done, discarded ones included
        self.loss_sum, self.num_summed = 0.0, 0  # training loss of the current epoch's good steps, added up
        self.best, self.plateau, self.troubles = BestSoFar(), Plateau(), Troubles()
        if resume_from:
            try:
                self.restore(resume_from)
            except (KeyError, ValueError, TypeError) as error:
                raise telling.of_another_version(run_dir.last_checkpoint, error) from error

        self.began_with = (self.stepper.micro_batch_size, self.measurer.batch_size)

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
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "step": self.step,
            "loss_sum": self.loss_sum,
            "num_summed": self.num_summed,
            "num_measured": self.num_measured,
            "best": self.best.as_dict(),
            "plateau": self.plateau.as_dict(),
            "troubles": self.troubles.as_dict(),
            "set_aside": sorted(self.supply.set_aside),
            "micro_batch_size": self.stepper.micro_batch_size,
            "measure_batch_size": self.measurer.batch_size,
            "elapsed_s": self.elapsed_s,
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            "events_bytes": self.events.sync(),
            **self.identity(),
        }

    def restore(self, state: Content) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        if self.average and state.get("average"):
            self.average.load_state_dict(state["average"])
        self.step, self.loss_sum = state["step"], state["loss_sum"]
        self.best = BestSoFar(**state["best"])
        # What the first version did not keep yet has its value at that version's only places to save.
        self.num_summed = state.get("num_summed", self.step % self.steps_per_epoch)
        self.num_measured = state.get("num_measured", self.epoch)
        self.plateau = Plateau(**state.get("plateau", {}))
        self.troubles = Troubles.from_dict(state["troubles"]) if "troubles" in state else Troubles()
        self.supply.set_aside.update(state.get("set_aside", ()))
        self.stepper.micro_batch_size = min(self.stepper.micro_batch_size, state.get("micro_batch_size", 1024))
        self.measurer.shrink_to(state.get("measure_batch_size", 1024))
        self._elapsed_before_s = state["elapsed_s"]
        torch.set_rng_state(state["torch_random"])
        if state["cuda_random"]:
            torch.cuda.set_rng_state_all(state["cuda_random"])

    def identity(self) -> dict[str, Any]:
        """What a checkpoint is of."""
        return {"arch": self.recipe.model.arch, "class_names": list(self.class_names)}

    def save_last(self, *, keep_previous: bool = True) -> None:
        save_checkpoint(self.run_dir.last_checkpoint, self.state(), keep_previous=keep_previous)
        self._saved_at = time.monotonic()
        self.heartbeat()

    def save_if_due(self) -> None:
        """Save within an epoch, now and then; amid spoilt steps, what is on disk is the better way back."""
        due = time.monotonic() - self._saved_at > 60 * self.recipe.recovery.checkpoint_minutes
        if due and not self.troubles.in_a_row:
            self.save_last()

    # --- the loop ---

    def run(self, stop_requested: Callable[[], bool]) -> TrainingResult:
        """Go on to the last epoch, early stopping, or a stop."""
        while not self.is_over():
            if stop_requested() or (self.num_measured == self.epoch and not self.train_epoch(stop_requested)):
                return self.stopped(f"stopped on request after step {self.step} of {self.num_steps}")
            self.measure_epoch()
            self.save_last()
            if self.run_dir.stop_after_epoch.exists() and not self.is_over():
                self.run_dir.stop_after_epoch.unlink(missing_ok=True)
                return self.stopped(f"stopped on request after epoch {self.epoch}")
        stopped_early = should_stop_early(self.best, self.recipe)
        reason = telling.early_stop_reason(self.recipe, self.best) if stopped_early else ""
        return TrainingResult("finished", reason, self.elapsed_s)

    def is_over(self) -> bool:
        """Whether the last epoch, or early stopping's last, has been measured."""
        return self.num_measured == self.recipe.training.epochs or should_stop_early(self.best, self.recipe)

    def stopped(self, reason: str) -> TrainingResult:
        self.save_last()
        path = self.run_dir.relative(self.run_dir.last_checkpoint)
        self.events.append(CheckpointEvent(kind="last", path=path, epoch=self.epoch, step=self.step))
        return TrainingResult("stopped", f"{reason}, everything saved", self.elapsed_s)

    def train_epoch(self, stop_requested: Callable[[], bool]) -> bool:
        """Train to the end of the current epoch; False when asked to stop before."""
        epoch = self.epoch
        self.events.append(PhaseEvent(phase="training", epoch=epoch))
        freeze = epoch < self.recipe.training.freeze_epochs
        set_training_mode(self.detector, self.optimizer, freeze_backbone=freeze)
        waiting_since = time.perf_counter()
        for batch in self.supply.batches(epoch, self.step % self.steps_per_epoch):
            begun = time.perf_counter()
            figures, lr = self.train_step(batch)
            now = time.perf_counter()
            self.pace.add(now - waiting_since)
            self.events.append(
                StepEvent(
                    step=self.step, epoch=epoch, elapsed_s=self.elapsed_s, loss=figures.loss,
                    losses=dict(figures.losses), lr=lr, step_s=now - waiting_since, data_s=begun - waiting_since,
                )
            )
            self.step += 1
            self.heartbeat()
            if wants_rollback(self.troubles, self.recipe.recovery):
                raise self.going_back()
            if stop_requested():
                return False
            self.save_if_due()
            waiting_since = time.perf_counter()
        return True

    def train_step(self, batch: Batch) -> tuple[StepFigures, float]:
        """Make one optimizer step, or discard it; returns its figures and the learning rate used."""
        lr = self.recipe.optimizer.lr * self.troubles.lr_scale * lr_factor(
            self.step, steps_per_epoch=self.steps_per_epoch, num_steps=self.num_steps, schedule=self.recipe.schedule,
            drops=self.plateau.drops,
        )
        set_lr(self.optimizer, lr)
        set_input_size(self.detector, self.recipe.model, min_size_of(self.step, self.epoch, self.recipe))
        try:
            figures, before = self.stepper.run(batch)
        except UpdateBroken:
            text = f"memory ran out while the weights were changed at step {self.step + 1}"
            raise self.back_to_checkpoint("out of memory", text, max(1, self.stepper.micro_batch_size // 2)) from None
        except OutOfMemory:
            raise _NoRoomError(batch) from None
        if figures.fault:
            self.discard(figures, before, batch, lr)
        else:
            self.troubles = after_good_step(self.troubles)
            self.loss_sum, self.num_summed = self.loss_sum + figures.loss, self.num_summed + 1
            if self.average:
                self.average.update(self.detector.network)
        return figures, lr

    # --- recovering ---

    def tell(
        self, kind: Kind, text: str, *, images: tuple[str, ...] = (), losses: dict[str, float] | None = None,
        replay: str = "",
    ) -> None:
        """Make known what went wrong and what was done."""
        log.warning("%s: %s", kind, text)
        told: dict[str, float | None] = dict(losses or {})
        self.events.append(
            RecoveryEvent(
                kind=kind, text=text, epoch=self.epoch, step=self.step, images=images, losses=told, replay=replay
            )
        )

    def tell_halved(self, micro_batch_size: int) -> None:
        self.tell("out of memory", telling.halved(self.step, micro_batch_size, self.batch_size))

    def discard(self, figures: StepFigures, before: Remembered, batch: Batch, lr: float) -> None:
        """Tell of a step that spoilt the loss, keep it for a replay, and judge its images."""
        images = self.images_of(batch)
        alone = self.stepper.spoilt_by(batch, before)
        suspects = suspects_of(self.troubles, batch.places, alone)
        replay = ""
        with contextlib.suppress(OSError):  # a full disk must not end the run for want of a bundle
            path = save_bundle(
                self.run_dir, step=self.step, epoch=self.epoch, detector=self.detector, batch=batch,
                image_paths=list(images), random=before.random, losses=figures.losses, lr=lr,
                precision=self.recipe.hardware.precision, micro_batch_size=self.stepper.micro_batch_size,
            )
            replay = self.run_dir.relative(path) if path else ""
        proven = alone if len(alone) < len(batch) else []
        spoilers = tuple(str(self.train_data.records[place].image_path) for place in proven)
        text = telling.discarded(self.step, figures, images, spoilers)
        self.tell("discarded step", text, images=spoilers or images, losses=figures.losses, replay=replay)
        self.troubles, aside = after_discarded_step(self.troubles, suspects, self.recipe.recovery)
        for place in aside:
            name = self.train_data.records[place].image_path
            self.supply.put_aside([place], f"{name} was part of several steps whose loss was spoilt")

    def images_of(self, batch: Batch) -> tuple[str, ...]:
        """Every file that a batch was made of, those put beside others in a mosaic too."""
        partners = [place for sample in batch.samples if isinstance(sample, Sample) for place in sample.partners]
        return tuple(str(self.train_data.records[place].image_path) for place in [*batch.places, *partners])

    def going_back(self) -> _GoBackError | Diverged:
        """What ends this stretch of training after too many discarded steps: a way back, or failure."""
        settings, troubles = self.recipe.recovery, self.troubles
        if troubles.rollbacks >= settings.max_rollbacks:
            return Diverged((telling.diverged(self.run_dir.run_id, self.step, troubles, settings),))
        text = f"{troubles.in_a_row} steps in a row had to be discarded up to step {self.step}"
        return self.back_to_checkpoint("rolled back", text, self.stepper.micro_batch_size)

    def back_to_checkpoint(self, kind: Kind, text: str, micro_batch_size: int) -> _GoBackError:
        before = rollback_before(self.troubles, self.step)

        def is_good(state: Content) -> bool:
            return state["step"] < before and not Troubles.from_dict(state["troubles"]).in_a_row

        content = load_accepted(self.run_dir.last_checkpoint, is_good)
        troubles = None
        if kind == "rolled back":
            troubles = after_rollback(
                self.troubles, Troubles.from_dict(content["troubles"]) if content else Troubles(), step=self.step,
                back_to=content["step"] if content else 0, settings=self.recipe.recovery,
            )
        return _GoBackError(content, kind, text, self.step, micro_batch_size, troubles)

    def take_up_again(self, back: _GoBackError, attempt: int) -> None:
        """Go on from an earlier state: the log is cut back to it, what was mended since stays told."""
        cut = self.events.rewind(back.content["events_bytes"] if back.content else 0)
        self.announce(attempt)
        for event in cut:
            if isinstance(event, RecoveryEvent):
                self.events.append(event)
        if back.troubles:
            self.troubles = back.troubles
        self.tell(back.kind, telling.went_back(back.text, self.step, self.troubles, self.stepper.micro_batch_size))
        # At once, so that a kill now can't forget the lower rate; the older checkpoint stays for another way back.
        self.save_last(keep_previous=False)

    def could_do_with_less(self) -> bool:
        """Whether a fresh process could begin with fewer images in memory than this one did."""
        return max(self.began_with) > 1

    def restart(self) -> TrainingResult:
        """Save everything for a process that begins with half of what this one began with."""
        train, measure = (max(1, size // 2) for size in self.began_with)
        self.stepper.micro_batch_size = train
        self.measurer.shrink_to(measure)
        self.tell("out of memory", telling.begun_anew(self.step, train))
        self.save_last()
        return TrainingResult("restart", f"at most {train} image(s) in memory at a time", self.elapsed_s)

    def explained(self, error: _NoRoomError) -> Exception:
        """The failure when not even one image fits, with the input size that would."""
        batch = error.batch
        if batch is None:
            return telling.no_room(self.run_dir.run_id, self.step, self.recipe.model, None)

        def attempt(share: float) -> None:
            set_input_size(self.detector, self.recipe.model, int(share * self.recipe.model.input_min_size))
            self.stepper.run(batch)

        self.optimizer.zero_grad(set_to_none=True)
        share = largest_share_that_fits(attempt, self.device)
        return telling.no_room(self.run_dir.run_id, self.step, self.recipe.model, share)

    # --- measuring ---

    def measure_epoch(self) -> None:
        """Validate, keep the model if it is the best, draw previews; the epoch just trained is `epoch - 1`."""
        epoch = self.epoch - 1
        set_input_size(self.detector, self.recipe.model, None)
        begun = time.perf_counter()
        try:
            measured = self.measurer.measure(self.detector, self.average, self.tell_progress(epoch))
        except OutOfMemory:
            raise _NoRoomError from None
        evaluate_s = time.perf_counter() - begun
        values = dict(measured.values)
        self.best, is_best = update(self.best, self.recipe, epoch, values)
        self.plateau = update_plateau(self.plateau, self.recipe, values)
        if is_best:
            self.save_best(epoch, measured)
        event = telling.epoch_event(
            epoch, measured, step=self.step - 1, elapsed_s=self.elapsed_s, is_best=is_best, evaluate_s=evaluate_s,
            train_loss=self.loss_sum / self.num_summed if self.num_summed else None,
        )
        self.events.append(event)
        log.info("%s", telling.describe_epoch(event, self.recipe.training.epochs))
        self.loss_sum, self.num_summed = 0.0, 0
        self.num_measured += 1
        if self.preview_images:
            self.draw_previews(epoch, measured)

    def draw_previews(self, epoch: int, measured: Measured) -> None:
        self.events.append(PhaseEvent(phase="drawing", epoch=epoch))
        previews = draw_previews(
            self.run_dir, epoch, self.measurer.data.records, measured.validation.detections, self.preview_images,
            self.class_names, self.recipe.previews.score_threshold,
        )
        self.events.append(PreviewEvent(epoch=epoch, previews=previews))

    def save_best(self, epoch: int, measured: Measured) -> None:
        path = self.run_dir.best_checkpoint
        averaged = self.average is not None and measured.weights == "averaged"
        with self.average.swapped_in(self.detector.network) if averaged and self.average else contextlib.nullcontext():
            content = {"model": self.detector.network.state_dict(), "epoch": epoch, "best": self.best.as_dict()}
            save_checkpoint(path, {**content, "weights": measured.weights, **self.identity()}, keep_previous=False)
        self.events.append(
            CheckpointEvent(kind="best", path=self.run_dir.relative(path), epoch=epoch, step=self.step - 1)
        )

    def tell_progress(self, epoch: int) -> Callable[[int, int], None]:
        return telling.progress_teller(self.events, epoch, self.heartbeat)

    # --- beginning and end ---

    def announce(self, attempt: int) -> None:
        self.events.append(
            telling.started(
                self.recipe, attempt=attempt, device=self.device, num_train_images=len(self.train_data),
                num_val_images=len(self.measurer.data), num_steps=self.num_steps, first_step=self.step,
            )
        )
        if self.step:
            text = f"going on from step {self.step} of {self.num_steps}"
            self.events.append(MessageEvent(level="note", text=text))

    def close(self) -> None:
        """End the loader processes."""
        self.stream.close()
        self.measurer.close()


def _read(split: Literal["train", "val"], recipe: Recipe) -> tuple[ImageRecord, ...]:
    found = read_split(recipe.dataset, recipe.classes, split)
    if has_errors(found.problems):
        raise DataError([problem for problem in found.problems if problem.severity == "error"])
    for problem in found.problems:
        log.info("%s", problem)
    return found.records

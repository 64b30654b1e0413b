"""Train one recipe: the file to read first.

`train` sets everything up, goes through the epochs, and returns how it ended. Whatever happens is
told as events. What a run carries, and all that resuming needs of it, is `RunState`; order, augmentation and
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
from typing import Literal

import msgspec

from engine.analysis.runfiles import EvaluationFiles, save_measured, thresholds_in
from engine.data.batch import Batch
from engine.data.dataset import Sample
from engine.devicememory import peak_memory_bytes
from engine.errors import Diverged
from engine.evaluation.kept import measured_content
from engine.evaluation.previews import make_previews
from engine.events import CheckpointEvent, EventLog, PhaseEvent, RecoveryEvent, StepEvent
from engine.events import Recovery as Kind
from engine.models.checkpoint import Content, load_accepted, save_checkpoint
from engine.recipe.schema import Recipe
from engine.rundir import RunDir
from engine.training import telling
from engine.training.best import should_stop_early, update
from engine.training.measure import Measured
from engine.training.memory import OutOfMemory, largest_share_that_fits
from engine.training.optim import set_lr, set_training_mode
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
from engine.training.schedule import lr_factor, update_plateau
from engine.training.state import RunState
from engine.training.step import Remembered, StepFigures, UpdateBroken, min_size_of, set_input_size

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
    set_aside: list[str]
    troubles: Troubles | None = None


@dataclass(eq=False)
class _NoRoomError(Exception):
    """Not even one image at a time fits; `batch` is what training failed at, None while measuring."""

    batch: Batch | None = None


class _Trainer(RunState):
    """Takes a run's state from step to step."""

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
            self.starvation.add(now - waiting_since, begun - waiting_since)
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
        self.tell_of_starvation(epoch)
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
            self.stream.send_when_needed()
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
                precision=self.precision, micro_batch_size=self.stepper.micro_batch_size,
            )
            replay = self.run_dir.relative(path) if path else ""
        proven = alone if len(alone) < len(batch) else []
        spoilers = tuple(str(self.train_data.records[place].image_path) for place in proven)
        text = telling.discarded(self.step, figures, images, spoilers)
        self.tell("discarded step", text, images=spoilers or images, losses=figures.losses, replay=replay)
        self.troubles, aside = after_discarded_step(self.troubles, suspects, self.recipe.recovery)
        for place in aside:
            self.supply.put_aside([place], "was part of several steps whose loss was spoilt")

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
        return _GoBackError(
            content, kind, text, self.step, micro_batch_size, self.names_set_aside(), troubles
        )

    def take_up_again(self, back: _GoBackError, attempt: int) -> None:
        """Go on from an earlier state: the log is cut back to it, what was mended since stays told."""
        cut = self.events.rewind(back.content["events_bytes"] if back.content else 0)
        self.announce(attempt)
        for event in cut:
            if isinstance(event, RecoveryEvent):
                self.events.append(event)
        self.set_aside_again(back.set_aside)
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
            return telling.no_room(self.step, self.recipe.model, None)

        def attempt(share: float) -> None:
            set_input_size(self.detector, self.recipe.model, int(share * self.recipe.model.input_min_size))
            self.stepper.run(batch)

        self.optimizer.zero_grad(set_to_none=True)
        share = largest_share_that_fits(attempt, self.device)
        return telling.no_room(self.step, self.recipe.model, share)

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
            memory_bytes=peak_memory_bytes(self.device),
        )
        self.events.append(event)
        log.info("%s", telling.describe_epoch(event, self.recipe.training.epochs))
        self.loss_sum, self.num_summed = 0.0, 0
        self.num_measured += 1
        if self.preview_images:
            self.draw_previews(epoch, measured)

    def draw_previews(self, epoch: int, measured: Measured) -> None:
        self.events.append(PhaseEvent(phase="drawing", epoch=epoch))
        self.events.append(make_previews(
            self.run_dir, epoch, self.measurer.data.records, measured.validation, self.preview_images,
            self.class_names, self.recipe.previews.score_threshold,
        ))

    def save_best(self, epoch: int, measured: Measured) -> None:
        path = self.run_dir.best_checkpoint
        found = measured_content(
            self.measurer.data.records, measured.validation, self.class_names, run_id=self.run_dir.run_id,
            split="val", epoch=epoch,
        )
        thresholds = thresholds_in(found)  # for whom the file alone is given
        averaged = self.average is not None and measured.weights == "averaged"
        with self.average.swapped_in(self.detector.network) if averaged and self.average else contextlib.nullcontext():
            content = {"model": self.detector.network.state_dict(), "epoch": epoch, "best": self.best.as_dict()}
            content |= {"weights": measured.weights, "thresholds": thresholds and msgspec.structs.asdict(thresholds)}
            save_checkpoint(path, {**content, **self.identity()}, keep_previous=False)
        save_measured(EvaluationFiles.of_run(self.run_dir, "val"), found)
        self.events.append(
            CheckpointEvent(kind="best", path=self.run_dir.relative(path), epoch=epoch, step=self.step - 1)
        )

    def tell_progress(self, epoch: int) -> Callable[[int, int], None]:
        return telling.progress_teller(self.events, epoch, self.heartbeat)

"""What a run carries from step to step: data, model, optimizer, memories, and what resuming needs of them.

Everything that can't be derived from the recipe and the step is in `RunState.state`; a resumed run that
restores it goes on as if it had never been interrupted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch

from engine.annotations import ImageRecord, codes, read_split
from engine.data.dataset import DetectionDataset
from engine.data.loading import BatchStream, pick_num_workers
from engine.data.order import EpochOrder, repeat_factors
from engine.errors import DataError, Problem
from engine.evaluation.previews import pick_preview_images
from engine.events import EventLog, MessageEvent, PhaseEvent, RecoveryEvent
from engine.events import Recovery as Kind
from engine.machine import num_cores
from engine.models import build_detector
from engine.models.checkpoint import Content, save_checkpoint
from engine.models.detector import pick_device
from engine.models.precision import pick_precision
from engine.models.speed import prepared
from engine.recipe.schema import Recipe
from engine.rundir import RunDir
from engine.training import telling
from engine.training.best import BestSoFar
from engine.training.ema import WeightAverage
from engine.training.measure import Measurer
from engine.training.optim import build_optimizer
from engine.training.precision import make_scaler
from engine.training.recovery import Troubles, num_may_be_set_aside
from engine.training.schedule import Plateau
from engine.training.starvation import Starvation, Supplied
from engine.training.step import Stepper
from engine.training.supply import Pace, Supply

log = logging.getLogger(__name__)

# What may go missing between the check and the start: files, never what they mean.
_LOST_FILES = (
    codes.ANNOTATION_MISSING, codes.IMAGE_MISSING, codes.IMAGE_UNREADABLE, codes.ANNOTATION_UNREADABLE,
)
_FILE_POLICIES = ("missing_annotations", "missing_images", "unreadable_images", "unreadable_annotations")


class RunState:
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

        (train_records, lost), (val_records, lost_val) = _read("train", recipe), _read("val", recipe)
        seed, batch_size = recipe.training.seed, recipe.training.batch_size
        assert batch_size != "auto"  # resolved before a run is queued
        self.batch_size: int = batch_size
        self.train_data = DetectionDataset(train_records, recipe.augmentation, seed, recipe.training.epochs)
        threshold = recipe.training.repeat_threshold
        factors = repeat_factors(train_records, len(self.class_names), threshold) if threshold else None
        order = EpochOrder(len(train_records), self.batch_size, seed, factors)
        num_workers = pick_num_workers(recipe.hardware.num_workers, self.device)
        self.pace, self.starvation = Pace(recipe.recovery), Starvation()
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
        built = build_detector(recipe.model, self.class_names, state)
        self.detector = prepared(built, recipe.hardware, self.device, self.warn)
        self.optimizer = build_optimizer(self.detector, recipe.optimizer, fused=recipe.hardware.fused_optimizer)
        self.precision = pick_precision(recipe.hardware.precision, self.device)
        self.scaler = make_scaler(self.precision, self.device)
        decay = recipe.training.ema_decay
        self.average = WeightAverage(self.detector.network, decay) if decay else None
        sizes = (micro_batch_size, recipe.training.micro_batch_size, self.batch_size)
        self.stepper = Stepper(
            self.detector, self.optimizer, self.scaler, device=self.device, precision=self.precision,
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

        for problem in [*lost, *lost_val]:
            self.tell("set aside", f"{problem.where}: {problem.found}; the run goes without it since the check")
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
        """Everything that a checkpoint holds."""
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
            "set_aside": self.names_set_aside(),
            "steps_per_epoch": self.steps_per_epoch,
            "micro_batch_size": self.stepper.micro_batch_size,
            "measure_batch_size": self.measurer.batch_size,
            "elapsed_s": self.elapsed_s,
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            "events_bytes": self.events.sync(),
            **self.identity(),
        }

    def restore(self, state: Content) -> None:
        """Go on from what `state` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        if self.average and state.get("average"):
            self.average.load_state_dict(state["average"])
        self.step, self.loss_sum = self._same_place(state), state["loss_sum"]
        self.best = BestSoFar(**state["best"])
        # What the first version did not keep yet has its value at that version's only places to save.
        self.num_summed = state.get("num_summed", self.step % self.steps_per_epoch)
        self.num_measured = state.get("num_measured", self.epoch)
        self.plateau = Plateau(**state.get("plateau", {}))
        self.troubles = Troubles.from_dict(state["troubles"]) if "troubles" in state else Troubles()
        self.set_aside_again(state.get("set_aside", ()))
        self.stepper.micro_batch_size = min(self.stepper.micro_batch_size, state.get("micro_batch_size", 1024))
        self.measurer.shrink_to(state.get("measure_batch_size", 1024))
        self._elapsed_before_s = state["elapsed_s"]
        torch.set_rng_state(state["torch_random"])
        if state["cuda_random"]:
            torch.cuda.set_rng_state_all(state["cuda_random"])

    def names_set_aside(self) -> list[str]:
        """The images set aside, by name: a place is another image's once a file has gone from the folder."""
        return sorted(str(self.train_data.records[place].image_path) for place in self.supply.set_aside)

    def set_aside_again(self, names: Iterable[str]) -> None:
        """Go without these images from the start; those that are gone altogether don't matter."""
        places = {str(record.image_path): place for place, record in enumerate(self.train_data.records)}
        self.supply.set_aside.update(places[name] for name in names if name in places)

    def _same_place(self, state: Content) -> int:
        """The checkpoint's step, or its counterpart where the dataset has lost or gained images since."""
        before = state.get("steps_per_epoch", self.steps_per_epoch)
        if before == self.steps_per_epoch:
            return int(state["step"])
        epoch, done = divmod(state["step"], before)
        text = f"an epoch has {self.steps_per_epoch} steps instead of {before}, for the dataset has changed"
        self.events.append(MessageEvent(level="warning", text=text))
        return int(epoch * self.steps_per_epoch + min(done, self.steps_per_epoch - 1))

    def identity(self) -> dict[str, Any]:
        """What a checkpoint is of."""
        settings = self.recipe.model.model_dump(mode="json")  # so that the file means something without its run
        return {"arch": self.recipe.model.arch, "class_names": list(self.class_names), "model_settings": settings}

    def save_last(self, *, keep_previous: bool = True) -> None:
        """Write the checkpoint that a resumed run goes on from."""
        save_checkpoint(self.run_dir.last_checkpoint, self.state(), keep_previous=keep_previous)
        self._saved_at = time.monotonic()
        self.heartbeat()

    def save_if_due(self) -> None:
        """Save within an epoch, now and then; amid spoilt steps, what is on disk is the better way back."""
        due = time.monotonic() - self._saved_at > 60 * self.recipe.recovery.checkpoint_minutes
        if due and not self.troubles.in_a_row:
            self.save_last()

    # --- telling ---

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
        """Make known that memory ran out and fewer images are held at a time."""
        self.stream.send_when_needed()
        self.tell("out of memory", telling.halved(self.step, micro_batch_size, self.batch_size))

    def tell_of_starvation(self, epoch: int) -> None:
        """Make known that photos come too slowly, if they did in the epoch just trained."""
        supplied = Supplied.of(
            self.recipe, self.train_data.records, num_workers=self.stream.num_workers, num_cores=num_cores(),
            on_cpu=self.device.type == "cpu",
        )
        text = self.starvation.end_epoch(epoch, supplied)
        if text:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Make known what a person may want to change."""
        log.warning("%s", text)
        self.events.append(MessageEvent(level="warning", text=text))

    def announce(self, attempt: int) -> None:
        """Tell that an attempt begins, and from where."""
        self.events.append(
            telling.started(
                self.recipe, attempt=attempt, device=self.device, num_train_images=len(self.train_data),
                num_val_images=len(self.measurer.data), num_steps=self.num_steps, first_step=self.step,
            )
        )
        log.info(
            "attempt %d: %s on %s, %d training and %d validation images, %d steps of %d images", attempt,
            self.recipe.model.arch, telling.device_name(self.device), len(self.train_data), len(self.measurer.data),
            self.num_steps, self.batch_size,
        )
        if self.step:
            text = f"going on from step {self.step} of {self.num_steps}"
            self.events.append(MessageEvent(level="note", text=text))
            log.info("%s", text)

    def close(self) -> None:
        """End the loader processes."""
        self.stream.close()
        self.measurer.close()


def _read(split: Literal["train", "val"], recipe: Recipe) -> tuple[tuple[ImageRecord, ...], list[Problem]]:
    """A split's images, and what went missing since the check if that is little enough to go without."""
    found = read_split(recipe.dataset, recipe.classes, split)
    errors = [problem for problem in found.problems if problem.severity == "error"]
    lost = [problem for problem in errors if problem.code in _LOST_FILES]
    if errors:
        allowed = num_may_be_set_aside(len(found.records) + len(lost), recipe.recovery)
        if len(lost) < len(errors) or len(lost) > allowed:
            raise DataError(errors)
        lenient = recipe.dataset.model_copy(update=dict.fromkeys(_FILE_POLICIES, "skip"))
        found = read_split(lenient, recipe.classes, split)
    for problem in found.problems:
        log.info("%s", problem)
    return found.records, lost

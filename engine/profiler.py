"""Where a step's time goes, measured in a process of its own: `python -m engine.profiler RESOLVED.json --steps N`.

Everything is as in a run (data, loaders, network, optimizer: `RunState`), but the learning rate is 0 and what is
written goes to a temporary folder. The forward pass is divided by hooks on the network's modules; what a
module does beside calling those within it is its rest. Progress and the answer go to standard output, a
JSON object a line.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn
from torchvision.models.detection.faster_rcnn import FasterRCNN

from engine.allocator import in_use
from engine.data.batch import Batch
from engine.data.dataset import Draw, load_picture
from engine.devicememory import apply_memory_limit, peak_memory_bytes
from engine.errors import DataError, EngineError, Problem, Where
from engine.events import EventLog
from engine.forecast import Doing, step_pace
from engine.machine import num_cores
from engine.models.checkpoint import save_checkpoint
from engine.models.compiled import compiled_forward
from engine.models.detector import Detector, pick_device
from engine.models.speed import flush_subnormals
from engine.profile import Epoch, Loading, Profile, ProfileAnswer, with_rests
from engine.profileadvice import advise
from engine.recipe.load import read_resolved
from engine.recipe.schema import Recipe
from engine.rundir import RunDir
from engine.training.memory import is_out_of_memory
from engine.training.optim import set_lr, set_training_mode
from engine.training.precision import backward, update_weights
from engine.training.starvation import Supplied
from engine.training.state import RunState
from engine.training.telling import device_name

Tell = Callable[[str], None]

WARM_UP = 3
# What is measured of loading and evaluation takes about so long, each.
_SAMPLE_S = 4.0
_WORDS = {
    "waiting": "waiting for photos", "transfer": "photos to the device, as numbers", "forward": "forward",
    "forward/transform": "resize, normalise, put together", "forward/backbone": "backbone",
    "forward/pyramid": "feature pyramid", "forward/rpn": "proposals (RPN)", "forward/rpn/head": "convolutions",
    "forward/roi": "boxes (RoI heads)", "forward/roi/pooling": "pooling", "forward/roi/head": "layers",
    "forward/roi/predictor": "scores and boxes", "forward/head": "head", "backward": "backward",
    "optimizer": "optimizer",
}
_REST_WORDS = {
    "": "the rest", "forward/rpn": "anchors, choosing, losses", "forward/roi": "sampling, losses",
}
_CROWDED = 1.3


class Clock:
    """Adds up seconds by name; several may run within each other.

    Args:
        device: Where the work is done; one that works beside this program is waited for.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = {}

    def now(self) -> float:
        """Seconds, once the device has done what it was given."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter()

    def add(self, name: str, seconds: float) -> None:
        """So many seconds more of something."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count what is done within."""
        begun = self.now()
        yield
        self.add(name, self.now() - begun)

    def watch(self, module: nn.Module, name: str) -> list[Any]:
        """Count a module's forward passes; returns hooks to be removed."""
        begun: list[float] = []
        return [
            module.register_forward_pre_hook(lambda *_: begun.append(self.now())),
            module.register_forward_hook(lambda *_: self.add(name, self.now() - begun.pop())),
        ]


def modules_of(detector: Detector) -> dict[str, nn.Module]:
    """The modules that the forward pass is divided by."""
    network = detector.network
    found: dict[str, nn.Module] = {"forward/transform": network.transform}
    if hasattr(network.backbone, "fpn") and not compiled_forward(detector):
        found |= {"forward/backbone": network.backbone.body, "forward/pyramid": network.backbone.fpn}
    else:
        found["forward/backbone"] = network.backbone
    if not isinstance(network, FasterRCNN):
        return {**found, "forward/head": network.head}
    roi = network.roi_heads
    return {
        **found, "forward/rpn": network.rpn, "forward/rpn/head": network.rpn.head, "forward/roi": roi,
        "forward/roi/pooling": roi.box_roi_pool, "forward/roi/head": roi.box_head,
        "forward/roi/predictor": roi.box_predictor,
    }


def _rest_words(detector: Detector) -> dict[str, str]:
    """What a part does beside what is within it."""
    own = "the rest" if isinstance(detector.network, FasterRCNN) else "anchors, matching, losses"
    return {**_REST_WORDS, "forward": own}


class Profiler:
    """A recipe's training, taken apart.

    Args:
        recipe: What to profile; its batch size is a number.
        folder: For what is written; empty.
        events: Where the training tells what nobody reads.
        tell: Told what comes next.
    """

    def __init__(self, recipe: Recipe, folder: Path, events: EventLog, tell: Tell) -> None:
        tell("building the detector")
        self._recipe, self._tell = recipe, tell
        self._run_dir = RunDir(folder)
        self._state = RunState(
            recipe, self._run_dir, events, None, heartbeat=lambda: None, micro_batch_size=None
        )
        self._device = self._state.device
        set_lr(self._state.optimizer, 0.0)
        # Without fp16's scaling, whose first steps are left out until its scale suits.
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=False)

    def close(self) -> None:
        """End the loader processes."""
        self._state.close()

    def profile(self, num_steps: int) -> Profile:
        """Measure steps, loading, evaluation and writing a checkpoint.

        Raises:
            EngineError: The data aren't as the recipe says.
        """
        state, recipe, model = self._state, self._recipe, self._recipe.model
        notes = _notes_before(self._device)
        clock, steps_s = self._steps(num_steps)
        seconds = {name: value / num_steps for name, value in clock.seconds.items()}
        seconds[""] = sum(steps_s) / num_steps
        peak = peak_memory_bytes(self._device)
        loading = self._loading()
        evaluation_s, num_evaluated = self._evaluation()
        self._tell("writing a checkpoint")
        with (checkpoint := Clock(self._device)).of("writing"):
            save_checkpoint(self._run_dir.last_checkpoint, state.state())
        allocator = in_use()
        profile = Profile(
            recipe=recipe.name, arch=model.arch, device=device_name(self._device), precision=state.precision,
            allocator=allocator.name, num_threads=torch.get_num_threads(), num_cores=num_cores(),
            num_workers=state.stream.num_workers, batch_size=state.batch_size,
            micro_batch_size=state.stepper.micro_batch_size, input_size=(model.input_min_size, model.input_max_size),
            num_steps=num_steps, steps_s=tuple(steps_s),
            parts=tuple(with_rests(seconds, _WORDS, _rest_words(state.detector))),
            loading=loading,
            epoch=Epoch(
                num_steps=state.steps_per_epoch, training_s=state.steps_per_epoch * seconds[""],
                evaluation_s=evaluation_s, num_evaluated=num_evaluated, checkpoint_s=checkpoint.seconds["writing"],
            ),
            peak_bytes=peak, notes=tuple(notes),
        )
        supplied = Supplied.of(
            recipe, state.train_data.records, num_workers=profile.num_workers, num_cores=profile.num_cores,
            on_cpu=self._device.type == "cpu",
        )
        return msgspec.structs.replace(profile, advice=tuple(advise(
            profile, recipe, supplied, is_limited="OMP_NUM_THREADS" in os.environ,
        )))

    # --- steps ---

    def _steps(self, num_steps: int) -> tuple[Clock, list[float]]:
        """Seconds of each part of all measured steps, and of each step."""
        state = self._state
        clock, seconds = Clock(self._device), list[float]()
        set_training_mode(state.detector, state.optimizer, freeze_backbone=state.recipe.training.freeze_epochs > 0)
        hooks = [
            hook for name, module in modules_of(state.detector).items() for hook in clock.watch(module, name)
        ]
        waiting_since = clock.now()
        for done, batch in enumerate(self._batches(), 1):
            begun = clock.now()
            clock.add("waiting", begun - waiting_since)
            self._step(batch, clock)
            ended = clock.now()
            seconds.append(ended - waiting_since)
            warming = done < WARM_UP
            self._tell("warming up" if warming else f"step {done - WARM_UP + 1} of {num_steps}")
            if done == WARM_UP:
                clock.seconds.clear()
                seconds.clear()
            if len(seconds) == num_steps and done > WARM_UP:
                break
            waiting_since = clock.now()
        for hook in hooks:
            hook.remove()
        return clock, seconds

    def _batches(self) -> Iterator[Batch]:
        epoch = 0
        while True:
            yield from self._state.supply.batches(epoch, 0)
            epoch += 1

    def _step(self, batch: Batch, clock: Clock) -> None:
        """An optimizer step as `training.step` makes it, with a clock between its parts."""
        state = self._state
        state.optimizer.zero_grad(set_to_none=True)
        for part in batch.split(state.stepper.micro_batch_size):
            with clock.of("transfer"):
                on_device = part.to(self._device)
            with clock.of("forward"):
                losses = state.detector.losses(on_device.images, on_device.targets, state.precision)
                total = torch.stack(list(losses.values())).sum()
            with clock.of("backward"):
                backward(total * (len(part) / len(batch)), self._scaler)
        with clock.of("optimizer"):
            update_weights(state.optimizer, self._scaler, self._recipe.training.clip_grad_norm)
            if state.average:
                state.average.update(state.detector.network)

    # --- beside the steps ---

    def _loading(self) -> Loading:
        """What a photo costs, decoded and changed in this process."""
        data = self._state.train_data
        clock = Clock(torch.device("cpu"))
        count = 0
        self._tell("loading photos")
        for place in range(0, len(data), max(1, len(data) // 64)):
            try:
                with clock.of("decode"):
                    load_picture(data.records[place])
            except DataError:
                continue
            with clock.of("load"):
                data[Draw(0, place)]
            count += 1
            if sum(clock.seconds.values()) > _SAMPLE_S:
                break
        decode_s = clock.seconds.get("decode", 0.0) / max(1, count)
        load_s = clock.seconds.get("load", 0.0) / max(1, count)
        pixels = sum(record.width * record.height for record in data.records) / len(data)
        return Loading(
            decode_s=decode_s, augment_s=max(0.0, load_s - decode_s), num_photos=count, photo_pixels=pixels
        )

    def _evaluation(self) -> tuple[float, int]:
        """Seconds of an epoch's evaluation, reckoned from some photos of all over the split; how many they were."""
        state = self._state
        data, size = state.measurer.data, state.measurer.batch_size
        stride = max(1, len(data) // (4 * size))
        places = [place for first in range(stride) for place in range(first, len(data), stride)]
        clock = Clock(self._device)
        done = 0
        while done < len(places) and sum(clock.seconds.values()) < _SAMPLE_S:
            self._tell("evaluating photos")
            with clock.of("load"):
                batch = Batch([data[Draw(0, place)] for place in places[done : done + size]])
            with clock.of("detect"):
                on_device = batch.to(self._device)
                state.detector.detect_with_losses(on_device.images, on_device.targets)
            done += size
        done = min(done, len(places))
        pace = step_pace(
            clock.seconds.get("detect", 0.0), clock.seconds.get("load", 0.0), num_workers=state.stream.num_workers,
            num_cores=num_cores(), shared_cores=self._device.type == "cpu",
        )
        passes = 2 if state.average else 1
        return passes * pace * len(data) / max(1, done), done


def _notes_before(device: torch.device) -> list[str]:
    notes = []
    load, cores = os.getloadavg()[0], num_cores()
    if load > _CROWDED * cores:
        notes.append(
            f"other programs keep this machine busy (load {load:.1f} on {cores} cores): "
            "shares are right, seconds are too many"
        )
    if device.type != "cpu":
        notes.append("each part is waited for, so a step takes a little longer than in training")
    return notes


def run(recipe: Recipe, num_steps: int, tell: Tell) -> ProfileAnswer:
    """Profile a recipe in a temporary folder.

    Raises:
        EngineError: Data, weights or device aren't as the recipe says.
    """
    with tempfile.TemporaryDirectory(prefix="engine-profile-") as folder:
        run_dir = RunDir(Path(folder))
        device = pick_device(recipe.hardware.device)
        apply_memory_limit(recipe.hardware.memory_limit_gb, device)
        with EventLog(run_dir.events) as events, closing(Profiler(recipe, Path(folder), events, tell)) as profiler:
            return ProfileAnswer(profile=profiler.profile(num_steps))


def main() -> int:
    """Profile; the exit code is 0 whenever there is an answer."""
    parser = argparse.ArgumentParser(prog="engine.profiler")
    parser.add_argument("resolved", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    arguments = parser.parse_args()
    flush_subnormals()
    news = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints is no news
    tell: Tell = lambda words: _write(news, Doing(words=words))  # noqa: E731
    try:
        answer = run(read_resolved(arguments.resolved), arguments.steps, tell)
    except EngineError as error:
        answer = ProfileAnswer(problems=tuple(error.problems))
    except Exception as error:  # noqa: BLE001 - told as a problem; the traceback is beside it
        traceback.print_exception(error)
        answer = ProfileAnswer(problems=(_crashed(error),))
    _write(news, answer)
    return 0


def _write(news: Any, message: Doing | ProfileAnswer) -> None:
    news.write(msgspec.json.encode(message) + b"\n")


def _crashed(error: Exception) -> Problem:
    words = (str(error).strip().splitlines() or [""])[0]
    if is_out_of_memory(error):
        fix = "lower training.batch_size, or set training.micro_batch_size; `engine run` finds what fits"
        return Problem("T301", Where(), f"out of memory: {words}", fix)
    fix = "see what was printed above it; if the recipe is right this is a fault of engine"
    return Problem("T302", Where(), f"{type(error).__name__}: {words}", fix)


if __name__ == "__main__":
    sys.exit(main())

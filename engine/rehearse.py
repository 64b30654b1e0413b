"""One recipe rehearsed in one process: `python -m engine.rehearse RESOLVED.json`.

Builds the detector, takes real steps with the dataset's worst batch and with typical ones, evaluates, takes the
first steps of this recipe and of those that share its rehearsal at their learning rates, and tells what it is
at and how it ended on standard output, a JSON object a line. Everything it
learns is thrown away; it writes no file. Its standard input is a lifeline: it ends when that closes.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec

from engine.catalogue import ARCHS
from engine.devicememory import peak_memory_bytes
from engine.errors import EngineError, Problem, Where
from engine.forecast import Answer, Doing, Figures
from engine.models.speed import flush_subnormals
from engine.recipe.load import read_resolved
from engine.recipe.schema import Recipe, Training
from engine.training.memory import is_out_of_memory, largest_share_that_fits
from engine.trial import Tell, Trial

# Share of what is available that "auto" fills in the worst case.
_FILL = 0.8
# From this share on a peak is close enough to the limit to be told.
_CLOSE = 0.9
# A batch twice as large must do at least this many times the images a second to be worth its memory on a CPU.
_WORTH = 1.1
# The schema's default batch size.
_ALWAYS_WORTH = 4


def main() -> int:
    """Rehearse; the exit code is 0 whenever there is an answer."""
    parser = argparse.ArgumentParser(prog="engine.rehearse")
    parser.add_argument("resolved", type=Path)
    parser.add_argument("--most-images", type=int, help="images in memory at a time, at most")
    parser.add_argument("--search-size", action="store_true", help="look for an input size at which one image fits")
    parser.add_argument("--sharing", type=Path, nargs="*", default=[], help="recipes that differ in their first steps")
    arguments = parser.parse_args()
    flush_subnormals()
    faulthandler.enable()
    _end_with_parent()
    news = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints is no news
    tell: Tell = lambda doing: _write(news, doing)  # noqa: E731
    try:
        recipe = read_resolved(arguments.resolved)
        if arguments.search_size:
            answer = search_size(recipe, tell)
        else:
            sharing = [read_resolved(path) for path in arguments.sharing]
            answer = rehearse(recipe, tell, arguments.most_images, sharing)
    except EngineError as error:
        answer = Answer(problems=tuple(error.problems))
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is what a rehearsal is for
        traceback.print_exception(error)
        answer = _crashed(error)
    _write(news, answer)
    return 0


def _write(news: object, message: Doing | Answer) -> None:
    news.write(msgspec.json.encode(message) + b"\n")  # type: ignore[attr-defined]


def _end_with_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the parent's to judge

    def watch_lifeline() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        os._exit(1)

    threading.Thread(target=watch_lifeline, daemon=True, name="lifeline").start()


def _crashed(error: Exception) -> Answer:
    words = (str(error).strip().splitlines() or [""])[0]
    if is_out_of_memory(error):
        found = f"memory doesn't suffice to begin with: {words}"
        return Answer(problems=(Problem("T301", Where(), found, "end other programs, or take a smaller model.arch"),),
                      out_of_memory=True)
    fix = "see what was printed above it; if the recipe is right this is a fault of engine"
    return Answer(problems=(Problem("T302", Where(), f"{type(error).__name__}: {words}", fix),))


def rehearse(
    recipe: Recipe, tell: Tell, most_images: int | None = None, sharing: Sequence[Recipe] = ()
) -> Answer:
    """Take a recipe's steps.

    Args:
        recipe: As it would be queued; its batch size may still be "auto".
        tell: Told what comes next.
        most_images: Images in memory at a time, if no more are to be tried.
        sharing: Recipes that differ from it in nothing but what first steps at their learning rates depend on.

    Raises:
        EngineError: Data, weights or device aren't as the recipe says.
        Exception: Whatever torch raises, lack of memory included.
    """
    trial = Trial(recipe, tell)
    training = recipe.training
    if training.batch_size == "auto":
        batch_size = _auto_batch_size(trial, most_images)
        micro = min(batch_size, training.micro_batch_size or batch_size)
    else:
        batch_size = training.batch_size
        micro = training.micro_batch_size or batch_size
        micro = min(micro, most_images or micro)
    figures = trial.figures(batch_size, micro)
    problems = _notes(trial, figures)
    if trial.not_finite:  # without any learning rate
        return Answer(figures=figures, problems=problems)
    openings = trial.openings(figures.batch_size, figures.micro_batch_size)
    of_runs = openings.problems([recipe, *sharing], lambda words: tell(Doing(words=words)))
    return Answer(figures=figures, problems=problems, of_runs=of_runs)


# --- batch_size = "auto" ---


@dataclass(frozen=True, slots=True)
class Tried:
    """How a batch size did in the worst case; with 0 images, the detector alone."""

    num_images: int
    peak_bytes: int
    images_per_s: float = 0.0


def _auto_batch_size(trial: Trial, most_images: int | None) -> int:
    """The batch size that "auto" means."""
    most = most_batch_size(trial.device.type, len(trial.train_data))
    most = min(most, most_images or most)
    budget = int(_FILL * trial.available_bytes)
    tried = [Tried(0, trial.base_bytes)]
    while (num_images := next_to_try(tried, budget, most, on_cpu=trial.device.type == "cpu")) is not None:
        seconds = trial.strain(num_images, num_images)
        tried.append(Tried(num_images, peak_memory_bytes(trial.device), num_images / max(seconds, 1e-9)))
    return chosen_batch_size(tried, budget, on_cpu=trial.device.type == "cpu")


def most_batch_size(device_type: str, num_train_images: int) -> int:
    """The greatest batch size that "auto" looks at.

    On a CPU more than 16 images are never quicker; beyond 64 the published learning rates and schedules
    no longer fit. And an epoch keeps at least eight steps where the dataset has any: fewer teach little.
    """
    most = 16 if device_type == "cpu" else 64
    return max(1, min(most, num_train_images, max(_ALWAYS_WORTH, num_train_images // 8)))


def next_to_try(tried: Sequence[Tried], budget: int, most: int, *, on_cpu: bool) -> int | None:
    """Twice the images of the last try, if they should fit and may pay; None to stop.

    Memory grows by the image, so the next peak is foretold from the last two.
    """
    last = tried[-1]
    num_images = max(1, 2 * last.num_images)
    if num_images == 1:
        return 1
    before = tried[-2]
    each = (last.peak_bytes - before.peak_bytes) / (last.num_images - before.num_images)
    foretold = last.peak_bytes + each * (num_images - last.num_images)
    if num_images > most or last.peak_bytes > budget or foretold > budget:
        return None
    return None if on_cpu and not _paid(before, last) else num_images


def chosen_batch_size(tried: Sequence[Tried], budget: int, *, on_cpu: bool) -> int:
    """The largest batch size that fits and was worth it; 1 at least, for that has run."""
    chosen = 0
    for before, this in pairwise(tried):
        if chosen and (this.peak_bytes > budget or (on_cpu and not _paid(before, this))):
            break
        chosen = this.num_images
    return chosen


def _paid(before: Tried, this: Tried) -> bool:
    # Up to the usual size a batch is worth it anyway: smaller ones make for noisy steps.
    return this.num_images <= _ALWAYS_WORTH or this.images_per_s >= _WORTH * before.images_per_s


# --- what a person is told ---


def search_size(recipe: Recipe, tell: Tell) -> Answer:
    """Not even one image fits: look for an input size at which one does, and say so.

    Raises:
        EngineError: Data, weights or device aren't as the recipe says.
    """
    trial = Trial(recipe, tell)
    width, height = trial.size_at(1.0)
    share = None
    if not ARCHS[trial.model.arch].fixed_size:
        share = largest_share_that_fits(trial.strain_at, trial.device)
    images = ", ".join(trial.worst_images())
    room = f"{trial.available_bytes / 1e9:.1f} GB"
    size = f"{width} px" if width == height else f"{width} to {height} px"
    found = f"out of memory: not even one image at a time fits in {room} at {size} ({images})"
    if share is None:
        fix = "end other programs, raise hardware.memory_limit_gb if it is set, or take a smaller model.arch"
    else:
        low, high = trial.size_at(share)
        fix = f"set model.min_size = {low} and model.max_size = {high}, at which it fits; or free memory"
    return Answer(problems=(Problem("T301", Where(), found, fix),), out_of_memory=True)


def _notes(trial: Trial, figures: Figures) -> tuple[Problem, ...]:
    return (*_not_finite(trial), *_batch_notes(trial.recipe.training, figures), *_close_to_limit(figures))


def _not_finite(trial: Trial) -> Iterator[Problem]:
    if trial.not_finite:
        every = len(trial.not_finite) == trial.num_steps
        which = "every batch" if every else f"{len(trial.not_finite)} of {trial.num_steps} batches"
        found = f"the loss is no number before anything is learnt, in {which}; images: {', '.join(trial.not_finite[0])}"
        fix = "look at these images' boxes (`engine check`), at model.weights, and try hardware.precision = \"fp32\""
        yield Problem("T303", Where(), found, fix, "error" if every else "warning")


def _batch_notes(training: Training, figures: Figures) -> Iterator[Problem]:
    wanted = training.micro_batch_size or figures.batch_size
    if training.batch_size == "auto":
        found = f'batch_size = "auto" became {figures.batch_size} (peak {figures.peak_bytes / 1e9:.1f} GB of '
        found += f"{figures.available_bytes / 1e9:.1f} GB in the worst case)"
        yield Problem("T306", Where(item="training.batch_size"), found, "nothing to do; the run keeps it", "note")
    if figures.micro_batch_size < wanted:
        found = f"{wanted} images at a time don't fit in memory; the run takes {figures.micro_batch_size} at a time"
        fix = f"nothing to do: gradients add up to batches of {figures.batch_size}; batch norms see fewer images"
        yield Problem("T305", Where(item="training.micro_batch_size"), found, fix, "warning")


def _close_to_limit(figures: Figures) -> Iterator[Problem]:
    if figures.peak_bytes > _CLOSE * figures.available_bytes:
        found = f"the worst batch takes {figures.peak_bytes / 1e9:.1f} GB of the {figures.available_bytes / 1e9:.1f} GB"
        fix = f"end other programs, or set training.micro_batch_size = {max(1, figures.micro_batch_size // 2)}"
        yield Problem("T304", Where(), f"{found} available", fix, "warning")


if __name__ == "__main__":
    sys.exit(main())

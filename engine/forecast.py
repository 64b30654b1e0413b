"""How long runs will take, and when the queue will be done: arithmetic on what a rehearsal measured.

Pure but for `read_forecast`. Times of the clock are seconds since 1970, durations are seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engine.errors import Problem
from engine.rundir import open_regular

if TYPE_CHECKING:  # `engine queue` reads forecasts, and has no time to load all that recipes need
    from engine.recipe.schema import Recipe

# Drawing a preview: the picture is read again, drawn on and written.
_PREVIEW_S = 0.1
# A checkpoint is written and its checksum computed.
_CHECKPOINT_BYTES_PER_S = 200e6
# The best model is kept as often as it improves; at first every epoch, later seldom.
_BEST_SHARE = 0.5
_DAY_S = 86_400


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a rehearsal measured, on this machine and with the dataset's own images."""

    device: str
    batch_size: int
    micro_batch_size: int
    """Images in memory at a time."""
    startup_s: float
    """From the start of the process to the first step."""
    step_s: float
    """An optimizer step with typical images, their loading included."""
    evaluate_image_s: float
    peak_bytes: int
    """The most memory held in the worst step: the whole process's on a CPU, torch's own on a GPU."""
    available_bytes: int
    """What the run could have had then."""
    num_train_images: int
    """Images that an epoch brings, repeated ones counted as often as they come."""
    num_val_images: int
    model_bytes: int = 0
    state_bytes: int = 0
    """Size of a checkpoint to go on from."""


class Doing(msgspec.Struct, frozen=True, kw_only=True, tag="doing"):
    """What a rehearsal is at: told before it begins, so that a crash can be told by it."""

    words: str
    micro_batch_size: int = 0
    images: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """How a rehearsal ended: figures, or an error among the problems."""

    figures: Figures | None = None
    problems: tuple[Problem, ...] = ()
    of_runs: tuple[tuple[Problem, ...], ...] = ()
    """What concerns single ones of the recipes that share the rehearsal, in their order; may be empty."""
    out_of_memory: bool = False
    """The error is that memory didn't suffice."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """A run's forecast, as kept in its folder."""

    figures: Figures
    num_epochs: int
    run_s: float
    """Seconds for all epochs, start included."""
    may_end_early: bool
    rehearsed_at: float


def forecast_run(figures: Figures, recipe: Recipe, rehearsed_at: float) -> Forecast:
    """What a recipe's run will take at most, by the figures of its rehearsal."""
    steps = figures.num_train_images / figures.batch_size  # the last one of an epoch may be smaller
    written = figures.state_bytes + _BEST_SHARE * figures.model_bytes
    epoch_s = (
        steps * figures.step_s
        + figures.num_val_images * figures.evaluate_image_s
        + min(recipe.previews.num_images, figures.num_val_images) * _PREVIEW_S
        + written / _CHECKPOINT_BYTES_PER_S
    )
    epochs = recipe.training.epochs
    return Forecast(
        figures=figures, num_epochs=epochs, run_s=figures.startup_s + epochs * epoch_s,
        may_end_early=recipe.early_stopping is not None, rehearsed_at=rehearsed_at,
    )


def step_pace(compute_s: float, load_s: float, *, num_workers: int, num_cores: int, shared_cores: bool) -> float:
    """Seconds a step once loaders work beside it.

    Args:
        compute_s: A step on images that are there.
        load_s: Loading its images, by one process.
        num_workers: Loader processes; with 0 the training loads by itself.
        num_cores: Cores of this machine.
        shared_cores: Whether the training computes on them too.
    """
    if num_workers == 0:
        return compute_s + load_s
    if shared_cores:
        compute_s += load_s / num_cores
    return max(compute_s, load_s / num_workers)


# --- the queue ---


@dataclass(frozen=True, slots=True)
class Waiting:
    """An unfinished run, as far as its end depends on it.

    Attributes:
        run: The run's id.
        number: Its number; among equal positions the lower goes first.
        left_s: Seconds it should still take; None where nobody knows.
        active: Whether it is being worked on now.
        priority: Higher goes first.
        position: Among equal priorities the lower goes first.
        not_before: When it may start; None for at once.
        may_end_early: Whether it may stop before its last epoch.
    """

    run: str
    number: int
    left_s: float | None
    active: bool = False
    priority: int = 0
    position: float = 0.0
    not_before: float | None = None
    may_end_early: bool = False


@dataclass(frozen=True, slots=True)
class QueueForecast:
    """When each run should be done, and the queue.

    Attributes:
        done_at: Run -> when, None where it depends on a run that nobody can foretell.
        at_the_latest: The runs that may be done sooner, because they or one before them may stop early.
    """

    done_at: dict[str, float | None]
    at_the_latest: frozenset[str] = frozenset()

    @property
    def queue_done_at(self) -> float | None:
        """When the last run is done; None if that can't be told, or nothing is to be done."""
        ends = list(self.done_at.values())
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) else None


def forecast_queue(runs: Sequence[Waiting], now: float, num_places: int = 1) -> QueueForecast:
    """Play the queue through, the way runs are claimed.

    Args:
        runs: Every run that is active or queued, in any order.
        now: The time.
        num_places: Runs that are worked on side by side.
    """
    free_at: list[float | None] = [now] * max(1, num_places)  # when each place is free; None if that isn't known
    early = False
    done_at: dict[str, float | None] = {}
    at_the_latest: set[str] = set()
    waiting = sorted(runs, key=lambda run: (not run.active, -run.priority, run.position, run.number))
    while waiting:
        place = min(range(len(free_at)), key=lambda index: _or_never(free_at[index]))
        clock = free_at[place]
        run = _next(waiting, clock)
        waiting.remove(run)
        if clock is not None and not run.active:
            clock = max(clock, run.not_before or 0)
        end = None if clock is None or run.left_s is None else clock + run.left_s
        free_at[place] = done_at[run.run] = end
        early |= run.may_end_early
        if early:
            at_the_latest.add(run.run)
    return QueueForecast(done_at, frozenset(at_the_latest))


def _or_never(when: float | None) -> float:
    return math.inf if when is None else when


def _next(waiting: Sequence[Waiting], clock: float | None) -> Waiting:
    """The run that is claimed next; `waiting` is in the order of the queue."""
    ready = [run for run in waiting if run.active or clock is None or (run.not_before or 0) <= clock]
    return ready[0] if ready else min(waiting, key=lambda run: run.not_before or 0)


def left_of(forecast: Forecast | None, *, fraction: float = 0.0, eta_s: float | None = None) -> float | None:
    """Seconds that a run should still take.

    Args:
        forecast: Its forecast, where there is one.
        fraction: Share of its steps done, in [0, 1].
        eta_s: What its own latest steps say; believed sooner than the rehearsal.
    """
    if eta_s is not None:
        return eta_s
    if forecast is None:
        return None
    figures = forecast.figures
    return figures.startup_s + (forecast.run_s - figures.startup_s) * (1 - fraction)


# --- words ---


def clock_words(when: float, now: float) -> str:
    """A time of the clock for people, in local time: "23:40", "Tue 02:10", "12 Dec 02:10"; to 5 minutes when far."""
    if when - now > 3600:
        when = round(when / 300) * 300
    then, today = datetime.fromtimestamp(when).astimezone(), datetime.fromtimestamp(now).astimezone()
    if then.date() == today.date():
        return f"{then:%H:%M}"
    if when - now < 6 * _DAY_S:
        return f"{then:%a %H:%M}"
    return f"{then.day} {then:%b %H:%M}"


# --- files ---


def forecast_bytes(forecast: Forecast) -> bytes:
    """A forecast as kept in a run's folder."""
    return msgspec.json.encode(forecast) + b"\n"


def read_forecast(path: Path) -> Forecast | None:
    """What `forecast_bytes` wrote; None where there is none, or none that can be read."""
    try:
        with open_regular(path) as file:
            return msgspec.json.decode(file.read(), type=Forecast)
    except (OSError, msgspec.MsgspecError):
        return None

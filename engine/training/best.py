"""Which epoch is the best so far, and whether it is time to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from engine.recipe.schema import Metric, Recipe


@dataclass(frozen=True, slots=True)
class BestSoFar:
    """The memory behind keeping the best model and stopping early.

    Attributes:
        value: Best value of the metric that decides; None before anything was measured.
        epoch: Zero-based epoch it was reached in.
        watched: Best value that early stopping counts; differs from `value` by `min_delta`.
        epochs_without: Epochs since early stopping last saw an improvement.
    """

    value: float | None = None
    epoch: int | None = None
    watched: float | None = None
    epochs_without: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint; `BestSoFar(**values)` reads them back."""
        return asdict(self)


def best_metric(recipe: Recipe) -> Metric:
    """The metric that decides which weights are kept."""
    if recipe.evaluation.best_metric != "auto":
        return recipe.evaluation.best_metric
    return recipe.early_stopping.metric if recipe.early_stopping else "ap"


def improves(metric: Metric, value: float | None, over: float | None, by: float = 0.0) -> bool:
    """Whether a value is better than another by more than a margin; anything beats None or not a number."""
    if value is None or math.isnan(value):
        return False
    if over is None or math.isnan(over):
        return True
    return value < over - by if metric == "val_loss" else value > over + by


def update(
    best: BestSoFar, recipe: Recipe, epoch: int, values: Mapping[Metric, float | None]
) -> tuple[BestSoFar, bool]:
    """The memory after an epoch, and whether that epoch is the best.

    The very first epoch counts as best even when nothing could be measured, so that there is a model.

    Args:
        best: Before the epoch.
        recipe: Whose metrics decide.
        epoch: Zero-based.
        values: What was measured.
    """
    metric = best_metric(recipe)
    is_best = best.epoch is None or improves(metric, values[metric], best.value)
    if is_best:
        best = replace(best, value=values[metric], epoch=epoch)
    stopping = recipe.early_stopping
    if stopping is None:
        return best, is_best
    watched = values[stopping.metric]
    if improves(stopping.metric, watched, best.watched, stopping.min_delta):
        return replace(best, watched=watched, epochs_without=0), is_best
    return replace(best, epochs_without=best.epochs_without + 1), is_best


def should_stop_early(best: BestSoFar, recipe: Recipe) -> bool:
    """Whether early stopping's patience is at its end."""
    return recipe.early_stopping is not None and best.epochs_without >= recipe.early_stopping.patience

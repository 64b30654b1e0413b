"""Which trackers there are, whether they are installed, and making them."""

from __future__ import annotations

from importlib.util import find_spec

from engine.errors import Problem, Where
from engine.tracking.facts import Wishes
from engine.tracking.follow import Tracker

# What is imported for each, and what `pip install` calls it.
PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}


def missing_packages(wishes: Wishes) -> list[str]:
    """The trackers that are asked for and aren't installed."""
    asked = {"tensorboard": wishes.tensorboard, "mlflow": bool(wishes.mlflow), "wandb": bool(wishes.wandb)}
    return [name for name, wanted in asked.items() if wanted and find_spec(PACKAGES[name]) is None]


def tracker_missing(name: str, where: Where) -> Problem:
    """That a tracker isn't installed."""
    fix = f"`pip install {PACKAGES[name]}`, or leave it out"
    return Problem("E111", where, f"{name} is asked for and isn't installed", fix)


def make_trackers(wishes: Wishes) -> list[Tracker]:
    """The trackers that are asked for.

    Raises:
        ImportError: One isn't installed.
    """
    trackers: list[Tracker] = []
    if wishes.tensorboard:
        from engine.tracking.to_tensorboard import TensorBoard  # noqa: PLC0415 - an optional extra

        trackers.append(TensorBoard())
    if wishes.mlflow:
        from engine.tracking.to_mlflow import MLflow  # noqa: PLC0415 - an optional extra

        trackers.append(MLflow(wishes.mlflow))
    if wishes.wandb:
        from engine.tracking.to_wandb import WeightsAndBiases  # noqa: PLC0415 - an optional extra

        trackers.append(WeightsAndBiases("online" if wishes.wandb == "online" else "offline"))
    return trackers

"""What trackers are told of a run: names and values, the same for all of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.events import EpochEvent, StepEvent
from engine.rundir import RunDir

PROJECT = "engine"
# Characters that every tracker takes in a name.
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_\-. /]")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run as trackers show it.

    Attributes:
        run_dir: Its folder.
        settings: Its recipe, flat: "optimizer.lr" -> 0.005.
        project: MLflow's experiment, W&B's project.
    """

    run_dir: RunDir
    settings: Mapping[str, Any] = field(default_factory=dict)
    project: str = PROJECT

    @property
    def recipe_text(self) -> str:
        """The recipe to the letter."""
        try:
            return self.run_dir.recipe.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


@dataclass(frozen=True, slots=True)
class Wishes:
    """A recipe's `[tracking]`; read without pydantic, for the supervisor asks at every start.

    Attributes:
        tensorboard: Whether TensorBoard is told.
        mlflow: Where MLflow keeps its runs; "" for not at all.
        wandb: "online" or "offline"; "" for not at all.
        project: MLflow's experiment, W&B's project.
    """

    tensorboard: bool = False
    mlflow: str = ""
    wandb: str = ""
    project: str = PROJECT

    @property
    def any(self) -> bool:
        """Whether a tracker is told at all."""
        return self.tensorboard or bool(self.mlflow) or bool(self.wandb)


def read_wishes(run_dir: RunDir) -> Wishes:
    """What a run's recipe asks for; nothing where it can't be read."""
    section = _recipe(run_dir).get("tracking")
    if not isinstance(section, dict):
        return Wishes()
    return Wishes(
        tensorboard=bool(section.get("tensorboard")), mlflow=str(section.get("mlflow") or ""),
        wandb=str(section.get("wandb") or ""), project=str(section.get("project") or PROJECT),
    )


def read_facts(run_dir: RunDir) -> RunFacts:
    """What there is to tell before the first step."""
    recipe = _recipe(run_dir)
    project = recipe.get("tracking", {}).get("project") if isinstance(recipe.get("tracking"), dict) else None
    return RunFacts(run_dir, dict(_flat(recipe)), str(project or PROJECT))


def step_values(event: StepEvent) -> dict[str, float]:
    """What is told of a step; what isn't a number is left out."""
    values = {"train/loss": event.loss, "train/lr": event.lr, "train/step_s": event.step_s}
    values |= {f"train/{name}": value for name, value in event.losses.items()}
    return _known(values)


def epoch_values(event: EpochEvent) -> dict[str, float]:
    """What is told of an epoch."""
    values = {
        "epoch": float(event.epoch + 1), "train/epoch_loss": event.train_loss, "val/loss": event.val_loss,
        "val/ap": event.ap, "val/ap50": event.ap50, "val/ap75": event.ap75, "val/ar100": event.ar100,
        "val/evaluate_s": event.evaluate_s,
    }
    # MLflow's folders can't hold "val/ap" and "val/ap/mug" both.
    values |= {f"class_ap/{name.replace('/', '_')}": value for name, value in event.ap_per_class.items()}
    return _known(values)


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    known = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
    return {_UNNAMEABLE.sub("_", name): value for name, value in known.items()}


def _recipe(run_dir: RunDir) -> dict[str, Any]:
    try:
        recipe = json.loads(run_dir.resolved.read_bytes())["recipe"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return recipe if isinstance(recipe, dict) else {}


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        elif value is not None:
            yield f"{before}{name}", value


def state_path(run_dir: RunDir, tracker: str) -> Path:
    """What a tracker was told already, so that it is told nothing twice."""
    return run_dir.path / f"tracking.{tracker}.json"

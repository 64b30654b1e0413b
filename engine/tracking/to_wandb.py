"""Weights & Biases, online or into files of the run's folder that `wandb sync` sends later."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, Literal

import wandb

from engine.events import RunEnded
from engine.tracking.facts import RunFacts


class WeightsAndBiases:
    """Tells W&B.

    Args:
        mode: "online" sends at once, "offline" keeps files.
    """

    name, keeps = "wandb", True

    def __init__(self, mode: Literal["online", "offline"]) -> None:
        self._mode = mode
        self._run: Any = None

    def begin(self, facts: RunFacts, known_as: str) -> str:
        """Go on with the run that is known already, or make one."""
        known_as = known_as or f"{facts.run_dir.run_id}-{uuid.uuid4().hex[:8]}"
        self._run = wandb.init(
            project=facts.project, id=known_as, name=facts.run_dir.run_id, dir=str(facts.run_dir.path), mode=self._mode,
            resume="allow", config=dict(facts.settings),
            settings=wandb.Settings(console="off", silent=True, disable_git=True, x_disable_stats=True),
        )
        # Steps of our own: W&B's must rise with each call, and an epoch is told after its last step.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        return known_as

    def values(self, step: int, values: dict[str, float], when: float) -> None:
        """Figures of a step."""
        self._run.log({"step": step, "time": when, **values})

    def picture(self, step: int, name: str, path: Path, when: float) -> None:
        """A picture beside the figures."""
        self._run.log({"step": step, "time": when, name: wandb.Image(str(path))})

    def flush(self) -> None:
        """W&B sends by itself."""

    def end(self, ended: RunEnded | None) -> None:
        """Say how the run ended."""
        if ended is not None:
            self._run.summary.update({"outcome": ended.outcome, "reason": ended.reason})
        self._run.finish(exit_code=1 if ended is not None and ended.outcome == "failed" else 0)

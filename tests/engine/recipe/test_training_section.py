"""What `[optimizer]` and `[schedule]` mean when keys are left out, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from engine.recipe.schema import Optimizer, Schedule


@pytest.mark.parametrize(
    ("written", "lr"),
    [
        pytest.param({}, 0.005, id="nothing"),
        pytest.param({"name": "sgd"}, 0.005, id="sgd"),
        pytest.param({"name": "adamw"}, 0.0001, id="adamw"),
        pytest.param({"name": "adamw", "lr": 0.005}, 0.005, id="adamw, told otherwise"),
        pytest.param({"name": "adamw", "momentum": 0.8}, 0.0001, id="adamw, other keys"),
    ],
)
def test_each_optimizer_has_its_own_usual_learning_rate(written: dict[str, Any], lr: float) -> None:
    assert Optimizer.model_validate(written).lr == lr


def test_the_usual_learning_rate_is_written_into_what_a_run_keeps() -> None:
    kept = Optimizer(name="adamw").model_dump()
    assert kept["lr"] == 0.0001
    assert Optimizer.model_validate(kept) == Optimizer(name="adamw")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        pytest.param({"kind": "cosine", "gamma": 0.5}, 'gamma means nothing with kind = "cosine"', id="gamma"),
        pytest.param({"kind": "step", "milestones": (3,)}, "milestones means nothing", id="milestones"),
        pytest.param({"kind": "multistep"}, "needs milestones", id="no milestones"),
        pytest.param({"kind": "multistep", "milestones": (3, 2)}, "must rise", id="milestones out of order"),
        pytest.param({"kind": "multistep", "milestones": (2, 2)}, "must rise", id="a milestone twice"),
        pytest.param({"warmup_steps": 5, "warmup_epochs": 1.0}, "both given", id="two warm-ups"),
        pytest.param({"kind": "onecycle", "warmup_steps": 5}, "its own warm-up", id="onecycle with a warm-up"),
    ],
)
def test_a_schedule_that_contradicts_itself_is_refused(written: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Schedule.model_validate(written)

"""The learning rate as torch's own schedulers give it, step by step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, StepLR

from engine.recipe.schema import Optimizer, Schedule
from engine.training.optim import build_optimizer, set_lr
from engine.training.schedule import lr_factor

STEPS_PER_EPOCH = 4
NUM_EPOCHS = 7
NUM_STEPS = STEPS_PER_EPOCH * NUM_EPOCHS


def factors(**values: Any) -> list[float]:
    schedule = Schedule(**values)
    return [
        lr_factor(step, steps_per_epoch=STEPS_PER_EPOCH, num_steps=NUM_STEPS, schedule=schedule)
        for step in range(NUM_STEPS)
    ]


def _optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def _rates(optimizer: torch.optim.Optimizer, scheduler: LRScheduler, every: int) -> list[float]:
    rates = []
    for step in range(NUM_STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % every == 0:
            scheduler.step()
    return rates


@pytest.mark.parametrize(("step_size", "gamma"), [(1, 0.5), (3, 0.1), (15, 0.1), (2, 1.0)])
def test_step_equals_torchs_step_lr(step_size: int, gamma: float) -> None:
    optimizer = _optimizer()
    expected = _rates(optimizer, StepLR(optimizer, step_size, gamma), STEPS_PER_EPOCH)
    assert factors(kind="step", step_size=step_size, gamma=gamma) == pytest.approx(expected)


def test_cosine_equals_torchs_cosine_annealing() -> None:
    optimizer = _optimizer()
    expected = _rates(optimizer, CosineAnnealingLR(optimizer, NUM_STEPS), 1)
    assert factors(kind="cosine") == pytest.approx(expected)


def test_constant_stays() -> None:
    assert factors(kind="constant") == [1.0] * NUM_STEPS


@pytest.mark.parametrize("warmup_steps", [1, 5, 100])
def test_warm_up_rises_linearly_into_the_schedule(warmup_steps: int) -> None:
    warm, plain = factors(kind="cosine", warmup_steps=warmup_steps), factors(kind="cosine")
    assert warm[0] == pytest.approx(0.001)
    shares = [one / other for one, other in zip(warm, plain, strict=True)]
    expected = [min(1.0, 0.001 + 0.999 * step / warmup_steps) for step in range(NUM_STEPS)]
    assert shares == pytest.approx(expected)


@given(
    st.sampled_from(["step", "cosine", "constant"]), st.integers(0, 10_000), st.integers(1, 100), st.integers(1, 100),
    st.integers(0, 500), st.floats(0.001, 1),
)
def test_a_factor_is_a_share(
    kind: Any, step: int, steps_per_epoch: int, epochs: int, warmup: int, gamma: float
) -> None:
    num_steps = steps_per_epoch * epochs
    schedule = Schedule(kind=kind, gamma=gamma, warmup_steps=warmup)
    factor = lr_factor(step % num_steps, steps_per_epoch=steps_per_epoch, num_steps=num_steps, schedule=schedule)
    assert 0 <= factor <= 1


# --- optimizers ---


@pytest.mark.parametrize(
    ("name", "kind", "momentum"),
    [("sgd", torch.optim.SGD, ("momentum", 0.8)), ("adamw", torch.optim.AdamW, ("betas", (0.8, 0.999)))],
    ids=["sgd", "adamw"],
)
def test_an_optimizer_is_as_the_recipe_says(name: Any, kind: type, momentum: tuple[str, object]) -> None:
    learning, frozen = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1), requires_grad=False)
    settings = Optimizer(name=name, lr=0.25, momentum=0.8, weight_decay=0.125)
    optimizer = build_optimizer([learning, frozen], settings)
    assert type(optimizer) is kind
    [group] = optimizer.param_groups
    assert group["params"] == [learning]
    assert (group["lr"], group["weight_decay"], group[momentum[0]]) == (0.25, 0.125, momentum[1])
    set_lr(optimizer, 0.5)
    assert group["lr"] == 0.5

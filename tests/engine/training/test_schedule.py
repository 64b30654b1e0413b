"""The learning rate as torch's own schedulers give it, step by step."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    StepLR,
)

from engine.recipe.schema import Metric, Recipe, Schedule
from engine.training.schedule import Plateau, lr_factor, update_plateau
from tests.builders import load_recipe, write_recipe

STEPS_PER_EPOCH = 4
NUM_EPOCHS = 7
NUM_STEPS = STEPS_PER_EPOCH * NUM_EPOCHS

KINDS = ("step", "multistep", "cosine", "linear", "polynomial", "onecycle", "plateau", "constant")


def factors(*, num_steps: int = NUM_STEPS, steps_per_epoch: int = STEPS_PER_EPOCH, **values: Any) -> list[float]:
    schedule = Schedule(**values)
    return [
        lr_factor(step, steps_per_epoch=steps_per_epoch, num_steps=num_steps, schedule=schedule)
        for step in range(num_steps)
    ]


def _optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)


def _rates(
    optimizer: torch.optim.Optimizer, scheduler: LRScheduler, every: int = 1, num_steps: int = NUM_STEPS
) -> list[float]:
    rates = []
    for step in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % every == 0 and step + 1 < num_steps:
            scheduler.step()
    return rates


@pytest.mark.parametrize(("step_size", "gamma"), [(1, 0.5), (3, 0.1), (15, 0.1), (2, 1.0)])
def test_step_equals_torchs_step_lr(step_size: int, gamma: float) -> None:
    optimizer = _optimizer()
    expected = _rates(optimizer, StepLR(optimizer, step_size, gamma), STEPS_PER_EPOCH)
    assert factors(kind="step", step_size=step_size, gamma=gamma) == pytest.approx(expected)


@pytest.mark.parametrize("milestones", [(1,), (2, 3, 6), (2, 7, 100)], ids=["first", "several", "past the end"])
def test_multistep_equals_torchs_multi_step_lr(milestones: tuple[int, ...]) -> None:
    optimizer = _optimizer()
    expected = _rates(optimizer, MultiStepLR(optimizer, list(milestones), 0.3), STEPS_PER_EPOCH)
    assert factors(kind="multistep", milestones=milestones, gamma=0.3) == pytest.approx(expected)


@pytest.mark.parametrize("num_steps", [1, 2, NUM_STEPS])
@pytest.mark.parametrize("final_factor", [0.0, 0.05, 1.0])
def test_cosine_equals_torchs_cosine_annealing(final_factor: float, num_steps: int) -> None:
    optimizer = _optimizer()
    scheduler = CosineAnnealingLR(optimizer, num_steps, eta_min=final_factor)
    expected = _rates(optimizer, scheduler, num_steps=num_steps)
    assert factors(kind="cosine", final_factor=final_factor, num_steps=num_steps) == pytest.approx(expected)


@pytest.mark.parametrize("num_steps", [1, 2, NUM_STEPS])
@pytest.mark.parametrize("final_factor", [0.0, 0.05, 1.0])
def test_linear_equals_torchs_linear_lr(final_factor: float, num_steps: int) -> None:
    optimizer = _optimizer()
    scheduler = LinearLR(optimizer, start_factor=1.0, end_factor=final_factor, total_iters=num_steps)
    expected = _rates(optimizer, scheduler, num_steps=num_steps)
    assert factors(kind="linear", final_factor=final_factor, num_steps=num_steps) == pytest.approx(expected)


@pytest.mark.parametrize("num_steps", [1, 2, NUM_STEPS])
@pytest.mark.parametrize("power", [0.9, 1.0, 2.0])
def test_polynomial_equals_torchs_polynomial_lr(power: float, num_steps: int) -> None:
    optimizer = _optimizer()
    expected = _rates(optimizer, PolynomialLR(optimizer, num_steps, power), num_steps=num_steps)
    assert factors(kind="polynomial", power=power, num_steps=num_steps) == pytest.approx(expected)


def test_polynomial_ends_where_it_is_told() -> None:
    plain, raised = factors(kind="polynomial"), factors(kind="polynomial", final_factor=0.2)
    assert raised == pytest.approx([0.2 + 0.8 * factor for factor in plain])


@pytest.mark.parametrize("num_steps", [10, NUM_STEPS, 1000])
@pytest.mark.parametrize(("peak_at", "final_factor"), [(0.3, 0.01), (0.5, 0.0), (0.11, 1.0)])
def test_onecycle_equals_torchs_one_cycle_lr(peak_at: float, final_factor: float, num_steps: int) -> None:
    optimizer = _optimizer()
    divisor = 1 / 25 / final_factor if final_factor else float("inf")
    scheduler = OneCycleLR(
        optimizer, 1.0, num_steps, pct_start=peak_at, cycle_momentum=False, final_div_factor=divisor
    )
    expected = _rates(optimizer, scheduler, num_steps=num_steps)
    found = factors(kind="onecycle", peak_at=peak_at, final_factor=final_factor, num_steps=num_steps)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_onecycle_too_short_to_rise_starts_at_its_peak(num_steps: int) -> None:
    found = factors(kind="onecycle", num_steps=num_steps, final_factor=0.1)
    assert found[0] == 1.0
    assert found[-1] == pytest.approx(1.0 if num_steps == 1 else 0.1)


def test_constant_stays() -> None:
    assert factors(kind="constant") == [1.0] * NUM_STEPS


# --- warm-up ---


@pytest.mark.parametrize("warmup_steps", [1, 5, 100], ids=["one step", "some", "longer than the run"])
def test_warm_up_equals_torchs_linear_lr(warmup_steps: int) -> None:
    optimizer = _optimizer()
    expected = _rates(optimizer, LinearLR(optimizer, start_factor=0.001, total_iters=warmup_steps))
    assert factors(kind="constant", warmup_steps=warmup_steps) == pytest.approx(expected)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "onecycle"])
def test_warm_up_rises_into_every_schedule(kind: Any) -> None:
    own = {"milestones": (2,)} if kind == "multistep" else {}
    warm, plain = factors(kind=kind, warmup_steps=5, **own), factors(kind=kind, **own)
    assert warm[0] == pytest.approx(0.001)
    shares = [one / other for one, other in zip(warm, plain, strict=True)]
    assert shares == pytest.approx([min(1.0, 0.001 + 0.999 * step / 5) for step in range(NUM_STEPS)])


@pytest.mark.parametrize(("epochs", "steps"), [(1.0, 4), (2.5, 10), (0.25, 1)])
def test_warm_up_in_epochs_is_as_in_their_steps(epochs: float, steps: int) -> None:
    assert factors(kind="cosine", warmup_epochs=epochs) == factors(kind="cosine", warmup_steps=steps)


def test_warm_up_of_part_of_a_step_is_the_first_step_alone() -> None:
    assert factors(kind="constant", warmup_epochs=0.1) == pytest.approx([0.001, *[1.0] * (NUM_STEPS - 1)])


@given(
    st.sampled_from(KINDS), st.integers(0, 10_000), st.integers(1, 100), st.integers(1, 100),
    st.integers(0, 500), st.floats(0.001, 1), st.integers(0, 20),
)
def test_a_factor_is_a_share(
    kind: Any, step: int, steps_per_epoch: int, epochs: int, warmup: int, number: float, drops: int
) -> None:
    own: dict[str, Any] = {
        "step": {"gamma": number}, "multistep": {"gamma": number, "milestones": (1, 5)}, "plateau": {"gamma": number},
        "constant": {}, "onecycle": {"peak_at": min(number, 0.99), "final_factor": number},
        "polynomial": {"power": 5 * number, "final_factor": number},
    }.get(kind, {"final_factor": number})
    schedule = Schedule(kind=kind, **own, **({} if kind == "onecycle" else {"warmup_steps": warmup}))
    factor = lr_factor(
        step, steps_per_epoch=steps_per_epoch, num_steps=steps_per_epoch * epochs, schedule=schedule, drops=drops
    )
    assert 0 <= factor <= 1  # steps past the end included


# --- reduce on plateau ---


def recipe(tmp_path: Path, metric: Metric, patience: int, gamma: float) -> Recipe:
    schedule = {"kind": "plateau", "patience": patience, "gamma": gamma}
    return load_recipe(write_recipe(tmp_path, tmp_path, schedule=schedule, evaluation={"best_metric": metric}))


def follow(recipe: Recipe, metric: Metric, values: list[float | None]) -> list[int]:
    """Drops after each epoch, the memory going through a checkpoint in between."""
    plateau, drops = Plateau(), []
    for value in values:
        others: dict[Metric, float | None] = {"ap": 0.5, "ap50": 0.5, "ap75": 0.5, "val_loss": 1.0}
        plateau = update_plateau(Plateau(**plateau.as_dict()), recipe, {**others, metric: value})
        drops.append(plateau.drops)
    return drops


@pytest.mark.parametrize("metric", ["ap", "ap50", "ap75", "val_loss"])
@pytest.mark.parametrize("patience", [1, 2, 4])
@pytest.mark.parametrize(
    "values",
    [
        pytest.param([0.1, 0.2, 0.3, 0.25, 0.31, 0.3, 0.3, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4], id="up and down"),
        pytest.param([0.5] * 14, id="flat"), pytest.param([0.05 * step for step in range(14)], id="rising"),
        pytest.param([0.9 - 0.05 * step for step in range(14)], id="falling"),
        pytest.param([float("nan"), 0.2, float("nan"), float("nan"), 0.3, 0.1], id="not a number"),
    ],
)
def test_plateau_equals_torchs_reduce_on_plateau(
    tmp_path: Path, metric: Metric, patience: int, values: list[float | None]
) -> None:
    optimizer = _optimizer()
    # Torch drops one epoch later than it has patience for.
    theirs = ReduceLROnPlateau(
        optimizer, "min" if metric == "val_loss" else "max", 0.5, patience - 1, threshold=0.0, eps=0.0
    )
    chosen = recipe(tmp_path, metric, patience, 0.5)
    for value, drops in zip(values, follow(chosen, metric, values), strict=True):
        theirs.step(value)  # type: ignore[arg-type]
        found = lr_factor(3, steps_per_epoch=1, num_steps=9, schedule=chosen.schedule, drops=drops)
        assert found == pytest.approx(optimizer.param_groups[0]["lr"])


def test_an_epoch_that_could_not_be_measured_is_none_better(tmp_path: Path) -> None:
    assert follow(recipe(tmp_path, "ap", 2, 0.5), "ap", [None, None, 0.1, None, None, 0.2]) == [0, 1, 1, 1, 2, 2]


def test_other_schedules_remember_nothing(tmp_path: Path) -> None:
    chosen = load_recipe(write_recipe(tmp_path, tmp_path))
    assert follow(chosen, "ap", [0.5] * 9) == [0] * 9


def test_patience_begins_anew_after_a_drop(tmp_path: Path) -> None:
    drops = follow(recipe(tmp_path, "val_loss", 3, 0.1), "val_loss", [1.0] * 10)
    assert [epoch for epoch, (one, other) in enumerate(itertools.pairwise(drops), 1) if other > one] == [3, 6, 9]

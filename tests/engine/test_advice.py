"""What a loss curve's shape says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from engine.advice import Curve, Shape, advise, read_curve
from engine.events import EpochEvent, RecoveryEvent
from tests.builders import measured, started, stepped

STEPS = np.arange(400)
RANDOM = np.random.default_rng(0)
NOISE = RANDOM.normal(1.0, 0.25, len(STEPS)).clip(0.3)
FALLING = (0.5 + 2.0 * np.exp(-STEPS / 60)) * NOISE


def epochs(train: Sequence[float], val: Sequence[float], aps: Sequence[float | None]) -> list[EpochEvent]:
    best = max((ap for ap in aps if ap is not None), default=None)
    return [
        measured(index, train_loss=one, val_loss=two, ap=ap, ap50=ap, best=ap is not None and ap == best)
        for index, (one, two, ap) in enumerate(zip(train, val, aps, strict=True))
    ]


PLATEAU = epochs([2, 1, 0.7, 0.6, 0.55, 0.52, 0.51, 0.5], [2, 1.2, 0.9, 0.8, 0.8, 0.8, 0.81, 0.8],
                 [0.1, 0.3, 0.4, 0.45, 0.46, 0.46, 0.46, 0.46])
BY_HEART = epochs([2, 1, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2], [2, 1.2, 0.9, 0.8, 0.85, 0.95, 1.1, 1.2],
                  [0.1, 0.3, 0.4, 0.45, 0.44, 0.43, 0.42, 0.41])
SURER = epochs([2, 1, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2], [2, 1.2, 0.9, 0.8, 0.85, 0.95, 1.1, 1.2],
               [0.1, 0.3, 0.4, 0.45, 0.455, 0.456, 0.457, 0.458])
CLIMBING = epochs([2, 1, 0.9, 0.8, 0.7, 0.65, 0.6, 0.55], [2, 1.2, 1, 0.9, 0.85, 0.8, 0.75, 0.7],
                  [0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5])
JUMPY = np.where((STEPS // 20) % 2 == 0, 3.0, 1.0) * NOISE
SPIKY = np.where(STEPS % 20 == 7, 30.0, FALLING)


@pytest.mark.parametrize(
    ("losses", "measurements", "shape"),
    [
        pytest.param([], [], "too short", id="nothing"),
        pytest.param(FALLING[:15], [], "too short", id="few steps"),
        pytest.param(FALLING, [], "fine", id="without validation"),
        pytest.param(FALLING, PLATEAU, "fine", id="plateau"),
        pytest.param(2.0 * NOISE, [], "flat", id="flat"),
        pytest.param(0.3 * NOISE, PLATEAU, "fine", id="had learnt already"),
        pytest.param(JUMPY, [], "jumping", id="up and down"),
        pytest.param(SPIKY, PLATEAU, "jumping", id="spikes"),
        pytest.param((1.0 + STEPS / 100) * NOISE, [], "rising", id="rising"),
        pytest.param(FALLING + np.maximum(0, STEPS - 250) / 40, PLATEAU, "rising", id="falls, then rises"),
        pytest.param(FALLING, BY_HEART, "overfitting", id="by heart"),
        pytest.param(FALLING, SURER, "fine", id="validation loss rises and AP too"),
        pytest.param(FALLING, CLIMBING, "not yet converged", id="AP still climbs"),
        pytest.param(2.0 * NOISE * np.exp(-STEPS / 150), [], "not yet converged", id="loss still falls"),
    ],
)
def test_shapes(losses: Sequence[float], measurements: list[EpochEvent], shape: Shape) -> None:
    advice = advise(Curve([float(loss) for loss in losses], measurements))
    assert advice.shape == shape, advice
    assert bool(advice.fix) == (not advice.is_good)


def test_noise_alone_makes_no_shape() -> None:
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(1.0, 0.3, 400).clip(0.2)
        found = advise(Curve(list((0.5 + 2.0 * np.exp(-STEPS / 60)) * noise), PLATEAU))
        assert found.shape == "fine", (seed, found)


def test_a_run_that_ended_early_is_not_told_to_train_longer() -> None:
    advice = advise(Curve(list(FALLING), CLIMBING, num_epochs=30))
    assert advice.shape == "fine"
    assert "smooth downward curve so far" in advice.words


def test_what_was_discarded_counts_as_jumping() -> None:
    spoilt = [RecoveryEvent(kind="discarded step", text="", epoch=0, step=step) for step in range(9)]
    back = RecoveryEvent(kind="rolled back", text="", epoch=0, step=9)
    curve = read_curve([started(), *spoilt, back, *(stepped(i, loss=float(x)) for i, x in enumerate(FALLING))])
    advice = advise(curve)
    assert (curve.num_spoilt, curve.num_rollbacks, advice.shape) == (9, 1, "jumping")
    assert "went back to a checkpoint once" in advice.words


def test_shapes_go_by_the_usual_words() -> None:
    assert "stays flat" in advise(Curve(list(2.0 * NOISE))).words
    assert "jumps around wildly" in advise(Curve(list(JUMPY))).words
    assert "smooth downward curve that plateaus" in advise(Curve(list(FALLING), PLATEAU)).words


def test_steps_without_a_loss_are_left_out() -> None:
    assert read_curve([started(), stepped(0, loss=None), stepped(1, loss=2.0)]).step_losses == [2.0]

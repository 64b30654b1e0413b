"""From a loss to changed weights: the scale of fp16, clipping after it, and what is never applied."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.models import build_detector
from engine.recipe.schema import Model, Precision
from engine.training.precision import backward, make_scaler, update_weights

CPU = torch.device("cpu")
DEVICES = [CPU, pytest.param(torch.device("cuda"), marks=pytest.mark.gpu)]


class Example:
    """A linear layer whose gradient is chosen: that of weight i is the factor i."""

    def __init__(self, precision: Precision, device: torch.device = CPU, momentum: float = 0.9) -> None:
        self.layer = nn.Linear(3, 1, bias=False).to(device)
        nn.init.zeros_(self.layer.weight)
        self.optimizer = torch.optim.SGD(self.layer.parameters(), lr=1.0, momentum=momentum)
        self.scaler = make_scaler(precision, device)
        self.device = device

    def backward(self, *gradient: float) -> None:
        backward((self.layer.weight * torch.tensor([gradient], device=self.device)).sum(), self.scaler)

    @property
    def weights(self) -> list[float]:
        return [float(value) for value in self.layer.weight.flatten().tolist()]


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_tells_the_norm_before_clipping(precision: Precision, device: torch.device) -> None:
    example = Example(precision, device)
    example.backward(3.0, 4.0, 0.0)
    update = update_weights(example.optimizer, example.scaler, max_norm=1.0)
    assert update.verdict == "taken"
    assert update.gradient_norm == pytest.approx(5.0)
    assert example.weights == pytest.approx([-0.6, -0.8, 0.0], rel=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("max_norm", [None, 5.5], ids=["no bound", "a bound that is kept"])
def test_short_gradients_are_applied_as_they_are(precision: Precision, max_norm: float | None) -> None:
    example = Example(precision)
    example.backward(3.0, 4.0, 0.0)
    assert update_weights(example.optimizer, example.scaler, max_norm).gradient_norm == 5.0
    assert example.weights == [-3.0, -4.0, 0.0]


def test_without_a_bound_a_step_is_the_optimizers_own_to_the_bit() -> None:
    torch.manual_seed(0)
    own = nn.Linear(50, 20)
    other = copy.deepcopy(own)
    batch = torch.rand(8, 50)
    for layer, through_scaler in ((own, True), (other, False)):
        optimizer = torch.optim.AdamW(layer.parameters(), lr=0.01)
        scaler = make_scaler("fp32", CPU)
        for _ in range(3):
            optimizer.zero_grad(set_to_none=True)
            loss = layer(batch).square().sum()
            if through_scaler:
                backward(loss, scaler)
                update_weights(optimizer, scaler)
            else:
                loss.backward()
                optimizer.step()
    assert torch.equal(own.weight, other.weight)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_micro_batches_add_up_before_they_are_clipped(precision: Precision) -> None:
    example = Example(precision)
    example.backward(3.0, 0.0, 0.0)
    example.backward(0.0, 4.0, 0.0)
    assert update_weights(example.optimizer, example.scaler, max_norm=1.0).gradient_norm == pytest.approx(5.0)
    assert example.weights == pytest.approx([-0.6, -0.8, 0.0], rel=1e-4)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("max_norm", [None, 1.0])
def test_gradients_that_are_no_numbers_change_nothing(bad: float, max_norm: float | None) -> None:
    example = Example("fp32")
    example.backward(1.0, 2.0, 3.0)
    update_weights(example.optimizer, example.scaler)
    weights, state = example.weights, copy.deepcopy(example.optimizer.state_dict())
    example.optimizer.zero_grad(set_to_none=True)
    example.backward(1.0, bad, 0.0)
    update = update_weights(example.optimizer, example.scaler, max_norm)
    assert update.verdict == "diverged"
    assert not math.isfinite(update.gradient_norm)
    assert example.weights == weights
    momentum = example.optimizer.state_dict()["state"][0]["momentum_buffer"]
    assert torch.equal(momentum, state["state"][0]["momentum_buffer"])


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_with_fp16_a_scale_too_large_is_lowered_and_the_next_step_taken(device: torch.device) -> None:
    example = Example("fp16", device)
    example.scaler.load_state_dict(example.scaler.state_dict() | {"scale": 2.0**127})
    verdicts, scales = [], []
    for _ in range(5):
        example.optimizer.zero_grad(set_to_none=True)
        assert example.weights == [0.0, 0.0, 0.0]
        example.backward(16.0, 0.0, 0.0)  # float32 ends just below 2^128
        scales.append(example.scaler.get_scale())
        verdicts.append(update_weights(example.optimizer, example.scaler).verdict)
    assert verdicts == ["overflow"] * 4 + ["taken"]
    assert scales == [2.0**power for power in (127, 126, 125, 124, 123)]
    assert example.weights == [-16.0, 0.0, 0.0]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_gradients_too_large_to_have_a_norm_are_divergence(precision: Precision) -> None:
    example = Example(precision)
    example.backward(1e30, 1e30, 0.0)
    assert update_weights(example.optimizer, example.scaler).verdict == "diverged"
    assert example.weights == [0.0, 0.0, 0.0]


def test_with_fp16_a_gradient_that_no_scale_makes_finite_is_divergence_in_the_end() -> None:
    example = Example("fp16")
    verdicts = []
    for _ in range(20):
        example.optimizer.zero_grad(set_to_none=True)
        example.backward(math.nan, 0.0, 0.0)
        verdicts.append(update_weights(example.optimizer, example.scaler).verdict)
    # From 65536 it takes 16 halvings until scaling makes nothing larger.
    assert verdicts == ["overflow"] * 16 + ["diverged"] * 4
    assert example.weights == [0.0, 0.0, 0.0]


def test_a_discarded_step_leaves_the_scaler_ready_for_the_next() -> None:
    example = Example("fp16")
    example.backward(math.inf, 0.0, 0.0)
    update_weights(example.optimizer, example.scaler)
    example.optimizer.zero_grad(set_to_none=True)
    example.backward(1.0, 0.0, 0.0)
    assert update_weights(example.optimizer, example.scaler).verdict == "taken"
    assert example.weights == [-1.0, 0.0, 0.0]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_after_a_step_that_failed_the_next_one_works(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory may run out while the optimizer makes its state; a checkpoint is loaded, the scaler stays in use."""
    example = Example(precision)
    scale = example.scaler.get_scale()

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(example.optimizer, "step", fail)
        example.backward(1.0, 0.0, 0.0)
        with pytest.raises(MemoryError):
            update_weights(example.optimizer, example.scaler)
    assert example.scaler.get_scale() == scale
    example.optimizer.zero_grad(set_to_none=True)
    example.backward(2.0, 0.0, 0.0)
    assert update_weights(example.optimizer, example.scaler).verdict == "taken"
    assert example.weights == [-2.0, 0.0, 0.0]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_only_fp16_scales(precision: Precision) -> None:
    assert make_scaler(precision, CPU).is_enabled() is (precision == "fp16")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_scale_survives_a_checkpoint(precision: Precision) -> None:
    example = Example(precision)
    for value in (math.inf, 1.0, 1.0):
        example.optimizer.zero_grad(set_to_none=True)
        example.backward(value, 0.0, 0.0)
        update_weights(example.optimizer, example.scaler)
    state = example.scaler.state_dict()
    resumed = make_scaler(precision, CPU)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert resumed.get_scale() == example.scaler.get_scale()


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_detector_learns_in_every_format(precision: Precision, device: torch.device) -> None:
    torch.manual_seed(0)
    small: dict[str, Any] = {"min_size": 48, "max_size": 64, "fpn_channels": 16, "box_head_width": 16}
    model = Model(arch="fasterrcnn_mobilenet_v3_large_fpn", weights="none", box_samples=32, **small)
    detector = build_detector(model, ("mug",)).to(device).train()
    optimizer = torch.optim.SGD(detector.parameters(), lr=0.001)
    scaler = make_scaler(precision, device)
    image = torch.rand(3, 48, 64, device=device)
    boxes = torch.tensor([[4.0, 4, 40, 40]], device=device)
    target = {"boxes_xyxy": boxes, "labels": torch.tensor([0], device=device)}
    before: Tensor = detector.network.roi_heads.box_predictor.cls_score.weight.detach().clone()
    verdicts = []
    for _ in range(6):
        optimizer.zero_grad(set_to_none=True)
        losses = detector.losses([image, image], [target, target], precision)  # type: ignore[list-item]
        backward(torch.stack(list(losses.values())).sum(), scaler)
        verdicts.append(update_weights(optimizer, scaler, max_norm=10.0).verdict)
    # The first scale is a guess, and some steps go by until it fits.
    assert "diverged" not in verdicts
    assert verdicts.count("overflow") <= (4 if precision == "fp16" else 0)
    assert not torch.equal(detector.network.roi_heads.box_predictor.cls_score.weight, before)
    assert all(torch.isfinite(parameter).all() for parameter in detector.parameters())

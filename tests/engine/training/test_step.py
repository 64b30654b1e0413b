"""One optimizer step: what is read back from the device, and what a step that is left out leaves behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._inductor.exc import InductorError
from torch.overrides import TorchFunctionMode

from engine.data.batch import Batch
from engine.data.dataset import Sample
from engine.models import Detector, build_detector
from engine.models.compiled import compile_while_training
from engine.recipe.schema import Model, Precision
from engine.training.precision import make_scaler
from engine.training.step import Stepper, collect_losses

CPU = torch.device("cpu")
NUM_IMAGES = 6
# What makes the host wait for a device: a number, or a size that depends on values.
READING = {"item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__float__", "__int__", "__index__"}


class Brightness(nn.Module):
    """Learns a photo's brightness; with a detector's face and two losses."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 2)
        self.spoil: Callable[[Tensor], Tensor] = lambda loss: loss

    def losses(self, images: list[Tensor], _targets: Any, _precision: Precision = "fp32") -> dict[str, Tensor]:
        means = torch.stack([image.mean() for image in images])[:, None]
        wide, narrow = ((self.layer(means) - means).square().mean(dim=0)).unbind()
        return {"loss_wide": self.spoil(wide), "loss_narrow": narrow}


class Readings(TorchFunctionMode):
    """Notes whatever is read back."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Iterable[Any] = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in READING:
            self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


def photos() -> Batch:
    torch.manual_seed(7)
    nothing: Any = {"boxes_xyxy": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    return Batch([
        Sample(torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8), nothing, place) for place in range(NUM_IMAGES)
    ])


def stepper_of(
    model: Brightness, *, micro_batch_size: int = NUM_IMAGES, precision: Precision = "fp32", clip: float | None = 1.0
) -> Stepper:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    return Stepper(
        cast(Detector, model), optimizer, make_scaler(precision, CPU), device=CPU, precision=precision,
        clip_grad_norm=clip, exploding_loss=1e4, micro_batch_size=micro_batch_size, on_halved=lambda _: None,
    )


@pytest.mark.parametrize("clip", [None, 1.0], ids=["unclipped", "clipped"])
@pytest.mark.parametrize("micro_batch_size", [1, 4, NUM_IMAGES])
def test_a_step_reads_back_once(micro_batch_size: int, clip: float | None) -> None:
    stepper, batch = stepper_of(Brightness(), micro_batch_size=micro_batch_size, clip=clip), photos()
    with Readings() as readings:
        stepper.run(batch)
    assert readings.seen == ["tolist"]


@pytest.mark.gpu
@pytest.mark.parametrize("clip", [None, 1.0], ids=["unclipped", "clipped"])
def test_the_host_waits_once_a_step_for_a_real_device(clip: float | None) -> None:
    device = torch.device("cuda")
    model = Brightness().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    stepper = Stepper(
        cast(Detector, model), optimizer, make_scaler("fp32", device), device=device, precision="fp32",
        clip_grad_norm=clip, exploding_loss=1e4, micro_batch_size=2, on_halved=lambda _: None,
    )
    batch = Batch([sample._replace(image=sample.image.pin_memory()) for sample in photos().samples])
    stepper.run(batch)  # what is made once
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchroniz") as told:
            stepper.run(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(told) == 1


def test_the_sums_are_those_of_numbers_read_one_by_one() -> None:
    model, batch = Brightness(), photos()
    expected: dict[str, float] = {}
    for part in batch.split(4):
        on_device = part.to(CPU)
        for name, value in model.losses(on_device.images, on_device.targets).items():
            expected[name] = expected.get(name, 0.0) + value.item() * (len(part) / NUM_IMAGES)
    found = collect_losses(cast(Detector, model), batch, CPU, "fp32", 4).read()
    assert list(found) == list(expected)
    assert found == expected


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("factor", [math.nan, 1e9], ids=["not a number", "exploded"])
def test_after_a_spoilt_loss_weights_and_scale_are_as_before_and_the_next_step_is_taken(
    precision: Precision, factor: float
) -> None:
    torch.manual_seed(0)
    model, batch = Brightness(), photos()
    stepper = stepper_of(model, precision=precision)
    scale = stepper._scaler.get_scale()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model.spoil = lambda loss: loss * factor
    assert stepper.run(batch)[0].fault
    assert all(torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert stepper._scaler.get_scale() == scale
    model.spoil = lambda loss: loss
    assert not stepper.run(batch)[0].fault
    assert not any(torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True))


def test_memory_that_runs_out_over_the_norm_halves_the_batch_and_changes_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing has been changed by then, so the step can be made in halves; no checkpoint is needed."""
    from engine.training import precision as module

    original, failed = module.clip_grad_norm_, list[bool]()

    def clip(*given: Any) -> Tensor:
        if not failed:
            failed.append(True)
            raise torch.OutOfMemoryError
        return original(*given)

    monkeypatch.setattr(module, "clip_grad_norm_", clip)
    torch.manual_seed(0)
    model = Brightness()
    stepper = stepper_of(model)
    assert not stepper.run(photos())[0].fault
    assert stepper.micro_batch_size == NUM_IMAGES // 2
    torch.manual_seed(0)
    other = Brightness()
    stepper_of(other, micro_batch_size=NUM_IMAGES // 2).run(photos())
    assert torch.equal(model.layer.weight, other.layer.weight)


def test_a_backward_pass_that_cannot_be_compiled_is_made_without_compiling() -> None:
    """Torch compiles it when it is first made, which is no fault of the batch."""
    torch.compiler.reset()
    told: list[str] = []

    def forwards(graph: Any, _inputs: Any) -> Any:
        return make_boxed_func(graph.forward)

    def backwards(_graph: Any, _inputs: Any) -> Any:
        raise InductorError(RuntimeError("no room in the register file"), None)

    backend = aot_autograd(fw_compiler=forwards, bw_compiler=backwards)
    small: dict[str, Any] = {"min_size": 48, "max_size": 64, "fpn_channels": 16, "box_head_width": 16}
    settings = Model(arch="fasterrcnn_resnet18_fpn", weights="none", box_samples=32, **small)
    target: Any = {"boxes_xyxy": torch.tensor([[1.0, 1, 7, 7]]), "labels": torch.zeros(1, dtype=torch.int64)}
    batch = Batch([Sample(torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8), target, 0)])
    figures = []
    for compiles in (False, True):
        torch.manual_seed(0)
        detector = build_detector(settings, ("mug",)).train()
        compile_while_training(detector, told.append, backend, wanted=compiles)
        torch.manual_seed(1)
        figures.append(stepper_of(cast(Any, detector)).run(batch)[0])
    torch.compiler.reset()
    [line] = told
    assert "no room in the register file" in line
    assert figures[0] == figures[1]
    assert not figures[0].fault

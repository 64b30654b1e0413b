"""bfloat16 where it is safe: products, never boxes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from engine.catalogue import ARCHS
from engine.models import Target, build_detector
from tests.engine.models.builders import FAMILIES, QUICK, model


@pytest.mark.parametrize("arch", FAMILIES)
def test_bf16_losses_are_close_to_fp32_and_teach(arch: str, images: list[Tensor], targets: list[Target]) -> None:
    torch.manual_seed(0)
    # On maps of a single cell, oneDNN's bf16 convolution now and then gives weight gradients that aren't numbers.
    size = {} if ARCHS[arch].fixed_size else {"min_size": 96, "max_size": 128}
    detector = build_detector(model(arch, norm="frozen", **size), ("a", "b")).train()
    torch.manual_seed(5)
    exact = sum(loss.item() for loss in detector.losses(images, targets).values())
    torch.manual_seed(5)
    losses = detector.losses(images, targets, "bf16")
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    assert sum(loss.item() for loss in losses.values()) == pytest.approx(exact, rel=0.1)
    torch.stack(list(losses.values())).sum().backward()
    assert all(
        parameter.grad is not None and torch.isfinite(parameter.grad).all()
        for parameter in detector.parameters() if parameter.requires_grad
    )


@pytest.mark.parametrize("arch", FAMILIES)
def test_anchors_stay_in_float32(arch: str, images: list[Tensor], targets: list[Target]) -> None:
    detector = build_detector(model(arch), ("a", "b")).train()
    network = detector.network
    generator = network.rpn.anchor_generator if arch == QUICK else network.anchor_generator
    exact, short = [], []
    hook = generator.register_forward_hook(lambda _layer, _inputs, anchors: exact.extend(anchors))
    detector.losses(images, targets)
    hook.remove()
    generator.register_forward_hook(lambda _layer, _inputs, anchors: short.extend(anchors))
    detector.losses(images, targets, "bf16")
    assert all(one.dtype == torch.float32 for one in short)
    assert all(torch.equal(one, other) for one, other in zip(exact, short, strict=True))


def test_bf16_computes_convolutions_in_bf16_and_boxes_in_fp32(images: list[Tensor], targets: list[Target]) -> None:
    detector = build_detector(model(QUICK), ("a", "b")).train()
    seen: dict[str, torch.dtype] = {}

    def note(name: str) -> object:
        def hook(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[name] = output.dtype
        return hook

    first = next(layer for layer in detector.network.backbone.modules() if isinstance(layer, nn.Conv2d))
    first.register_forward_hook(note("convolution"))
    detector.network.rpn.box_coder.decode = _noting_dtype(detector.network.rpn.box_coder.decode, seen)
    detector.losses(images, targets, "bf16")
    assert seen == {"convolution": torch.bfloat16, "deltas": torch.float32}


def _noting_dtype(decode: object, seen: dict[str, torch.dtype]) -> object:
    def wrapped(deltas: Tensor, anchors: list[Tensor]) -> Tensor:
        seen["deltas"] = deltas.dtype
        return decode(deltas, anchors)  # type: ignore[operator]
    return wrapped

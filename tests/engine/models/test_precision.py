"""The number format that a recipe means, and that detections are computed in it."""

from __future__ import annotations

import pytest
import torch

from engine.models.precision import pick_precision
from engine.models.speed import prepared
from engine.recipe.schema import Hardware, Precision
from tests.engine.models.test_speed import CPU, a_batch, small_detector


def pretend(monkeypatch: pytest.MonkeyPatch, **capabilities: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)


@pytest.mark.parametrize("asked", ["fp32", "bf16", "fp16"])
def test_what_is_asked_for_is_taken(asked: Precision) -> None:
    assert pick_precision(asked, CPU) == asked


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"amx_bf16": True}, "bf16"), ({"amx_bf16": False, "avx512_bf16": True}, "bf16"), ({"avx2": True}, "fp32"),
        ({}, "fp32"),
    ],
    ids=["AMX", "AVX-512", "older", "unknown"],
)
def test_auto_takes_bf16_where_a_cpu_multiplies_it(
    capabilities: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, **capabilities)
    assert pick_precision("auto", CPU) == expected


def test_auto_without_torchs_word_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert pick_precision("auto", CPU) == "fp32"


@pytest.mark.parametrize("supported", [True, False])
def test_auto_on_a_gpu(supported: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: supported)
    assert pick_precision("auto", torch.device("cuda:0")) == ("bf16" if supported else "fp32")


def test_auto_on_mps() -> None:
    assert pick_precision("auto", torch.device("mps")) == "fp32"


@pytest.mark.parametrize(
    ("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float32)]
)
def test_detections_are_computed_in_the_recipes_format(precision: Precision, expected: torch.dtype) -> None:
    detector = prepared(small_detector(), Hardware(precision=precision), CPU)
    seen = []
    detector.network.backbone.fpn.register_forward_hook(lambda _layer, _given, maps: seen.append(maps["0"].dtype))
    images, targets = a_batch(2, 0)
    found, losses = detector.detect_with_losses(images, targets)
    found += detector.detect(images)
    assert seen == [expected] * 2
    assert {tensor.dtype for one in found for name, tensor in one.items() if name != "labels"} == {torch.float32}
    assert {loss.dtype for loss in losses.values()} == {torch.float32}

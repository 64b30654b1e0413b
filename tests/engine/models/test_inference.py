"""What is made ready for detecting must compute what it computed before."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops.misc import FrozenBatchNorm2d

from engine.catalogue import ARCHS
from engine.models import Detector, build_detector
from engine.models.inference import detect_prepared, make_ready, prepared_picture
from tests.engine.models.builders import FAMILIES, confident, model

# One of each way in which torchvision writes down a convolution and its normalisation.
QUICK = (
    FAMILIES[0], FAMILIES[3], "fasterrcnn_resnet18_fpn", "fasterrcnn_shufflenet_v2_x0_5_fpn",
    "fasterrcnn_mnasnet0_5_fpn", "fasterrcnn_regnet_x_400mf_fpn", "fasterrcnn_efficientnet_b0_fpn",
)
CPU = torch.device("cpu")
NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def with_statistics(arch: str, norm: str = "auto") -> Detector:
    """A detector whose normalisation does something."""
    torch.manual_seed(0)
    detector = build_detector(model(arch, norm=norm), ("mug", "laptop")).eval()
    confident(detector.network)
    for layer in detector.modules():
        if isinstance(layer, NORMS):
            layer.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
            layer.running_var.uniform_(0.7, 1.3)  # type: ignore[union-attr]
    return detector


@pytest.mark.parametrize(
    "arch", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in ARCHS]
)
def test_folded_norms_give_the_same_features(arch: str) -> None:
    detector = with_statistics(arch)
    ready = copy.deepcopy(detector)
    make_ready(ready)
    side = 300 if ARCHS[arch].fixed_size else 96
    images = torch.rand(1, 3, side, side)
    with torch.inference_mode():
        before, after = detector.network.backbone(images), ready.network.backbone(images)
    for name, features in before.items():
        scale = features.abs().max().item()
        torch.testing.assert_close(after[name], features, rtol=1e-3, atol=1e-4 * scale)
    num_norms = [sum(isinstance(layer, NORMS) for layer in one.modules()) for one in (detector, ready)]
    assert num_norms[1] == 0, "every convolution's normalisation is folded"


def test_frozen_norms_are_folded_too() -> None:
    detector = with_statistics("fasterrcnn_resnet18_fpn", "frozen")
    assert any(isinstance(layer, FrozenBatchNorm2d) for layer in detector.modules())
    make_ready(detector)
    assert not any(isinstance(layer, NORMS) for layer in detector.modules())


@pytest.mark.parametrize("size", [(100, 70), (33, 90)], ids=["shrunk", "upright"])
def test_a_picture_is_prepared_as_the_network_would(size: tuple[int, int]) -> None:
    detector = with_statistics(FAMILIES[0])
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    batch, _ = detector.network.transform([image])
    [(height, width)] = batch.image_sizes
    torch.testing.assert_close(
        prepared_picture(detector, pixels, CPU), batch.tensors[0, :, :height, :width], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("arch", FAMILIES)
def test_kernels_rounded_once_find_what_autocast_finds(arch: str) -> None:
    detector = with_statistics(arch)
    ready = copy.deepcopy(detector)
    make_ready(ready)
    detector.detect_precision = "bf16"
    make_ready(detector)
    ready.detect_precision = "bf16"
    kernels = [layer.weight.dtype for layer in detector.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert set(kernels) == {torch.bfloat16}
    images = [torch.rand(3, 60, 80)]
    [wanted], [found] = ready.detect(images), detector.detect(images)
    assert len(wanted["scores"]) > 0
    assert {name: tensor.dtype for name, tensor in found.items()} == {
        "boxes_xyxy": torch.float32, "scores": torch.float32, "labels": torch.int64,
    }
    for name in ("scores", "boxes_xyxy", "labels"):
        assert torch.equal(found[name], wanted[name])  # type: ignore[literal-required]


@pytest.mark.parametrize("arch", FAMILIES)
def test_prepared_pictures_hold_the_same_objects(arch: str) -> None:
    detector = with_statistics(arch)
    pictures = [np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8) for seed in range(2)]
    images = [torch.from_numpy(pixels).permute(2, 0, 1).float() / 255 for pixels in pictures]
    wanted = detector.detect(images)
    found = detect_prepared(detector, [prepared_picture(detector, pixels, CPU) for pixels in pictures], [(60, 80)] * 2)
    assert sum(len(one["scores"]) for one in wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        # The surest: of those near the least score that is told, rounding decides which are.
        torch.testing.assert_close(one["scores"][:20], other["scores"][:20], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(one["boxes_xyxy"][:3], other["boxes_xyxy"][:3], rtol=1e-2, atol=0.1)

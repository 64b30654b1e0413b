"""Normalisation done by the convolution before it: values and gradients, and where it must keep out of the way.

In float64, so that what differs is the arithmetic and not its rounding.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops.misc import FrozenBatchNorm2d

from engine.catalogue import ARCHS
from engine.models import Detector, build_detector
from engine.models.folded_norm import FoldingConv2d, fold_while_training, folding_pairs
from engine.models.inference import make_ready
from tests.engine.models.builders import FAMILIES, model

# One of each way in which torchvision writes down a convolution and its normalisation.
QUICK = (
    FAMILIES[0], FAMILIES[3], "fasterrcnn_resnet18_fpn", "fasterrcnn_shufflenet_v2_x0_5_fpn",
    "fasterrcnn_mnasnet0_5_fpn", "fasterrcnn_regnet_x_400mf_fpn", "fasterrcnn_efficientnet_b0_fpn",
)
NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def with_statistics(arch: str, norm: str = "frozen") -> Detector:
    """A detector in float64 whose normalisation does something."""
    torch.manual_seed(0)
    detector = build_detector(model(arch, norm=norm), ("mug", "laptop")).double()
    for layer in detector.modules():
        if isinstance(layer, NORMS):
            layer.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
            layer.running_var.uniform_(0.7, 1.3)  # type: ignore[union-attr]
            layer.weight.data.uniform_(0.7, 1.3)  # type: ignore[union-attr]
            layer.bias.data.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
    return detector


def maps_and_gradients(detector: Detector, images: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    torch.manual_seed(0)  # EfficientNet drops branches at random
    detector.zero_grad(set_to_none=True)
    maps = list(detector.network.backbone(images).values())
    torch.stack([(one * torch.linspace(-1, 1, one.shape[-1])).sum() for one in maps]).sum().backward()
    return maps, {name: one.grad for name, one in detector.named_parameters() if one.grad is not None}


def assert_alike(found: tuple[list[Tensor], dict[str, Tensor]], wanted: tuple[list[Tensor], dict[str, Tensor]]) -> None:
    for one, other in zip(found[0], wanted[0], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)
    assert found[1].keys() == wanted[1].keys()
    for name, gradient in wanted[1].items():
        scale = float(gradient.abs().max()) + 1e-12
        assert float((found[1][name] - gradient).abs().max()) < 1e-7 * scale, name


def side_of(arch: str) -> int:
    return 300 if ARCHS[arch].fixed_size else 96


@pytest.mark.parametrize(
    "arch",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name, arch in ARCHS.items() if arch.has_batch_norm
    ],
)
def test_the_same_maps_and_gradients(arch: str) -> None:
    detector = with_statistics(arch).train()
    images = torch.rand(2, 3, side_of(arch), side_of(arch), dtype=torch.float64)
    wanted = maps_and_gradients(detector, images)
    fold_while_training(detector.network, wanted=True)
    assert_alike(maps_and_gradients(detector, images), wanted)
    fold_while_training(detector.network, wanted=False)
    assert_alike(maps_and_gradients(detector, images), wanted)


def test_trained_factors_of_fixed_statistics_learn_alike() -> None:
    detector = with_statistics("fasterrcnn_resnet18_fpn", "batch").eval()
    images = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    wanted = maps_and_gradients(detector, images)
    assert any(name.endswith("bn2.weight") for name in wanted[1])
    fold_while_training(detector.network, wanted=True)
    assert_alike(maps_and_gradients(detector, images), wanted)


def test_statistics_that_learn_go_on_learning() -> None:
    plain = with_statistics("fasterrcnn_resnet18_fpn", "batch").train()
    folded = copy.deepcopy(plain)
    fold_while_training(folded.network, wanted=True)
    images = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    assert_alike(maps_and_gradients(folded, images), maps_and_gradients(plain, images))
    for name, tensor in plain.network.state_dict().items():
        assert torch.equal(folded.network.state_dict()[name], tensor), name


def test_the_state_keeps_its_names_and_order() -> None:
    detector = with_statistics("fasterrcnn_resnet18_fpn")
    names = list(detector.network.state_dict())
    parameters = [id(one) for one in detector.parameters()]
    fold_while_training(detector.network, wanted=True)
    assert list(detector.network.state_dict()) == names
    assert [id(one) for one in detector.parameters()] == parameters


def test_a_copy_folds_its_own_normalisation() -> None:
    detector = with_statistics("fasterrcnn_resnet18_fpn").eval()
    fold_while_training(detector.network, wanted=True)
    other = copy.deepcopy(detector)
    images = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    before = detector.network.backbone(images)["0"]
    for layer in other.modules():
        if isinstance(layer, NORMS):
            layer.bias.data.add_(1.0)  # type: ignore[union-attr]
    assert torch.equal(detector.network.backbone(images)["0"], before)
    assert not torch.allclose(other.network.backbone(images)["0"], before)


def test_what_is_made_ready_for_detecting_is_folded_once() -> None:
    detector = with_statistics("fasterrcnn_resnet18_fpn").eval()
    images = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        wanted = detector.network.backbone(images)["0"]
        fold_while_training(detector.network, wanted=True)
        make_ready(detector)
        found = detector.network.backbone(images)["0"]
    assert not list(folding_pairs(detector.network))
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*")
def test_a_trace_holds_the_network_as_torchvision_has_it() -> None:
    detector = with_statistics("fasterrcnn_resnet18_fpn").eval()
    images = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    fold_while_training(detector.network, wanted=True)
    with torch.no_grad():
        wanted = detector.network.backbone.body.conv1(images)
        traced = torch.jit.trace(detector.network.backbone.body.conv1, images, check_trace=False)  # type: ignore[no-untyped-call]
        assert isinstance(detector.network.backbone.body.conv1, FoldingConv2d)
        plain = nn.functional.conv2d(images, detector.network.backbone.body.conv1.weight, stride=2, padding=3)
    torch.testing.assert_close(traced(images), plain)
    assert not torch.allclose(wanted, plain)

"""Detectors as torchvision itself builds them: the same names, the same outputs, the same frozen parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.ops.misc import FrozenBatchNorm2d

from engine.catalogue import ARCHS
from engine.models import build_detector
from engine.models.build import trainable_layers
from engine.recipe.schema import Model
from tests.engine.archs import QUICK_ARCHS
from tests.engine.models.builders import FAMILIES, QUICK, SSD, SSD300, TORCHVISIONS, confident, model

CLASSES = ("a", "b", "c")
quick_ones_first = [
    pytest.param(name, marks=() if name in FAMILIES else pytest.mark.slow) for name in TORCHVISIONS
]


def offset(arch: str) -> int:
    """torchvision's first class: behind the background, where there is one."""
    return 1 if ARCHS[arch].family in ("fasterrcnn", "ssd") else 0


def theirs(arch: str, **settings: int) -> nn.Module:
    num_classes = len(CLASSES) + offset(arch)
    return TORCHVISIONS[arch](weights=None, weights_backbone=None, num_classes=num_classes, **settings)


def sized(arch: str) -> dict[str, int]:
    return {} if ARCHS[arch].fixed_size else {"min_size": 128, "max_size": 160}


@pytest.mark.parametrize("arch", quick_ones_first)
def test_outputs_equal_torchvisions(arch: str) -> None:
    # Where weights start from nothing SSDlite's tail is the reduced one, as published; so is theirs.
    reference = theirs(arch, **sized(arch))
    confident(reference)
    ours = build_detector(Model(arch=arch, weights="none", **sized(arch)), CLASSES, reference.state_dict())
    image = torch.rand(3, 200, 260)
    reference.eval()
    with torch.no_grad():
        [expected] = reference([image])
    [found] = ours.detect([image])
    assert len(expected["boxes"]) > 0
    assert torch.equal(found["boxes_xyxy"], expected["boxes"])
    assert torch.equal(found["scores"], expected["scores"])
    assert torch.equal(found["labels"], expected["labels"] - offset(arch))
    assert set(found["labels"].tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("arch", quick_ones_first)
def test_losses_equal_torchvisions(
    arch: str, images: list[torch.Tensor], targets: list[dict[str, torch.Tensor]]
) -> None:
    reference = theirs(arch, **sized(arch))
    ours = build_detector(Model(arch=arch, weights="none", **sized(arch)), CLASSES, reference.state_dict()).train()
    given = [{"boxes": one["boxes_xyxy"], "labels": one["labels"] + offset(arch)} for one in targets]
    torch.manual_seed(3)
    expected = reference.train()(images, given)
    torch.manual_seed(3)
    assert {name: loss.item() for name, loss in ours.losses(images, targets).items()} == {  # type: ignore[arg-type]
        name: loss.item() for name, loss in expected.items()
    }


@pytest.mark.parametrize("arch", TORCHVISIONS)
def test_names_and_shapes_equal_torchvisions(arch: str) -> None:
    with torch.device("meta"):
        ours = build_detector(Model(arch=arch, weights="none"), CLASSES).network
        assert _shapes(ours) == _shapes(theirs(arch))


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(
    ("arch", "num_layers"),
    [
        pytest.param(arch, layers, marks=() if arch in (QUICK, "fasterrcnn_resnet50_fpn") else pytest.mark.slow)
        for arch in TORCHVISIONS if ARCHS[arch].family != "ssd"
        for layers in range(ARCHS[arch].num_backbone_stages + 1)
    ],
)
def test_frozen_parts_equal_torchvisions(arch: str, num_layers: int) -> None:
    ours = build_detector(model(arch, trainable_layers=num_layers), CLASSES)
    assert _frozen(ours.network) == _frozen_by_torchvision(arch, num_layers)


def _frozen(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if not parameter.requires_grad}


def _frozen_by_torchvision(arch: str, num_layers: int) -> set[str]:
    # Its builders heed the number only beside weights; the functions that freeze always do.
    from torchvision.models import mobilenet_v3_large, resnet50
    from torchvision.models.detection.backbone_utils import _mobilenet_extractor, _resnet_fpn_extractor

    if ARCHS[arch].backbone == "resnet50":
        body = _resnet_fpn_extractor(resnet50(weights=None), num_layers)
    else:
        body = _mobilenet_extractor(mobilenet_v3_large(weights=None), fpn=True, trainable_layers=num_layers)
    return {f"backbone.{name}" for name in _frozen(body)}


@pytest.mark.parametrize("num_layers", range(7))
def test_ssdlite_freezes_what_torchvision_freezes(num_layers: int) -> None:
    from torchvision.models import mobilenet_v3_large
    from torchvision.models.detection.ssdlite import _mobilenet_extractor

    norm = nn.BatchNorm2d
    body = _mobilenet_extractor(mobilenet_v3_large(weights=None, reduced_tail=True), num_layers, norm)
    ours = build_detector(model(SSD, trainable_layers=num_layers), CLASSES).network
    assert _frozen(ours) == {f"backbone.{name}" for name in _frozen(body)}


@pytest.mark.parametrize("num_layers", range(6))
def test_ssd300_freezes_what_torchvision_freezes(num_layers: int) -> None:
    from torchvision.models import vgg16
    from torchvision.models.detection.ssd import _vgg_extractor

    with torch.device("meta"):
        body = _vgg_extractor(vgg16(weights=None), highres=False, trainable_layers=num_layers)
        ours = build_detector(model(SSD300, trainable_layers=num_layers), CLASSES).network
    assert _frozen(ours) == {f"backbone.{name}" for name in _frozen(body)}


@pytest.mark.parametrize(
    ("values", "frozen"),
    [
        pytest.param({"weights": "none"}, False, id="nothing to keep"),
        pytest.param({"weights": "none", "norm": "frozen"}, True, id="asked to freeze"),
        pytest.param({"weights": "none", "norm": "batch"}, False, id="asked to learn"),
    ],
)
def test_the_norm_is_the_recipes_choice(values: dict[str, object], frozen: bool) -> None:
    network = build_detector(model(**values), CLASSES).network
    kinds = {type(module) for module in network.backbone.body.modules()}
    assert (FrozenBatchNorm2d in kinds) == frozen
    assert (nn.BatchNorm2d in kinds) != frozen


@pytest.mark.parametrize(
    ("values", "layers"),
    [
        pytest.param({"weights": "none"}, 6, id="from nothing all learn"),
        pytest.param({"weights": "imagenet"}, 3, id="with weights three"),
        pytest.param({"weights": "imagenet", "trainable_layers": 0}, 0, id="asked for none"),
        pytest.param({"arch": SSD, "weights": "imagenet"}, 6, id="ssdlite all"),
        pytest.param({"arch": SSD300, "weights": "imagenet"}, 4, id="ssd300 four"),
    ],
)
def test_how_many_stages_learn_by_default(values: dict[str, str], layers: int) -> None:
    chosen = model(**values)
    assert trainable_layers(chosen, ARCHS[chosen.arch]) == layers


def test_the_first_image_does_not_decide_from_which_levels_boxes_are_pooled() -> None:
    first, other = (build_detector(model(QUICK, min_size=64, max_size=96), ["a", "b"]) for _ in range(2))
    other.load_state_dict(first.state_dict())
    odd, usual = torch.rand(3, 18, 28), torch.rand(3, 240, 320)
    first.detect([odd])
    assert first.network.roi_heads.box_roi_pool.scales == other.network.roi_heads.box_roi_pool.scales
    for one, two in zip(first.detect([usual]), other.detect([usual]), strict=True):
        assert torch.equal(one["boxes_xyxy"], two["boxes_xyxy"])


@pytest.mark.parametrize("arch", [name for name in QUICK_ARCHS if ARCHS[name].family == "fasterrcnn"])
def test_the_pooling_knows_the_scales_that_torchvision_would_infer(arch: str) -> None:
    network = build_detector(model(arch), ["a"]).network.eval()
    pooling = network.roi_heads.box_roi_pool
    known, pooling.scales = pooling.scales, None
    with torch.no_grad():
        pooling.scales = None
        maps = network.backbone(torch.rand(1, 3, 256, 256))
        pooling(maps, [torch.tensor([[0.0, 0.0, 9.0, 9.0]])], [(256, 256)])
    assert known == pooling.scales

"""Detectors as torchvision itself builds them: the same names, the same outputs, the same frozen parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2, resnet18
from torchvision.ops.misc import FrozenBatchNorm2d

from engine.catalogue import ARCHS
from engine.models import build_detector
from engine.models.build import trainable_layers
from engine.recipe.schema import Model
from tests.engine.models.builders import OURS_ALONE, QUICK, SSD, TORCHVISIONS, model

# Three classes and the background.
CLASSES = ("a", "b", "c")
quick_one_first = [
    pytest.param(name, marks=() if name in (QUICK, SSD) else pytest.mark.slow) for name in TORCHVISIONS
]


def at_torchvisions_size(arch: str) -> Model:
    return Model(arch=arch, weights="none")


def theirs(arch: str) -> nn.Module:
    return TORCHVISIONS[arch](weights=None, weights_backbone=None, num_classes=len(CLASSES) + 1)


@pytest.mark.parametrize("arch", quick_one_first)
def test_outputs_equal_torchvisions(arch: str) -> None:
    # Where weights start from nothing SSDlite's tail is the reduced one, as published; so is theirs.
    reference = theirs(arch)
    ours = build_detector(at_torchvisions_size(arch), CLASSES, reference.state_dict())
    image = torch.rand(3, 200, 260)
    reference.eval()
    with torch.no_grad():
        [expected] = reference([image])
    [found] = ours.detect([image])
    assert len(expected["boxes"]) > 0
    assert torch.equal(found["boxes_xyxy"], expected["boxes"])
    assert torch.equal(found["scores"], expected["scores"])
    assert torch.equal(found["labels"], expected["labels"] - 1)


@pytest.mark.parametrize("arch", TORCHVISIONS)
def test_names_and_shapes_equal_torchvisions(arch: str) -> None:
    ours = build_detector(at_torchvisions_size(arch), CLASSES).network
    assert _shapes(ours) == _shapes(theirs(arch))


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(
    ("arch", "num_layers"),
    [
        pytest.param(arch, layers, marks=() if arch in (QUICK, "fasterrcnn_resnet50_fpn") else pytest.mark.slow)
        for arch in TORCHVISIONS if arch != SSD
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


@pytest.mark.parametrize("arch", OURS_ALONE)
def test_our_own_detectors_start_from_published_backbones(arch: str) -> None:
    builder = {"fasterrcnn_resnet18_fpn": resnet18, "fasterrcnn_mobilenet_v2_fpn": mobilenet_v2}[arch]
    body = build_detector(model(arch), CLASSES).network.backbone.body
    published = {name.removeprefix("features."): tensor for name, tensor in builder(weights=None).state_dict().items()}
    assert {name: tensor.shape for name, tensor in body.state_dict().items()}.items() <= {
        name: tensor.shape for name, tensor in published.items()
    }.items()


@pytest.mark.parametrize("arch", ARCHS)
def test_every_detector_learns_and_detects(
    arch: str, images: list[torch.Tensor], targets: list[dict[str, torch.Tensor]]
) -> None:
    detector = build_detector(model(arch), ("a", "b"))
    detector.train()
    losses = detector.losses(images, targets)  # type: ignore[arg-type]
    assert all(torch.isfinite(loss) and loss.ndim == 0 for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    learning = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    assert sum(parameter.grad is not None for parameter in learning) > 0.9 * len(learning)
    assert len(detector.detect(images)) == 2


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
    ],
)
def test_how_many_stages_learn_by_default(values: dict[str, str], layers: int) -> None:
    chosen = model(**values)
    assert trainable_layers(chosen, ARCHS[chosen.arch]) == layers


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_the_catalogue_names_torchvisions_published_files(name: str) -> None:
    from torchvision.models import get_model_weights

    arch = ARCHS[name]
    assert arch.coco is not None
    assert arch.coco.url == get_model_weights(name)["COCO_V1"].url


@pytest.mark.parametrize("name", ARCHS)
def test_the_catalogue_names_torchvisions_backbones(name: str) -> None:
    from torchvision.models import get_model_weights

    arch = ARCHS[name]
    assert arch.imagenet.url == get_model_weights(arch.backbone)["IMAGENET1K_V1"].url


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_the_catalogue_knows_torchvisions_input_size(name: str) -> None:
    transform = theirs(name).transform
    arch = ARCHS[name]
    assert (arch.min_size, arch.max_size) == (transform.min_size[0], transform.max_size)

"""The catalogue, told without torch, says what the installed torchvision says."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from engine.catalogue import ARCHS, Arch, WeightsFile
from tests.engine.archs import smallest_first

torch = pytest.importorskip("torch")
models = pytest.importorskip("torchvision").models

# SSD's own VGG is published under another name than the plain one.
VGG_WEIGHTS = "IMAGENET1K_FEATURES"
# Published with normalisation that doesn't learn.
FROZEN = (
    "fasterrcnn_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn",
    "retinanet_resnet50_fpn", "fcos_resnet50_fpn",
)
archs = pytest.mark.parametrize("arch", ARCHS.values(), ids=lambda arch: arch.name)
published = pytest.mark.parametrize(
    "arch", [arch for arch in ARCHS.values() if arch.coco is not None], ids=lambda arch: arch.name
)


def assert_same(told: WeightsFile, weights: Any) -> None:
    assert told.url == weights.url
    # torchvision counts 2^20 bytes; the catalogue rounds.
    assert told.size_mb == pytest.approx(weights.meta["_file_size"], abs=1)
    assert re.fullmatch(r"[0-9a-f]{8,10}", told.sha256_prefix)


def test_catalogue_is_keyed_by_name() -> None:
    assert all(name == arch.name for name, arch in ARCHS.items())


@published
def test_coco_weights(arch: Arch) -> None:
    assert arch.coco is not None
    assert_same(arch.coco, models.get_model_weights(arch.name)["COCO_V1"])


def test_every_box_detector_of_torchvision_is_there() -> None:
    theirs = {name for name in models.list_models(module=models.detection) if "rcnn" not in name or "faster" in name}
    assert theirs == {arch.name for arch in ARCHS.values() if arch.coco is not None}


@archs
def test_imagenet_weights(arch: Arch) -> None:
    name = VGG_WEIGHTS if arch.backbone == "vgg16" else "IMAGENET1K_V1"
    assert_same(arch.imagenet, models.get_model_weights(arch.backbone)[name])


@published
def test_parameter_counts_are_the_published_ones(arch: Arch) -> None:
    from engine.models import build_detector
    from engine.recipe.schema import Model

    # 91 outputs, whether or not one of them is for the background.
    names = [f"class {index}" for index in range(90 if arch.family in ("fasterrcnn", "ssd") else 91)]
    chosen = Model(arch=arch.name, weights="none", norm="frozen" if arch.name in FROZEN else "auto")
    with torch.device("meta"):
        network = build_detector(chosen, names).network
    expected = models.get_model_weights(arch.name)["COCO_V1"].meta["num_params"]
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@published
def test_input_size(arch: Arch) -> None:
    with torch.device("meta"):
        transform = models.get_model(arch.name, weights=None, weights_backbone=None).transform
    assert (arch.min_size, arch.max_size) == (transform.min_size[0], transform.max_size)


@published
def test_number_of_backbone_stages(arch: Arch) -> None:
    source = inspect.getsource(inspect.getmodule(models.detection.__dict__[arch.name]))  # type: ignore[arg-type]
    found = set(re.findall(r"trainable_backbone_layers, (\d), (\d)", source))
    assert (str(arch.num_backbone_stages), str(arch.num_trained_stages)) in found


@pytest.mark.parametrize("name", smallest_first)
def test_levels_and_stages_are_those_of_the_network(name: str) -> None:
    from engine.models import build_detector
    from engine.models.backbones import classification_network, probe
    from engine.recipe.schema import Model

    arch = ARCHS[name]
    if arch.family != "fasterrcnn":
        return
    # RegNet computes its widths with tensors, which need a place.
    with torch.device("cpu" if "regnet" in arch.name else "meta"):
        network = build_detector(Model(arch=arch.name, weights="none"), ["a"]).network
        blocks = probe(classification_network(arch))
    assert len(network.rpn.anchor_generator.sizes) == arch.num_levels
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.backbone.modules()) == arch.has_batch_norm
    if arch.coco is None:
        assert sum(block.begins_stage for block in blocks) == arch.num_backbone_stages

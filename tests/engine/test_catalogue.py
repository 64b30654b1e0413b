"""The catalogue, told without torch, says what the installed torchvision says."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from engine.catalogue import ARCHS, Arch, WeightsFile

models = pytest.importorskip("torchvision").models

# Where torchvision's own name differs or there is no such builder, the enum is named here.
COCO_WEIGHTS = {
    "fasterrcnn_resnet50_fpn": "FasterRCNN_ResNet50_FPN_Weights",
    "fasterrcnn_resnet50_fpn_v2": "FasterRCNN_ResNet50_FPN_V2_Weights",
    "fasterrcnn_mobilenet_v3_large_fpn": "FasterRCNN_MobileNet_V3_Large_FPN_Weights",
    "fasterrcnn_mobilenet_v3_large_320_fpn": "FasterRCNN_MobileNet_V3_Large_320_FPN_Weights",
    "ssdlite320_mobilenet_v3_large": "SSDLite320_MobileNet_V3_Large_Weights",
}
BACKBONE_WEIGHTS = {
    "resnet18": "ResNet18_Weights",
    "resnet50": "ResNet50_Weights",
    "mobilenet_v2": "MobileNet_V2_Weights",
    "mobilenet_v3_large": "MobileNet_V3_Large_Weights",
}
archs = pytest.mark.parametrize("arch", ARCHS.values(), ids=lambda arch: arch.name)


def assert_same(told: WeightsFile, weights: Any) -> None:
    assert told.url == weights.url
    # torchvision counts 2^20 bytes; the catalogue rounds.
    assert told.size_mb == pytest.approx(weights.meta["_file_size"], abs=1)
    assert re.fullmatch(r"[0-9a-f]{8}", told.sha256_prefix)


def test_catalogue_is_keyed_by_name() -> None:
    assert all(name == arch.name for name, arch in ARCHS.items())


@archs
def test_coco_weights(arch: Arch) -> None:
    if arch.name not in COCO_WEIGHTS:
        assert arch.coco is None
        assert not hasattr(models.detection, arch.name)
        return
    assert arch.coco is not None
    assert_same(arch.coco, getattr(models.detection, COCO_WEIGHTS[arch.name]).COCO_V1)


@archs
def test_imagenet_weights(arch: Arch) -> None:
    assert_same(arch.imagenet, getattr(models, BACKBONE_WEIGHTS[arch.backbone]).IMAGENET1K_V1)


@archs
def test_input_size(arch: Arch) -> None:
    if arch.name not in COCO_WEIGHTS:
        return
    source = inspect.getsource(getattr(models.detection, arch.name))
    if arch.fixed_size:
        assert f"size = ({arch.min_size}, {arch.max_size})" in source
    elif arch.name.endswith("320_fpn"):
        assert f'"min_size": {arch.min_size}' in source
        assert f'"max_size": {arch.max_size}' in source
    else:
        defaults = inspect.signature(models.detection.FasterRCNN.__init__).parameters
        assert (arch.min_size, arch.max_size) == (defaults["min_size"].default, defaults["max_size"].default)


@archs
def test_number_of_backbone_stages(arch: Arch) -> None:
    if arch.name not in COCO_WEIGHTS:
        return
    source = inspect.getsource(getattr(models.detection, arch.name))
    if "_fasterrcnn_mobilenet_v3_large_fpn" in source:
        source += inspect.getsource(models.detection.faster_rcnn._fasterrcnn_mobilenet_v3_large_fpn)
    most = re.search(r"trainable_backbone_layers, (\d), \d", source)
    assert most is not None
    assert arch.num_backbone_stages == int(most[1])

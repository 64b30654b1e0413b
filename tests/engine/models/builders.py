"""Small models, and what torchvision itself would build."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torchvision.models import detection

from engine.catalogue import ARCHS
from engine.recipe.schema import Model

OURS_ALONE = tuple(name for name, arch in ARCHS.items() if arch.coco is None)
TORCHVISIONS: dict[str, Callable[..., nn.Module]] = {
    name: getattr(detection, name) for name in ARCHS if name not in OURS_ALONE
}
QUICK = "fasterrcnn_mobilenet_v3_large_fpn"
SSD = "ssdlite320_mobilenet_v3_large"
SSD300 = "ssd300_vgg16"
RETINANET = "retinanet_resnet50_fpn"
FCOS = "fcos_resnet50_fpn"
# One of each family, the quickest.
FAMILIES = (QUICK, RETINANET, FCOS, SSD)


def model(arch: str = QUICK, **values: Any) -> Model:
    """A model that is small where its detector lets it be."""
    small: dict[str, Any] = {"weights": "none"}
    if not ARCHS[arch].fixed_size:
        small |= {"min_size": 48, "max_size": 64, "fpn_channels": 64}
    if ARCHS[arch].family == "fasterrcnn":
        small |= {"fpn_channels": 16, "box_head_width": 16, "box_samples": 32}
    return Model(**{"arch": arch, **small, **values})


def confident(network: nn.Module) -> None:
    """Undo the start at which RetinaNet and FCOS find nothing."""
    for name, parameter in network.named_parameters():
        if name.endswith("classification_head.cls_logits.bias"):
            nn.init.zeros_(parameter)

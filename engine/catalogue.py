"""What `model.arch` may name, told without importing torch.

A test compares every entry with the installed torchvision, so this table can't drift from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Family = Literal["fasterrcnn", "ssd"]

DOWNLOAD_BASE = "https://download.pytorch.org/models/"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A published weights file.

    Attributes:
        name: File name in the torch hub cache; its last "-" part is the start of the sha256.
        size_mb: Download size in megabytes, rounded.
    """

    name: str
    size_mb: int

    @property
    def url(self) -> str:
        """Where torch hub fetches it from."""
        return DOWNLOAD_BASE + self.name

    @property
    def sha256_prefix(self) -> str:
        """The first hexadecimal digits that the file's sha256 must have."""
        return self.name.rsplit("-", 1)[1].removesuffix(".pth")


@dataclass(frozen=True, slots=True)
class Arch:
    """A detector that a recipe can name.

    Attributes:
        name: As in `model.arch`.
        family: Which adapter serves it.
        backbone: torchvision's name of the backbone.
        min_size: Default shorter side in pixels that images are resized to.
        max_size: Default upper bound in pixels of the longer side.
        fixed_size: The input size can't be changed.
        coco: Published detector weights, if any.
        imagenet: Published backbone weights.
        num_backbone_stages: Greatest meaningful `model.trainable_layers`.
        num_parameters: Numbers that a detector of 90 classes with its default widths has.
    """

    name: str
    family: Family
    backbone: str
    min_size: int
    max_size: int
    coco: WeightsFile | None
    imagenet: WeightsFile
    num_backbone_stages: int
    fixed_size: bool = False
    num_parameters: int = field(kw_only=True)


_RESNET18 = WeightsFile("resnet18-f37072fd.pth", 45)
_RESNET50 = WeightsFile("resnet50-0676ba61.pth", 98)
_MOBILENET_V2 = WeightsFile("mobilenet_v2-b0353104.pth", 14)
_MOBILENET_V3 = WeightsFile("mobilenet_v3_large-8738ca79.pth", 21)

ARCHS: dict[str, Arch] = {
    arch.name: arch
    for arch in (
        Arch(
            "fasterrcnn_resnet50_fpn", "fasterrcnn", "resnet50", 800, 1333,
            WeightsFile("fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", 160), _RESNET50, 5,
            num_parameters=41_808_406,
        ),
        Arch(
            "fasterrcnn_resnet50_fpn_v2", "fasterrcnn", "resnet50", 800, 1333,
            WeightsFile("fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth", 167), _RESNET50, 5,
            num_parameters=43_712_278,
        ),
        Arch(
            "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn", "mobilenet_v3_large", 800, 1333,
            WeightsFile("fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth", 74), _MOBILENET_V3, 6,
            num_parameters=19_410_754,
        ),
        Arch(
            "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn", "mobilenet_v3_large", 320, 640,
            WeightsFile("fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth", 74), _MOBILENET_V3, 6,
            num_parameters=19_410_754,
        ),
        Arch(
            "fasterrcnn_resnet18_fpn", "fasterrcnn", "resnet18", 800, 1333,
            None, _RESNET18, 5,
            num_parameters=28_739_606,
        ),
        Arch(
            "fasterrcnn_mobilenet_v2_fpn", "fasterrcnn", "mobilenet_v2", 480, 640,
            None, _MOBILENET_V2, 5,
            num_parameters=18_657_253,
        ),
        Arch(
            "ssdlite320_mobilenet_v3_large", "ssd", "mobilenet_v3_large", 320, 320,
            WeightsFile("ssdlite320_mobilenet_v3_large_coco-a79551df.pth", 13), _MOBILENET_V3, 6,
            fixed_size=True, num_parameters=3_440_060,
        ),
    )
}

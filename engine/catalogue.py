"""What `model.arch` may name, told without importing torch.

A test compares every entry with the installed torchvision, so this table can't drift from it. Left out
are backbones that have no pyramid of feature maps to give or only one input size (AlexNet, Inception,
GoogLeNet, SqueezeNet, VGG without SSD, ViT, MaxViT), those whose maps would need layers of their own
(DenseNet, Swin), and those without plain ImageNet weights (RegNetY-128GF).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Family = Literal["fasterrcnn", "retinanet", "fcos", "ssd"]

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
        num_trained_stages: How many of them learn by default when they begin trained.
        num_levels: Feature maps that anchors stand on.
        has_batch_norm: Whether the backbone has batch statistics that could be frozen.
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
    num_trained_stages: int = 3
    num_levels: int = 5
    has_batch_norm: bool = True
    num_parameters: int = field(kw_only=True)


_RESNET50 = WeightsFile("resnet50-0676ba61.pth", 98)
_MOBILENET_V3 = WeightsFile("mobilenet_v3_large-8738ca79.pth", 21)
# VGG as SSD's authors trained it.
_VGG16 = WeightsFile("vgg16_features-amdegroot-88682ab5.pth", 528)

_TORCHVISIONS = (
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
        num_levels=3, num_parameters=19_410_754,
    ),
    Arch(
        "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn", "mobilenet_v3_large", 320, 640,
        WeightsFile("fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth", 74), _MOBILENET_V3, 6,
        num_levels=3, num_parameters=19_410_754,
    ),
    Arch(
        "retinanet_resnet50_fpn", "retinanet", "resnet50", 800, 1333,
        WeightsFile("retinanet_resnet50_fpn_coco-eeacb38b.pth", 130), _RESNET50, 5,
        num_parameters=34_047_374,
    ),
    Arch(
        "retinanet_resnet50_fpn_v2", "retinanet", "resnet50", 800, 1333,
        WeightsFile("retinanet_resnet50_fpn_v2_coco-5905b1c5.pth", 146), _RESNET50, 5,
        num_parameters=38_178_190,
    ),
    Arch(
        "fcos_resnet50_fpn", "fcos", "resnet50", 800, 1333,
        WeightsFile("fcos_resnet50_fpn_coco-99b0c9b7.pth", 124), _RESNET50, 5,
        num_parameters=32_320_415,
    ),
    Arch(
        "ssd300_vgg16", "ssd", "vgg16", 300, 300,
        WeightsFile("ssd300_vgg16_coco-b556d3b4.pth", 136), _VGG16, 5,
        fixed_size=True, num_trained_stages=4, num_levels=6, has_batch_norm=False, num_parameters=35_641_826,
    ),
    Arch(
        "ssdlite320_mobilenet_v3_large", "ssd", "mobilenet_v3_large", 320, 320,
        WeightsFile("ssdlite320_mobilenet_v3_large_coco-a79551df.pth", 13), _MOBILENET_V3, 6,
        fixed_size=True, num_trained_stages=6, num_levels=6, num_parameters=3_440_060,
    ),
)


def _fpn(
    backbone: str, file: str, size_mb: int, num_parameters: int, num_stages: int = 5,
    *, coarse: bool = False, small: bool = False, norm: bool = True,
) -> Arch:
    """Faster R-CNN with a pyramid on a classification network.

    Args:
        backbone: torchvision's name.
        file: Its ImageNet weights.
        size_mb: Of the file.
        num_parameters: Of the detector.
        num_stages: Of the backbone.
        coarse: The pyramid begins at stride 8, not 4: that level costs more than all others together.
        small: Made for phones; looks at smaller images.
        norm: Whether the backbone has batch normalisation.
    """
    return Arch(
        f"fasterrcnn_{backbone}_fpn", "fasterrcnn", backbone, *((480, 640) if small else (800, 1333)),
        None, WeightsFile(file, size_mb), num_stages,
        num_levels=4 if coarse else 5, has_batch_norm=norm, num_parameters=num_parameters,
    )


_OURS = (
    _fpn("resnet18", "resnet18-f37072fd.pth", 45, 28_739_606),
    _fpn("resnet34", "resnet34-b627a593.pth", 83, 38_847_766),
    _fpn("resnet101", "resnet101-63fe2227.pth", 171, 60_800_534),
    _fpn("resnet152", "resnet152-394f9c45.pth", 230, 76_444_182),
    _fpn("resnext50_32x4d", "resnext50_32x4d-7cdf4587.pth", 96, 41_280_278),
    _fpn("resnext101_32x8d", "resnext101_32x8d-8ba56ff5.pth", 340, 105_042_710),
    _fpn("resnext101_64x4d", "resnext101_64x4d-173b62eb.pth", 319, 99_706_646),
    _fpn("wide_resnet50_2", "wide_resnet50_2-95faca4d.pth", 132, 85_134_614),
    _fpn("wide_resnet101_2", "wide_resnet101_2-32ee1156.pth", 243, 143_138_070),
    _fpn("regnet_x_400mf", "regnet_x_400mf-adf1edd5.pth", 21, 22_580_246),
    _fpn("regnet_x_800mf", "regnet_x_800mf-ad17e45c.pth", 28, 24_198_902),
    _fpn("regnet_x_1_6gf", "regnet_x_1_6gf-e3633e7f.pth", 35, 25_993_830),
    _fpn("regnet_x_3_2gf", "regnet_x_3_2gf-f342aeae.pth", 59, 32_047_254),
    _fpn("regnet_x_8gf", "regnet_x_8gf-03ceed89.pth", 151, 55_726_742),
    _fpn("regnet_x_16gf", "regnet_x_16gf-2007eb11.pth", 208, 70_497_142),
    _fpn("regnet_x_32gf", "regnet_x_32gf-9d47f8d0.pth", 412, 123_855_126),
    _fpn("regnet_y_400mf", "regnet_y_400mf-c65dace8.pth", 17, 21_425_278),
    _fpn("regnet_y_800mf", "regnet_y_800mf-1b27b58c.pth", 25, 23_300_718),
    _fpn("regnet_y_1_6gf", "regnet_y_1_6gf-b11a554e.pth", 43, 27_987_116),
    _fpn("regnet_y_3_2gf", "regnet_y_3_2gf-b5a9779c.pth", 75, 35_848_928),
    _fpn("regnet_y_8gf", "regnet_y_8gf-d0d0e4a8.pth", 151, 55_599_310),
    _fpn("regnet_y_16gf", "regnet_y_16gf-9e6ed7dd.pth", 319, 99_144_042),
    _fpn("regnet_y_32gf", "regnet_y_32gf-4dee3f7a.pth", 554, 160_195_296),
    _fpn("convnext_tiny", "convnext_tiny-983f1562.pth", 109, 45_504_566, 4, norm=False),
    _fpn("convnext_small", "convnext_small-0c510722.pth", 192, 67_139_126, 4, norm=False),
    _fpn("convnext_base", "convnext_base-6075fbad.pth", 338, 105_373_270, 4, norm=False),
    _fpn("convnext_large", "convnext_large-ea097f82.pth", 755, 214_281_878, 4, norm=False),
    _fpn("efficientnet_b0", "efficientnet_b0_rwightman-7f5810bc.pth", 20, 20_447_073, coarse=True),
    _fpn("efficientnet_b1", "efficientnet_b1_rwightman-bac287d4.pth", 30, 22_952_709, coarse=True),
    _fpn("efficientnet_b2", "efficientnet_b2_rwightman-c35c1473.pth", 35, 24_066_535, coarse=True),
    _fpn("efficientnet_b3", "efficientnet_b3_rwightman-b3899882.pth", 47, 26_979_597, coarse=True),
    _fpn("efficientnet_b4", "efficientnet_b4_rwightman-23ab8bcd.pth", 74, 33_643_053, coarse=True),
    _fpn("efficientnet_b5", "efficientnet_b5_lukemelas-1a07897c.pth", 117, 44_211_477, coarse=True),
    _fpn("efficientnet_b6", "efficientnet_b6_lukemelas-24a108a5.pth", 165, 56_351_933, coarse=True),
    _fpn("efficientnet_b7", "efficientnet_b7_lukemelas-c5b4e57e.pth", 255, 79_115_957, coarse=True),
    _fpn("efficientnet_v2_s", "efficientnet_v2_s-dd5fe13b.pth", 83, 36_700_981, coarse=True),
    _fpn("efficientnet_v2_m", "efficientnet_v2_m-dc08266a.pth", 208, 69_127_897, coarse=True),
    _fpn("efficientnet_v2_l", "efficientnet_v2_l-59c71312.pth", 455, 133_389_125, coarse=True),
    _fpn("mobilenet_v2", "mobilenet_v2-b0353104.pth", 14, 18_657_253, coarse=True, small=True),
    _fpn("mobilenet_v3_small", "mobilenet_v3_small-047dcff4.pth", 10, 17_644_421, coarse=True, small=True),
    _fpn("mnasnet0_5", "mnasnet0.5_top1_67.823-3ffadce67e.pth", 9, 17_520_397, coarse=True, small=True),
    _fpn("mnasnet0_75", "mnasnet0_75-7090bc5f.pth", 12, 18_398_365, coarse=True, small=True),
    _fpn("mnasnet1_0", "mnasnet1.0_top1_73.512-f206786ef8.pth", 17, 19_537_741, coarse=True, small=True),
    _fpn("mnasnet1_3", "mnasnet1_3-a4c69d6f.pth", 24, 21_350_669, coarse=True, small=True),
    _fpn("shufflenet_v2_x0_5", "shufflenetv2_x0.5-f707e7126e.pth", 5, 16_960_005, 4, coarse=True, small=True),
    _fpn("shufflenet_v2_x1_0", "shufflenetv2_x1-5666bf0f80.pth", 9, 17_715_145, 4, coarse=True, small=True),
    _fpn("shufflenet_v2_x1_5", "shufflenetv2_x1_5-3c479a10.pth", 14, 18_801_925, 4, coarse=True, small=True),
    _fpn("shufflenet_v2_x2_0", "shufflenetv2_x2_0-8be3c8ee.pth", 28, 20_510_153, 4, coarse=True, small=True),
)

ARCHS: dict[str, Arch] = {arch.name: arch for arch in (*_TORCHVISIONS, *_OURS)}

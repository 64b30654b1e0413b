"""Detectors without proposals: RetinaNet, FCOS, SSD300 and SSDlite, with torchvision's own constants."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torchvision.models.detection.fcos import FCOS
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead
from torchvision.models.detection.ssd import SSD, SSDFeatureExtractorVGG
from torchvision.models.detection.ssdlite import SSDLiteFeatureExtractorMobileNet, SSDLiteHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from engine.catalogue import Arch
from engine.models.anchors import anchor_generator, default_boxes
from engine.models.backbones import Norm, last_two_stages, pyramid
from engine.recipe.schema import Model

# Three sizes an octave on each level, from 32 px on.
_RETINANET_ANCHORS = tuple(
    (size, int(size * 2 ** (1 / 3)), int(size * 2 ** (2 / 3))) for size in (32, 64, 128, 256, 512)
)
_STRIDES = (8, 16, 32)
_RESNET50_CHANNELS = 2048
_NUM_GROUPS = 32

_SSD300_SCALES = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
_SSD300_RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
_SSD300_STEPS = [8, 16, 32, 64, 100, 300]
# From 0.2 to 0.95 in six equal steps, and the whole image.
_SSDLITE_SCALES = (*(0.2 + 0.75 * level / 5 for level in range(6)), 1.0)
_SSDLITE_RATIOS = ((2, 3),) * 6


def retinanet(arch: Arch, model: Model, num_outputs: int, network: nn.Module) -> RetinaNet:
    """RetinaNet on ResNet-50, as published first or as improved ("_v2").

    Args:
        arch: Which one.
        model: The recipe's `[model]`.
        num_outputs: Classes; there is no background among them.
        network: The classification network that becomes the backbone.
    """
    is_v2 = arch.name.endswith("_v2")
    channels = model.fpn_channels
    # The improved one makes its coarse levels from the backbone, the first one from the pyramid.
    coarse = LastLevelP6P7(_RESNET50_CHANNELS if is_v2 else channels, channels)
    backbone = pyramid(network, channels, _STRIDES, coarse)
    anchors = anchor_generator(model, _RETINANET_ANCHORS)
    norm = partial(nn.GroupNorm, _NUM_GROUPS) if is_v2 else None
    head = RetinaNetHead(channels, anchors.num_anchors_per_location()[0], num_outputs, norm_layer=norm)
    if is_v2:
        head.regression_head._loss_type = "giou"  # noqa: SLF001 - the only way there; torchvision does it too
    return RetinaNet(
        backbone, num_outputs, min_size=model.input_min_size, max_size=model.input_max_size,
        anchor_generator=anchors, head=head,
    )


def fcos(model: Model, num_outputs: int, network: nn.Module) -> FCOS:
    """FCOS on ResNet-50; it has a point where others have anchors."""
    channels = model.fpn_channels
    backbone = pyramid(network, channels, _STRIDES, LastLevelP6P7(channels, channels))
    return FCOS(backbone, num_outputs, min_size=model.input_min_size, max_size=model.input_max_size)


def ssd300(arch: Arch, model: Model, num_outputs: int, network: Any) -> SSD:
    """SSD on VGG-16, at 300 px."""
    side = arch.min_size
    boxes = default_boxes(model, side, _SSD300_SCALES, _SSD300_RATIOS, _SSD300_STEPS)
    return SSD(
        SSDFeatureExtractorVGG(network.features, highres=False), boxes, (side, side), num_outputs,
        # The means of ImageNet, and values up to 255, as VGG's authors had them.
        image_mean=[0.48235, 0.45882, 0.40784], image_std=[1 / 255] * 3,
    )


def ssdlite(arch: Arch, model: Model, num_outputs: int, network: Any, norm: Norm) -> SSD:
    """SSDlite on MobileNetV3-Large, at 320 px.

    Args:
        arch: The detector.
        model: The recipe's `[model]`.
        num_outputs: Classes, the background included.
        network: The classification network that becomes the backbone.
        norm: Normalisation of the new layers.
    """
    side = arch.min_size
    features = network.features
    cut = last_two_stages(network)[0]
    # Read before the backbone takes the block apart.
    channels = [features[cut].block[0].out_channels, features[-1].out_channels, 512, 256, 256, 128]
    backbone = SSDLiteFeatureExtractorMobileNet(features, cut, norm)
    boxes = default_boxes(model, side, _SSDLITE_SCALES, _SSDLITE_RATIOS)
    return SSD(
        backbone, boxes, (side, side), num_outputs,
        head=SSDLiteHead(channels, boxes.num_anchors_per_location(), num_outputs, norm),
        score_thresh=0.001, nms_thresh=0.55, detections_per_img=300, topk_candidates=300,
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )

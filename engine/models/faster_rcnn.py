"""Faster R-CNN with a feature pyramid, on any backbone of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead

from engine.catalogue import Arch
from engine.models.anchors import Sizes, anchor_generator
from engine.models.backbones import mobilenet_v3_pyramid, pyramid
from engine.models.roi_pool import SparseRoIAlign
from engine.models.sampled_rpn import SampledRPN
from engine.recipe.schema import Model

# Sizes in pixels of the square anchors on each pyramid level, finest first; torchvision's own.
_ANCHORS = ((32,), (64,), (128,), (256,), (512,))
_MOBILENET_V3_ANCHORS = ((32, 64, 128, 256, 512),) * 3
# Where the pyramid starts at stride 8, each level takes two sizes.
_COARSE_ANCHORS = ((24, 40), (64, 90), (128, 180), (256, 360))
_POOLED_LEVELS = ["0", "1", "2", "3"]
_STRIDES = (4, 8, 16, 32)
_MOBILENET_V3_STRIDES = (32, 32)
# A multiple of every stride, so that scales come out exactly.
_PROBE_SIZE = 128


def faster_rcnn(arch: Arch, model: Model, num_outputs: int, network: nn.Module) -> FasterRCNN:
    """Put a Faster R-CNN together.

    Args:
        arch: Which one.
        model: The recipe's `[model]`.
        num_outputs: Classes, the background included.
        network: The classification network that becomes the backbone.
    """
    sizes: Sizes
    strides: Sequence[int]
    is_v2 = arch.name.endswith("_v2")
    settings: dict[str, Any] = {
        "min_size": model.input_min_size, "max_size": model.input_max_size,
        "box_batch_size_per_image": model.box_samples,
    }
    if arch.coco is not None and arch.backbone == "mobilenet_v3_large":
        backbone, sizes = mobilenet_v3_pyramid(network, model.fpn_channels), _MOBILENET_V3_ANCHORS
        strides = _MOBILENET_V3_STRIDES
        settings |= {"rpn_score_thresh": 0.05}
        if arch.name.endswith("_320_fpn"):
            settings |= {"rpn_pre_nms_top_n_test": 150, "rpn_post_nms_top_n_test": 150}
    else:
        # The pooled level comes on top of these.
        strides = _STRIDES[-(arch.num_levels - 1):]
        backbone = pyramid(network, model.fpn_channels, strides, norm=nn.BatchNorm2d if is_v2 else None)
        sizes = _ANCHORS if arch.num_levels == len(_ANCHORS) else _COARSE_ANCHORS
    anchors = anchor_generator(model, sizes)
    heads = _v2_heads(model, anchors.num_anchors_per_location()[0]) if is_v2 else _heads(model)
    predictor = FastRCNNPredictor(model.box_head_width, num_outputs)
    pooling = SparseRoIAlign(_POOLED_LEVELS, output_size=7, sampling_ratio=2)  # as torchvision's own
    detector = FasterRCNN(
        backbone, rpn_anchor_generator=anchors, box_roi_pool=pooling, box_predictor=predictor, **heads, **settings
    )
    detector.rpn = SampledRPN.like(detector.rpn)
    _settle_pooling(detector, model.fpn_channels, strides)
    return detector


def _settle_pooling(detector: FasterRCNN, channels: int, strides: Sequence[int]) -> None:
    """Let the box head's pooling know the pyramid's scales before the first image.

    torchvision infers them once, from the first batch it sees, and keeps them outside of the weights. From a
    batch of a few pixels it infers wrong ones, for good; and a resumed run, whose first batch is another,
    would not equal one that was never interrupted.
    """
    with torch.device("cpu"), torch.no_grad():
        maps = {
            str(level): torch.zeros(1, channels, _PROBE_SIZE // stride, _PROBE_SIZE // stride)
            for level, stride in enumerate(strides)
        }
        whole = torch.tensor([[0.0, 0.0, _PROBE_SIZE, _PROBE_SIZE]])
        detector.roi_heads.box_roi_pool(maps, [whole], [(_PROBE_SIZE, _PROBE_SIZE)])


def _heads(model: Model) -> dict[str, nn.Module]:
    return {"box_head": TwoMLPHead(model.fpn_channels * 7 * 7, model.box_head_width)}


def _v2_heads(model: Model, num_anchors: int) -> dict[str, nn.Module]:
    channels = model.fpn_channels
    return {
        "rpn_head": RPNHead(channels, num_anchors, conv_depth=2),
        "box_head": FastRCNNConvFCHead(
            (channels, 7, 7), [channels] * 4, [model.box_head_width], norm_layer=nn.BatchNorm2d
        ),
    }

"""Classification networks as backbones: their feature maps, their stages, and which of them learn.

Which blocks a network runs through is told here; which feature maps they give and where its stages
begin is found out by sending a small empty image through. So one way serves every network of
torchvision whose blocks stand in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torchvision.models import (
    VGG,
    EfficientNet,
    MNASNet,
    MobileNetV2,
    MobileNetV3,
    RegNet,
    ResNet,
    ShuffleNetV2,
    get_model,
)
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool
from torchvision.ops.misc import FrozenBatchNorm2d

from engine.catalogue import Arch

Norm = Callable[..., nn.Module]

# Side of the empty image in pixels: two cells at stride 32.
_PROBE_SIDE = 64
# MobileNetV3-Large, whose stages torchvision's detectors count in their own way.
_NUM_BLOCKS_OF_LARGE = 17
# Last blocks that serve classification only: pooling, the last layer, and the widening before it.
_NUM_TAIL_BLOCKS: dict[type[nn.Module], int] = {
    ResNet: 2, ShuffleNetV2: 2, MobileNetV2: 1, MobileNetV3: 1, EfficientNet: 1, MNASNet: 3,
}


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a backbone.

    Attributes:
        name: Its name among the blocks.
        channels: Of the feature map it gives.
        stride: Pixels of the image between two cells of that map.
        begins_stage: Whether the map becomes coarser here.
    """

    name: str
    channels: int
    stride: int
    begins_stage: bool


def classification_network(arch: Arch, norm: Norm | None = None, *, reduced_tail: bool = False) -> nn.Module:
    """The classification network of a backbone, from random weights.

    Args:
        arch: The detector.
        norm: Its normalisation layers instead of the network's own.
        reduced_tail: MobileNetV3's last layers at half their width, as SSDlite was published.
    """
    settings: dict[str, Any] = {"norm_layer": norm, "reduced_tail": reduced_tail or None}
    asked = {name: value for name, value in settings.items() if value is not None}
    network: nn.Module = get_model(arch.backbone, weights=None, **asked)
    return network


def ssdlite_norm(*, trained: bool) -> Norm:
    """SSDlite's batch normalisation.

    The published momentum of 0.03 suits long training. Statistics that start from nothing would need
    thousands of steps to settle with it, and until then evaluation sees noise.
    """
    return partial(nn.BatchNorm2d, eps=0.001, momentum=0.03 if trained else 0.1)


def freeze_norm(network: nn.Module) -> None:
    """Replace every batch normalisation by one whose statistics and factors stay as they are."""
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, eps=child.eps)
            frozen.load_state_dict(child.state_dict(), strict=False)
            setattr(network, name, frozen)
        else:
            freeze_norm(child)


def blocks_in_a_row(network: nn.Module) -> nn.Module:
    """The module whose children, one after another, are a classification network up to its last feature map."""
    row: Any = network
    if isinstance(network, RegNet):
        row = nn.Sequential()
        row.add_module("stem", network.stem)
        for name, block in network.trunk_output.named_children():
            row.add_module(name, block)
    elif isinstance(network, MNASNet):
        row = network.layers
    elif not isinstance(network, (ResNet, ShuffleNetV2)):
        row = network.features
    assert isinstance(row, nn.Module)
    return row


def probe(network: nn.Module) -> list[Block]:
    """What feature map each block of a classification network gives; its weights and statistics stay untouched."""
    num_tail = _NUM_TAIL_BLOCKS.get(type(network), 0)
    children = list(blocks_in_a_row(network).named_children())
    parameter = next(network.parameters())
    was_training = network.training
    network.eval()
    with torch.no_grad():
        found = list(_probed(children[: len(children) - num_tail], parameter))
    network.train(was_training)
    return found


def _probed(children: Sequence[tuple[str, nn.Module]], like: torch.Tensor) -> Iterator[Block]:
    maps = like.new_zeros(1, 3, _PROBE_SIDE, _PROBE_SIDE)
    before = 0
    for name, child in children:
        maps = child(maps)
        stride = _PROBE_SIDE // maps.shape[-1]
        # Pooling without weights belongs to the stage before it.
        begins = stride > before and any(True for _ in child.parameters())
        yield Block(name, maps.shape[1], stride, begins)
        before = stride if begins else before


def pyramid(
    network: nn.Module, out_channels: int, strides: Sequence[int], extra: ExtraFPNBlock | None = None,
    norm: Norm | None = None,
) -> BackboneWithFPN:
    """A feature pyramid on the last block of each stride.

    Args:
        network: The classification network; its blocks become the pyramid's `body`.
        out_channels: Of each level.
        strides: Of the levels, finest first.
        extra: Makes coarser levels; by default one by pooling.
        norm: Normalisation of the pyramid's own layers; by default none.
    """
    last = {block.stride: block for block in probe(network)}
    levels = [last[stride] for stride in strides]
    return BackboneWithFPN(
        blocks_in_a_row(network), {block.name: str(level) for level, block in enumerate(levels)},
        [block.channels for block in levels], out_channels, extra or LastLevelMaxPool(), norm_layer=norm,
    )


def mobilenet_v3_pyramid(network: Any, out_channels: int) -> BackboneWithFPN:
    """The pyramid that torchvision puts on MobileNetV3: its last two stages, both at stride 32, and a pooled one."""
    features = network.features
    stages = last_two_stages(network)
    layers = {str(index): str(level) for level, index in enumerate(stages)}
    channels = [features[index].out_channels for index in stages]
    return BackboneWithFPN(features, layers, channels, out_channels, LastLevelMaxPool())


def last_two_stages(network: Any) -> list[int]:
    """Indices of the blocks that begin the last two stages of MobileNetV3."""
    return _marked_starts(list(network.features))[-2:]


# --- which stages learn ---


def freeze_stages(network: nn.Module, arch: Arch, num_trainable: int) -> None:
    """Let only the last stages of a classification network learn, before it becomes a backbone.

    Args:
        network: The classification network.
        arch: The detector it is for.
        num_trainable: Stages that learn, counted from the output.
    """
    if num_trainable >= arch.num_backbone_stages:
        return
    if isinstance(network, ResNet):
        _freeze_resnet(network, num_trainable)
        return
    blocks = dict(blocks_in_a_row(network).named_children())
    starts = _stage_starts(network, list(blocks.values()))
    first = len(blocks) if num_trainable == 0 else starts[len(starts) - num_trainable]
    for block in list(blocks.values())[:first]:
        block.requires_grad_(requires_grad=False)


def _stage_starts(network: nn.Module, blocks: Sequence[nn.Module]) -> list[int]:
    if isinstance(network, VGG):
        pools = [index for index, block in enumerate(blocks) if isinstance(block, nn.MaxPool2d)]
        return [0, *pools[:-1]]
    if isinstance(network, MobileNetV3) and len(blocks) == _NUM_BLOCKS_OF_LARGE:
        return _marked_starts(blocks)
    return [index for index, block in enumerate(probe(network)) if block.begins_stage]


def _marked_starts(blocks: Sequence[nn.Module]) -> list[int]:
    """Indices of the blocks at which MobileNetV3's stages begin, the stem and last layer included.

    Source:
        torchvision.models.detection.backbone_utils, which marks such blocks with `_is_cn`.
    """
    marked = [index for index, block in enumerate(blocks) if getattr(block, "_is_cn", False)]
    return [0, *marked, len(blocks) - 1]


def _freeze_resnet(network: nn.Module, num_trainable: int) -> None:
    learning = ("layer4", "layer3", "layer2", "layer1", "conv1")[:num_trainable]
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name.startswith(learning)

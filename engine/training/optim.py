"""The optimizer of a recipe: which parameters learn, how fast each, and when the backbone may.

"Backbone" means the part that a classification network lends to the detector, which ImageNet weights
fill. The pyramid or the extra layers on top of it belong to the neck and learn at the full rate, as in
mmdetection and DETR. Which parameters learn at all is decided once, by `model.trainable_layers`: they
are in the optimizer's groups, and what isn't there never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.ssd import SSDFeatureExtractorVGG

from engine.models.detector import Detector
from engine.recipe.schema import Optimizer

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


# Where torch has the update as one kernel; the same sums in one pass over the weights instead of four.
_FUSING_DEVICES = {"cpu", "cuda"}


def build_optimizer(
    detector: Detector | Iterable[nn.Parameter], settings: Optimizer, *, fused: bool = False
) -> torch.optim.Optimizer:
    """The optimizer a recipe asks for, over the parameters that learn.

    Build it before `set_training_mode` freezes anything: what requires no gradient here never learns.

    Args:
        detector: The detector, or bare parameters, none of which then counts as backbone.
        settings: The recipe's `[optimizer]`.
        fused: Update in one pass where the device has it; the recipe's `hardware.fused_optimizer`.

    Returns:
        One group for each learning rate and weight decay that differ, with its `lr_factor`; a single
        group, in the detector's own order, where nothing differs.
    """
    groups = _groups(detector, settings)
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    fuse = (fused and devices <= _FUSING_DEVICES) or None  # torch chooses otherwise
    if settings.name == "sgd":
        sgd = torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, fused=fuse)
        if fuse:
            sgd.register_step_pre_hook(_begin_momentum)
        return sgd
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.momentum, 0.999), fused=fuse)


def _begin_momentum(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Give parameters that learn for the first time a momentum of zero, from which the first step is the same.

    The fused update makes momentum only if no parameter of a group has any, and fails where one comes later: a
    backbone that was frozen at first, a head that got no gradient before.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if group["momentum"] and parameter.grad is not None:
                state = optimizer.state[parameter]
                if state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = torch.zeros_like(parameter)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Use this learning rate from the next step on; each group its share of it.

    Args:
        optimizer: Of `build_optimizer`.
        lr: The full rate, which necks and heads use and which is shown.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_factor", 1.0)


def set_training_mode(
    detector: Detector, optimizer: torch.optim.Optimizer, *, freeze_backbone: bool = False
) -> None:
    """Ready a detector for training steps, after it was built, loaded or measured.

    The outcome depends on the arguments alone, not on what came before: a resumed run, or one that
    went back to a checkpoint, calls this with `freeze_backbone=epoch < training.freeze_epochs` like
    any other. Frozen parameters have no gradient, so neither momentum nor weight decay moves them.
    A batch norm whose weights don't learn keeps its statistics too, and a backbone of which nothing
    learns computes as in evaluation.

    Args:
        detector: In training mode afterwards.
        optimizer: Of this detector; what isn't in its groups stays frozen always.
        freeze_backbone: Whether the backbone stays as it is for now.
    """
    learning = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    detector.train()
    for part in backbone_parts(detector):
        for parameter in part.parameters():
            parameter.requires_grad = id(parameter) in learning and not freeze_backbone
            if not parameter.requires_grad:
                parameter.grad = None
        if not any(parameter.requires_grad for parameter in part.parameters()):
            part.eval()  # dropped branches of EfficientNet and ConvNeXt too
        for layer in part.modules():
            if isinstance(layer, _BATCH_NORMS) and not any(own.requires_grad for own in layer.parameters()):
                layer.eval()


def backbone_parts(detector: Detector) -> tuple[nn.Module, ...]:
    """The modules that make up the backbone, without pyramid and extra layers."""
    backbone: Any = detector.network.backbone
    if isinstance(backbone, BackboneWithFPN):
        return (backbone.body,)
    if isinstance(backbone, SSDFeatureExtractorVGG):
        # VGG's last stage is the first of the extra layers here.
        return (backbone.features, backbone.extra[0])
    return (backbone.features,)


def _groups(detector: Detector | Iterable[nn.Parameter], settings: Optimizer) -> list[dict[str, Any]]:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, lr_factor in _with_lr_factor(detector, settings):
        if parameter.requires_grad:
            groups.setdefault((lr_factor, _weight_decay(parameter, settings)), []).append(parameter)
    return [
        {"params": parameters, "lr": settings.lr * lr_factor, "lr_factor": lr_factor, "weight_decay": weight_decay}
        for (lr_factor, weight_decay), parameters in groups.items()
    ]


def _with_lr_factor(
    detector: Detector | Iterable[nn.Parameter], settings: Optimizer
) -> Iterator[tuple[nn.Parameter, float]]:
    if not isinstance(detector, Detector):
        yield from ((parameter, 1.0) for parameter in detector)
        return
    backbone = {id(parameter) for part in backbone_parts(detector) for parameter in part.parameters()}
    for parameter in detector.parameters():
        yield parameter, settings.backbone_lr_factor if id(parameter) in backbone else 1.0


def _weight_decay(parameter: nn.Parameter, settings: Optimizer) -> float:
    # Weights of products have two dimensions, of convolutions four; biases and norms have one, ConvNeXt's scales three.
    if parameter.ndim in {2, 4}:
        return settings.weight_decay
    if settings.norm_weight_decay is not None:
        return settings.norm_weight_decay
    return settings.weight_decay if settings.name == "sgd" else 0.0

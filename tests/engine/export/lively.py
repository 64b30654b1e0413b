"""Detectors from random weights that all the same find many things, none like another."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.models import Detection, Detector, build_detector
from tests.engine.models.builders import confident, model

CLASSES = ("a", "b", "c")
# VGG has no normalisation that would keep its features small.
_SPREAD_OF_VGG = 0.005
_SCORING = ("cls_logits", "cls_score", "classification_head.module_list")


def lively_detector(arch: str) -> Detector:
    """A small detector of three classes; see `enlivened`."""
    torch.manual_seed(0)
    return enlivened(build_detector(model(arch), CLASSES))


def enlivened(detector: Detector) -> Detector:
    """A detector from random weights with its scores spread: else all boxes tie, and nobody can say which is first."""
    detector.train()
    for layer in detector.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.5
    fixed = detector.network.transform.fixed_size
    side = fixed[0] if fixed else 64
    with torch.no_grad():
        for _ in range(4):
            detector.network.backbone(torch.randn(2, 3, side, side))
        for name, parameter in detector.network.named_parameters():
            if parameter.dim() > 1 and any(part in name for part in _SCORING):
                nn.init.normal_(parameter, std=_SPREAD_OF_VGG if fixed == (300, 300) else 0.2)
    confident(detector.network)
    return detector.eval()


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A photo of coloured noise."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def reference(detector: Detector, pixels: NDArray[np.uint8]) -> Detection:
    """What engine itself finds in a photo."""
    image: Tensor = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    [found] = detector.detect([image])
    return found

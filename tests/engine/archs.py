"""Which detectors the quick tests look at; told without torch."""

from __future__ import annotations

import pytest

from engine.catalogue import ARCHS

# The larger ones of a series differ from the smallest in numbers only.
_SMALLEST = (
    "resnet18", "resnext50_32x4d", "wide_resnet50_2", "regnet_x_400mf", "convnext_tiny", "efficientnet_b0",
    "efficientnet_v2_s", "mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5", "shufflenet_v2_x0_5",
)
QUICK_ARCHS = tuple(name for name, arch in ARCHS.items() if arch.coco is not None or arch.backbone in _SMALLEST)
smallest_first = [pytest.param(name, marks=() if name in QUICK_ARCHS else pytest.mark.slow) for name in ARCHS]

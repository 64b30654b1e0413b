"""Puts a detector onto its device in the form in which it computes quickest there.

Each part has its switch in `[hardware]`, changes no result beyond the order of summation, and is measured
by `python -m tests.bench.exact_speed`. They are for CPUs; elsewhere torchvision's own kernels run.
"""

from __future__ import annotations

import torch

from engine.models.detector import Detector
from engine.models.roi_pool import SparseRoIAlign
from engine.models.sampled_rpn import SampledRPN
from engine.recipe.schema import Hardware


def prepared(detector: Detector, hardware: Hardware, device: torch.device) -> Detector:
    """The detector on its device, with the speed-ups that the recipe leaves on.

    Args:
        detector: As built.
        hardware: The recipe's `[hardware]`.
        device: Where it is to compute.
    """
    for module in detector.modules():
        if isinstance(module, SparseRoIAlign):
            module.is_sparse = hardware.sparse_pooling
        elif isinstance(module, SampledRPN):
            module.is_sampled = hardware.sampled_proposals
    detector.to(device)
    if device.type == "cpu" and hardware.channels_last:
        detector.to(memory_format=torch.channels_last)
    return detector

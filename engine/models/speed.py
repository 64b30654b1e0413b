"""Puts a detector onto its device in the form in which it computes quickest there.

Each part has its switch in `[hardware]`, changes no result beyond the order of summation, and is measured
by `python -m tests.bench.exact_speed`. They are for CPUs; elsewhere torchvision's own kernels run. The number
format, which does change results, is the recipe's `precision`.
"""

from __future__ import annotations

import torch
from torchvision.ops import FeaturePyramidNetwork

from engine.models.bit_clamp import clamp_bits
from engine.models.detector import Detector
from engine.models.folded_norm import fold_while_training, take_on
from engine.models.precision import pick_precision
from engine.models.pyramid_sum import InPlacePyramid
from engine.models.roi_pool import SparseRoIAlign
from engine.models.sampled_rpn import SampledRPN
from engine.recipe.schema import Hardware


def flush_subnormals() -> None:
    """Let this process, and the threads that it starts from now on, take subnormal numbers for zero.

    Numbers below 1e-38 change no result that matters, but CPUs compute with them up to a hundred times as slowly, and
    a signal that dies out in a network that hasn't learnt yet is made of them.
    """
    torch.set_flush_denormal(True)


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
        elif isinstance(module, FeaturePyramidNetwork):
            take_on(module, InPlacePyramid)
            module.is_in_place = hardware.pyramid_in_place and device.type == "cpu"
    fold_while_training(detector.network, wanted=hardware.folded_norm and device.type == "cpu")
    if device.type == "cpu":
        clamp_bits(detector.network)
    detector.to(device)
    if device.type == "cpu" and hardware.channels_last:
        detector.to(memory_format=torch.channels_last)
    precision = pick_precision(hardware.precision, device)
    # fp16 is for training with a scaled loss; measuring needs no such care, and gets none of its risk.
    detector.detect_precision = "bf16" if precision == "bf16" else "fp32"
    return detector

"""Puts a detector onto its device in the form in which it computes quickest there.

Each part has its switch in `[hardware]` and, but for shape buckets, changes no result beyond the order of summation.
What they gain on CPUs is measured by `python -m tests.bench.exact_speed`; what they gain on GPUs isn't measured. The
number format, which does change results, is the recipe's `precision`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torchvision.ops import FeaturePyramidNetwork

from engine.models.bit_clamp import clamp_bits
from engine.models.compiled import compile_while_training
from engine.models.detector import Detector
from engine.models.folded_norm import fold_while_training, take_on
from engine.models.precision import pick_precision
from engine.models.pyramid_sum import InPlacePyramid
from engine.models.roi_pool import SparseRoIAlign
from engine.models.sampled_rpn import SampledRPN
from engine.models.transform import Transform
from engine.recipe.schema import Hardware, Precision

log = logging.getLogger(__name__)


def flush_subnormals() -> None:
    """Let this process, and the threads that it starts from now on, take subnormal numbers for zero.

    Numbers below 1e-38 change no result that matters, but CPUs compute with them up to a hundred times as slowly, and
    a signal that dies out in a network that hasn't learnt yet is made of them.
    """
    torch.set_flush_denormal(True)


@dataclass(frozen=True, slots=True)
class Ways:
    """What is done otherwise than torchvision does it; see the keys of `[hardware]`.

    Attributes:
        sparse_pooling: Asked for; it keeps itself to CPUs, as do the next two.
        sampled_proposals: Likewise.
        pyramid_in_place: Likewise.
        folded_norm: Convolutions do fixed normalisation.
        channels_last: Channels lie innermost.
        compile: The backbone is compiled for training.
        shape_buckets: Batches are filled up to few shapes for training.
    """

    sparse_pooling: bool
    sampled_proposals: bool
    pyramid_in_place: bool
    folded_norm: bool
    channels_last: bool
    compile: bool
    shape_buckets: bool


def ways_on(device: torch.device, hardware: Hardware, precision: Precision) -> Ways:
    """What a recipe's `[hardware]` means on a device.

    Args:
        device: Where to compute.
        hardware: The recipe's `[hardware]`.
        precision: The number format that it comes to.
    """
    on_cpu, on_cuda = device.type == "cpu", device.type == "cuda"
    # CUDA's units for short formats want the channels innermost; with fp32 it depends on the layer.
    innermost = on_cpu or (on_cuda and precision != "fp32")
    compiles = hardware.compile is True
    return Ways(
        sparse_pooling=hardware.sparse_pooling, sampled_proposals=hardware.sampled_proposals,
        pyramid_in_place=hardware.pyramid_in_place and on_cpu,
        folded_norm=hardware.folded_norm and (on_cpu or on_cuda),
        channels_last=hardware.channels_last and innermost, compile=compiles,
        shape_buckets=compiles and on_cuda if hardware.shape_buckets == "auto" else hardware.shape_buckets,
    )


def prepared(
    detector: Detector, hardware: Hardware, device: torch.device, warn: Callable[[str], None] = log.warning
) -> Detector:
    """The detector on its device, with the speed-ups that the recipe leaves on.

    Args:
        detector: As built.
        hardware: The recipe's `[hardware]`.
        device: Where it is to compute.
        warn: Told what doesn't work here and is left out.
    """
    precision = pick_precision(hardware.precision, device)
    ways = ways_on(device, hardware, precision)
    for module in detector.modules():
        if isinstance(module, SparseRoIAlign):
            module.is_sparse = ways.sparse_pooling
        elif isinstance(module, SampledRPN):
            module.is_sampled = ways.sampled_proposals
        elif isinstance(module, FeaturePyramidNetwork):
            take_on(module, InPlacePyramid)
            module.is_in_place = ways.pyramid_in_place
    fold_while_training(detector.network, wanted=ways.folded_norm)
    take_on(detector.network.transform, Transform)
    detector.network.transform.is_bucketed = ways.shape_buckets
    if device.type == "cpu":
        clamp_bits(detector.network)
    detector.to(device)
    if ways.channels_last:
        detector.to(memory_format=torch.channels_last)
    if ways.shape_buckets and device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # tries its kernels for each shape, and these are few
    compile_while_training(detector, warn, wanted=ways.compile)
    # fp16 is for training with a scaled loss; measuring needs no such care, and gets none of its risk.
    detector.detect_precision = "bf16" if precision == "bf16" else "fp32"
    return detector

"""The same detections sooner: networks and pictures made ready for detecting only.

Batch normalisation with fixed statistics is a factor and a summand for each channel, which the convolution
before it can do at no cost; and convolutions are quicker where the channels of a pixel lie together. Both change
the last digits of a score only, and neither leaves the names that checkpoints have: never for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.models.detection.image_list import ImageList

from engine.models.detector import Detection, Detector
from engine.models.folded_norm import fold_while_training, folding_pairs
from engine.models.transform import filled


def make_ready(detector: Detector) -> None:
    """Change a detector in place so that it detects sooner; it can't be trained or saved afterwards."""
    detector.eval().requires_grad_(requires_grad=False)
    fold_while_training(detector.network, wanted=False)
    for convolution, norm, parent, name in list(folding_pairs(detector.network)):
        _fold(convolution, norm)
        setattr(parent, name, nn.Identity())
    if detector.detect_precision == "bf16":
        _round_kernels(detector)
    if next(detector.parameters()).device.type != "mps":  # slower there
        detector.to(memory_format=torch.channels_last)


def _round_kernels(detector: Detector) -> None:
    """Round kernels once, as autocast would before each picture."""
    for layer in detector.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.weight.data = layer.weight.data.bfloat16()


def _fold(convolution: nn.Conv2d, norm: Any) -> None:
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )


def prepared_picture(detector: Detector, pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    """A picture resized and normalised as the detector's own transform does it.

    Normalised after resizing: both are linear, so the result is the same but for rounding, and a large photo isn't
    walked through three times.

    Args:
        detector: In eval mode.
        pixels: (H, W, 3) RGB.
        device: Where the detector is.

    Returns:
        (3, h, w) float32.
    """
    transform = detector.network.transform
    if not pixels.flags.writeable or min(pixels.strides) < 0:  # torch takes neither
        pixels = pixels.copy()
    image = torch.from_numpy(pixels).to(device).permute(2, 0, 1).float()
    resized, _ = transform.resize(image, None)
    normalised: Tensor = transform.normalize(resized.div_(255))
    return normalised


@torch.inference_mode()
def detect_prepared(
    detector: Detector, images: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
) -> list[Detection]:
    """Objects in prepared pictures, boxes in pixels of the pictures before they were prepared.

    Args:
        detector: On the images' device.
        images: From `prepared_picture`; best of one shape, for smaller ones are filled up.
        sizes: (height, width) of each picture before.
    """
    transform = detector.network.transform
    shapes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
    return detector.detect_batch(ImageList(_batched(images, transform.size_divisible), shapes), list(sizes))


def _batched(images: Sequence[Tensor], size_divisible: int) -> Tensor:
    """(N, 3, H, W) as the transform's `batch_images` fills them up, the channels of a pixel together from the start."""
    height, width = (
        -(-max(image.shape[side] for image in images) // size_divisible) * size_divisible for side in (1, 2)
    )
    return filled(images[0].new_zeros((len(images), height, width, 3)).permute(0, 3, 1, 2), images)

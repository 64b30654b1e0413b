"""torchvision's way of resizing images and putting them together, with less waiting and, where wanted, fewer shapes.

torchvision sends the means of channels and the scales of boxes to the device anew for each image, and a GPU's host
waits each time. Here the means stay there, and scales are plain numbers; the results are the same to the bit.

It fills a batch up to the next multiple of 32 pixels, which makes dozens of shapes of photos that aren't of one size.
What is made ready for each shape, compiled code and cuDNN's choice of kernels, is better served by few: where
`is_bucketed` is set, sides are filled up to one of a few between the shorter and the longest side. Networks look at
what is filled up too, so losses differ a little: in training only, never where photos are measured or detected in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torchvision
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform

# Between the shorter side and the longest possible one.
_NUM_STEPS = 4
# Where the two are close, a step is at least this share of the longest side.
_LEAST_STEP = 0.1


class Transform(GeneralizedRCNNTransform):  # type: ignore[misc]  # torchvision has no types
    """torchvision's transform; the same arguments and, until `is_bucketed` is set, the same results."""

    is_bucketed: bool = False
    _constants: tuple[Tensor, Tensor] | None = None

    def normalize(self, image: Tensor) -> Tensor:
        """An image with its channels' means taken off, divided by their deviations.

        Args:
            image: (3, H, W) floats in [0, 1].
        """
        if torchvision._is_tracing() or not image.is_floating_point():  # noqa: SLF001 - its own operators ask the same
            normalised: Tensor = super().normalize(image)
            return normalised
        if self._constants is None or (self._constants[0].device, self._constants[0].dtype) != (
            image.device, image.dtype,
        ):
            mean, deviation = (
                torch.as_tensor(values, dtype=image.dtype, device=image.device)[:, None, None]
                for values in (self.image_mean, self.image_std)
            )
            self._constants = mean, deviation
        return (image - self._constants[0]) / self._constants[1]

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """An image in the network's size, and its target's boxes with it."""
        if torchvision._is_tracing():  # noqa: SLF001
            found: tuple[Tensor, dict[str, Tensor] | None] = super().resize(image, target)
            return found
        resized, _ = super().resize(image, None)
        if target is not None:
            target["boxes"] = scaled_boxes(target["boxes"], image.shape[-2:], resized.shape[-2:])
        return resized, target

    def postprocess(
        self, result: list[dict[str, Tensor]], image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Detections in pixels of the images as they were given."""
        if torchvision._is_tracing():  # noqa: SLF001
            found: list[dict[str, Tensor]] = super().postprocess(result, image_shapes, original_image_sizes)
            return found
        if not self.training:
            for one, shape, original in zip(result, image_shapes, original_image_sizes, strict=True):
                one["boxes"] = scaled_boxes(one["boxes"], shape, original)
        return result

    def batch_images(self, images: list[Tensor], size_divisible: int = 32) -> Tensor:
        """Images in one tensor, zero where they are filled up.

        Args:
            images: (3, H, W), resized.
            size_divisible: Sides of the batch are multiples of it.
        """
        if not (self.is_bucketed and self.training) or self.fixed_size is not None:
            batch: Tensor = super().batch_images(images, size_divisible)
            return batch
        least, most = min(self.min_size), self.max_size
        height, width = (
            padded_side(max(image.shape[axis] for image in images), least, most, size_divisible) for axis in (1, 2)
        )
        return filled(images[0].new_zeros(len(images), images[0].shape[0], height, width), images)


def filled(batch: Tensor, images: Sequence[Tensor]) -> Tensor:
    """A batch (N, C, H, W) with an image (C, h, w) in the upper left corner of each place."""
    for place, image in zip(batch, images, strict=True):
        place[:, : image.shape[1], : image.shape[2]] = image
    return batch


def scaled_boxes(boxes: Tensor, size: Sequence[int], new_size: Sequence[int]) -> Tensor:
    """Boxes of an image that is resized.

    Args:
        boxes: (N, 4) xyxy float32.
        size: Height and width of the image before.
        new_size: And after.
    """
    # In float32, as torchvision divides on the device.
    down, across = (float(np.float32(after) / np.float32(before)) for before, after in zip(size, new_size, strict=True))
    x0, y0, x1, y1 = boxes.unbind(1)
    return torch.stack((x0 * across, y0 * down, x1 * across, y1 * down), dim=1)


def padded_side(side: int, min_size: int, max_size: int, divisible: int = 32) -> int:
    """The side of a batch that holds images of a side.

    Args:
        side: Of the largest image, resized; 1 or more, at most `max_size` up to rounding.
        min_size: What the shorter side is resized to.
        max_size: The longest side possible.
        divisible: The result is a multiple of it.
    """
    def up(pixels: float) -> int:
        return divisible * math.ceil(pixels / divisible)

    shorter, longest = up(min_size), up(max(min_size, max_size))
    step = max((longest - shorter) / _NUM_STEPS, _LEAST_STEP * longest, divisible)
    bucket = up(shorter + step * math.ceil((side - shorter) / step))
    # At the ends: no more than the longest side needs, no less than the image does.
    return max(min(bucket, longest), up(side))

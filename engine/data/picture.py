"""A training image with its objects: what is cut, scaled, padded or mirrored is both at once.

Each change is one torchvision v2 function called with the same numbers on the pixels and on the
boxes (a `tv_tensors.BoundingBoxes`, which knows its canvas). Objects of which too little is left are
dropped with their labels. Nothing here draws anything at random, and nothing is changed in place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as v2

FILL_RGB = (124, 116, 104)
"""What lies beside a picture on a larger canvas: ImageNet's mean, which networks see as nothing."""
LEAST_SIDE_PX = 1.0
"""An object that a change leaves narrower or lower than this is dropped."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image and its objects.

    Attributes:
        image: (3, H, W) uint8 RGB.
        boxes_xyxy: (N, 4) float32, in pixels. N may be 0.
        labels: (N,) int64, zero-based.
        visible: (N,) float32, share of each object's area that is still in the picture.
        num_dropped: Objects that were dropped on the way.
    """

    image: Tensor
    boxes_xyxy: tv_tensors.BoundingBoxes
    labels: Tensor
    visible: Tensor
    num_dropped: int = 0

    @classmethod
    def of(cls, image: Tensor, boxes_xyxy: Tensor, labels: Tensor) -> Picture:
        """A picture as loaded: all of its objects are wholly visible."""
        return cls(image, as_boxes(boxes_xyxy, image), labels, torch.ones(len(labels)))

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.image.shape[-2])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.image.shape[-1])

    def cut(self, top: int, left: int, height: int, width: int, min_visible: float) -> Picture:
        """The part in a window that lies within the picture.

        Args:
            top: First row.
            left: First column.
            height: Rows, at least 1.
            width: Columns, at least 1.
            min_visible: Share of an object's whole area below which it is dropped.
        """
        part = self._both(v2.crop, top, left, height, width)
        visible = self.visible * _areas(part.boxes_xyxy) / _areas(self.boxes_xyxy)
        # A view of the pixels would take the whole picture along from a loader process.
        return replace(part, image=part.image.clone(), visible=visible).demanded(min_visible)

    def resized(self, height: int, width: int) -> Picture:
        """The picture stretched to another size, at least 1 x 1; objects that become too small are dropped."""
        if (height, width) == (self.height, self.width):
            return self
        # torch (2.15 at least) can't average bytes into a single pixel.
        mode = InterpolationMode.BILINEAR if height * width > 1 else InterpolationMode.NEAREST
        image = v2.resize(self.image, [height, width], mode, antialias=True)
        # The product of a corner and a ratio may be a rounding beyond the edge.
        boxes_xyxy = v2.clamp_bounding_boxes(v2.resize(self.boxes_xyxy, [height, width]))
        return replace(self, image=image, boxes_xyxy=boxes_xyxy).demanded(0.0)

    def placed(self, top: int, left: int, height: int, width: int) -> Picture:
        """The picture on a canvas of `FILL_RGB`, its corner at (top, left) of it; it must fit."""
        padding = [left, top, width - left - self.width, height - top - self.height]
        canvas = torch.tensor(FILL_RGB, dtype=torch.uint8)[:, None, None].repeat(1, height, width)
        canvas[:, top : top + self.height, left : left + self.width] = self.image
        return replace(self, image=canvas, boxes_xyxy=v2.pad(self.boxes_xyxy, padding))

    def mirrored(self) -> Picture:
        """Left and right swapped."""
        return self._both(v2.horizontal_flip)

    def upside_down(self) -> Picture:
        """Top and bottom swapped."""
        return self._both(v2.vertical_flip)

    def _both(self, change: Callable[..., Any], *numbers: int) -> Picture:
        boxes_xyxy = change(self.boxes_xyxy, *numbers)
        return replace(self, image=change(self.image, *numbers), boxes_xyxy=boxes_xyxy)

    def demanded(self, min_visible: float) -> Picture:
        """The picture without objects of which less than a share is visible, or that have no size any more."""
        boxes = self.boxes_xyxy.as_subclass(Tensor)
        sides = boxes[:, 2:] - boxes[:, :2]
        keep = (sides >= LEAST_SIDE_PX).all(dim=1) & (self.visible >= min_visible)
        num_dropped = self.num_dropped + int((~keep).sum())
        return replace(
            self, boxes_xyxy=as_boxes(boxes[keep], self.image), labels=self.labels[keep], visible=self.visible[keep],
            num_dropped=num_dropped,
        )


def as_boxes(boxes_xyxy: Tensor, image: Tensor) -> tv_tensors.BoundingBoxes:
    """Corner boxes that know the size of the image that they belong to."""
    size = (int(image.shape[-2]), int(image.shape[-1]))
    return tv_tensors.BoundingBoxes(boxes_xyxy, format="XYXY", canvas_size=size)


def _areas(boxes_xyxy: tv_tensors.BoundingBoxes) -> Tensor:
    corners: Tensor = boxes_xyxy.as_subclass(Tensor)
    return (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])

"""A training image with its objects: what is cut, scaled, padded or mirrored is both at once.

Pixels and boxes are given to the same torchvision v2 function with the same numbers; boxes as
`tv_tensors.BoundingBoxes`, which know their canvas. Objects of which too little is left are
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
    boxes_xyxy: Tensor
    labels: Tensor
    visible: Tensor
    num_dropped: int = 0

    @classmethod
    def of(cls, image: Tensor, boxes_xyxy: Tensor, labels: Tensor) -> Picture:
        """A picture as loaded: all of its objects are wholly visible."""
        return cls(image, boxes_xyxy, labels, torch.ones(len(labels)))

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
        window = (top, left, height, width)
        boxes_xyxy = self._boxes(v2.crop, *window)
        visible = self.visible * _areas(boxes_xyxy) / _areas(self.boxes_xyxy)
        # A view of the pixels would take the whole picture along from a loader process.
        image = v2.crop(self.image, *window).clone()
        return replace(self, image=image, boxes_xyxy=boxes_xyxy, visible=visible).demanded(min_visible)

    def resized(self, height: int, width: int) -> Picture:
        """The picture stretched to another size, at least 1 x 1; objects that become too small are dropped."""
        if (height, width) == (self.height, self.width):
            return self
        # torch (2.15 at least) can't average bytes into a single pixel.
        mode = InterpolationMode.BILINEAR if height * width > 1 else InterpolationMode.NEAREST
        image = v2.resize(self.image, [height, width], mode, antialias=True)
        # The product of a corner and a ratio may be a rounding beyond the edge.
        edge = torch.tensor([width, height, width, height], dtype=torch.float32)
        boxes_xyxy = torch.minimum(self._boxes(v2.resize, [height, width]), edge)
        return replace(self, image=image, boxes_xyxy=boxes_xyxy).demanded(0.0)

    def placed(self, top: int, left: int, height: int, width: int) -> Picture:
        """The picture on a canvas of `FILL_RGB`, its corner at (top, left) of it; it must fit."""
        padding = [left, top, width - left - self.width, height - top - self.height]
        canvas = torch.tensor(FILL_RGB, dtype=torch.uint8)[:, None, None].repeat(1, height, width)
        canvas[:, top : top + self.height, left : left + self.width] = self.image
        return replace(self, image=canvas, boxes_xyxy=self._boxes(v2.pad, padding))

    # Flips take plain arithmetic: they come in nearly every recipe, and a BoundingBoxes costs more than they do.

    def mirrored(self) -> Picture:
        """Left and right swapped."""
        x0, y0, x1, y1 = self.boxes_xyxy.unbind(dim=1)
        boxes_xyxy = torch.stack([self.width - x1, y0, self.width - x0, y1], dim=1)
        return replace(self, image=v2.horizontal_flip(self.image), boxes_xyxy=boxes_xyxy)

    def upside_down(self) -> Picture:
        """Top and bottom swapped."""
        x0, y0, x1, y1 = self.boxes_xyxy.unbind(dim=1)
        boxes_xyxy = torch.stack([x0, self.height - y1, x1, self.height - y0], dim=1)
        return replace(self, image=v2.vertical_flip(self.image), boxes_xyxy=boxes_xyxy)

    def _boxes(self, change: Callable[..., Any], *numbers: Any) -> Tensor:
        """What one of torchvision's functions makes of the boxes; it has to know the size of the image."""
        size = (self.height, self.width)
        boxes = tv_tensors.BoundingBoxes(self.boxes_xyxy, format="XYXY", canvas_size=size)
        changed: Tensor = change(boxes, *numbers).as_subclass(Tensor)
        return changed

    def demanded(self, min_visible: float) -> Picture:
        """The picture without objects of which less than a share is visible, or that have no size any more."""
        sides = self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]
        keep = (sides >= LEAST_SIDE_PX).all(dim=1) & (self.visible >= min_visible)
        num_dropped = self.num_dropped + int((~keep).sum())
        return replace(
            self, boxes_xyxy=self.boxes_xyxy[keep], labels=self.labels[keep], visible=self.visible[keep],
            num_dropped=num_dropped,
        )


def _areas(boxes_xyxy: Tensor) -> Tensor:
    return (boxes_xyxy[:, 2] - boxes_xyxy[:, 0]) * (boxes_xyxy[:, 3] - boxes_xyxy[:, 1])

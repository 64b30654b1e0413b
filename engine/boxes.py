"""Box formats, clipping, area and overlap, on numpy arrays.

Formats are named where boxes are: `xyxy` is (x min, y min, x max, y max), `xywh` is (x min, y min,
width, height), `cxcywh` is (x centre, y centre, width, height). Absolute pixels, origin top left,
unless the name ends in `_norm` (fractions of width and height).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]


def _checked(boxes: Boxes) -> Boxes:
    boxes = np.asarray(boxes, dtype=np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must have shape (N, 4), not {boxes.shape}")
    return boxes


def xywh_to_xyxy(boxes: Boxes) -> Boxes:
    """Turn COCO boxes into corner boxes.

    Args:
        boxes: (N, 4) xywh, absolute pixels, origin top left. N may be 0.

    Returns:
        New (N, 4) xyxy; the input is untouched.

    Raises:
        ValueError: The shape is not (N, 4).

    Source:
        COCO data format, field "bbox".
    """
    boxes = _checked(boxes)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def xyxy_to_xywh(boxes: Boxes) -> Boxes:
    """Turn corner boxes into COCO boxes.

    Args:
        boxes: (N, 4) xyxy, absolute pixels. N may be 0.

    Returns:
        New (N, 4) xywh.

    Raises:
        ValueError: The shape is not (N, 4).
    """
    boxes = _checked(boxes)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def cxcywh_norm_to_xyxy(boxes: Boxes, width: int, height: int) -> Boxes:
    """Turn YOLO boxes into corner boxes.

    Args:
        boxes: (N, 4) cxcywh as fractions of the image. N may be 0.
        width: Image width in pixels.
        height: Image height in pixels.

    Returns:
        New (N, 4) xyxy in pixels.

    Raises:
        ValueError: The shape is not (N, 4).
    """
    boxes = _checked(boxes)
    half = boxes[:, 2:] / 2
    scale = np.array([width, height, width, height], dtype=np.float32)
    corners = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
    return np.asarray(corners * scale, dtype=np.float32)


def xyxy_to_cxcywh_norm(boxes: Boxes, width: int, height: int) -> Boxes:
    """Turn corner boxes into YOLO boxes; the inverse of `cxcywh_norm_to_xyxy`.

    Args:
        boxes: (N, 4) xyxy in pixels. N may be 0.
        width: Image width in pixels, above 0.
        height: Image height in pixels, above 0.

    Returns:
        New (N, 4) cxcywh as fractions of the image.

    Raises:
        ValueError: The shape is not (N, 4).
    """
    boxes = _checked(boxes)
    scale = np.array([width, height, width, height], dtype=np.float32)
    scaled = boxes / scale
    centre = (scaled[:, :2] + scaled[:, 2:]) / 2
    return np.concatenate([centre, scaled[:, 2:] - scaled[:, :2]], axis=1).astype(np.float32)


def clip_xyxy(boxes: Boxes, width: int, height: int) -> Boxes:
    """Cut corner boxes off at the image's edge.

    Args:
        boxes: (N, 4) xyxy in pixels. N may be 0.
        width: Image width in pixels.
        height: Image height in pixels.

    Returns:
        New (N, 4) xyxy with 0 <= x <= width and 0 <= y <= height; a box wholly outside becomes
        an empty one on the edge.

    Raises:
        ValueError: The shape is not (N, 4).
    """
    boxes = _checked(boxes)
    limit = np.array([width, height, width, height], dtype=np.float32)
    return np.asarray(np.clip(boxes, 0, limit), dtype=np.float32)


def area_xyxy(boxes: Boxes) -> NDArray[np.float32]:
    """Area of corner boxes, 0 for inverted ones.

    Args:
        boxes: (N, 4) xyxy in pixels. N may be 0.

    Returns:
        (N,) areas in square pixels.

    Raises:
        ValueError: The shape is not (N, 4).
    """
    boxes = _checked(boxes)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1], dtype=np.float32)


def iou_xyxy(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """Intersection over union of every pair.

    Args:
        first: (N, 4) xyxy in pixels. N may be 0.
        second: (M, 4) xyxy in pixels. M may be 0.

    Returns:
        (N, M) in [0, 1]; 0 where both boxes are empty.

    Raises:
        ValueError: A shape is not (N, 4).
    """
    first, second = _checked(first), _checked(second)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[..., 0] * sides[..., 1]
    total = area_xyxy(first)[:, None] + area_xyxy(second)[None, :] - shared
    iou = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
    return np.asarray(iou, dtype=np.float32)

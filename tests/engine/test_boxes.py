"""Box formats there and back, clipping, areas and overlaps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask

from engine.boxes import (
    Boxes,
    area_xyxy,
    clip_xyxy,
    cxcywh_norm_to_xyxy,
    iou_xyxy,
    xywh_to_xyxy,
    xyxy_to_cxcywh_norm,
    xyxy_to_xywh,
)

EMPTY = np.zeros((0, 4), np.float32)

# Whole pixels up to 4096: float32 adds and subtracts them without rounding.
_whole = arrays(np.float32, st.tuples(st.integers(0, 6), st.just(4)), elements=st.integers(0, 4096).map(float))


def _sorted_corners(numbers: Boxes) -> Boxes:
    return np.concatenate(
        [np.minimum(numbers[:, :2], numbers[:, 2:]), np.maximum(numbers[:, :2], numbers[:, 2:])], axis=1
    )


_boxes = _whole.map(_sorted_corners)


@given(_boxes)
def test_corners_to_coco_and_back_is_exact(boxes: Boxes) -> None:
    np.testing.assert_array_equal(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes)


@given(_boxes, st.integers(1, 4096), st.integers(1, 4096))
def test_corners_to_yolo_and_back_is_right_to_a_hundredth_of_a_pixel(boxes: Boxes, width: int, height: int) -> None:
    there = xyxy_to_cxcywh_norm(boxes, width, height)
    np.testing.assert_allclose(cxcywh_norm_to_xyxy(there, width, height), boxes, atol=0.01)


def test_one_box_in_every_format() -> None:
    corners = np.array([[10, 20, 50, 40]], np.float32)
    np.testing.assert_array_equal(xyxy_to_xywh(corners), [[10, 20, 40, 20]])
    np.testing.assert_allclose(xyxy_to_cxcywh_norm(corners, 100, 200), [[0.3, 0.15, 0.4, 0.1]], rtol=1e-6)


@given(_whole, st.integers(1, 2000), st.integers(1, 2000))
def test_clipped_boxes_lie_inside_and_inner_ones_stay(numbers: Boxes, width: int, height: int) -> None:
    boxes = _sorted_corners(numbers) - 1000
    clipped = clip_xyxy(boxes, width, height)
    assert (clipped >= 0).all()
    assert (clipped[:, 0::2] <= width).all()
    assert (clipped[:, 1::2] <= height).all()
    inside = ((boxes >= 0) & (boxes <= [width, height, width, height])).all(axis=1)
    np.testing.assert_array_equal(clipped[inside], boxes[inside])
    np.testing.assert_array_equal(clip_xyxy(clipped, width, height), clipped)


@pytest.mark.parametrize(
    ("box", "area"),
    [
        pytest.param([0, 0, 4, 5], 20, id="usual"),
        pytest.param([3, 3, 3, 9], 0, id="no width"),
        pytest.param([9, 9, 1, 1], 0, id="inverted both ways"),
        pytest.param([9, 1, 1, 9], 0, id="inverted one way"),
    ],
)
def test_area(box: list[float], area: float) -> None:
    assert area_xyxy(np.array([box], np.float32)).tolist() == [area]


@given(_boxes, _boxes)
def test_overlap_equals_pycocotools(first: Boxes, second: Boxes) -> None:
    ours = iou_xyxy(first, second)
    assert ours.shape == (len(first), len(second))
    if ours.size == 0:
        return
    theirs = mask.iou(
        xyxy_to_xywh(first).astype(np.float64), xyxy_to_xywh(second).astype(np.float64), [0] * len(second)
    )
    # pycocotools divides 0 by 0 where both boxes are empty.
    np.testing.assert_allclose(ours, np.nan_to_num(theirs, nan=0.0), atol=1e-6)


@given(_boxes, _boxes)
def test_overlap_is_symmetric_and_a_share(first: Boxes, second: Boxes) -> None:
    ours = iou_xyxy(first, second)
    np.testing.assert_array_equal(ours, iou_xyxy(second, first).T)
    assert ((ours >= 0) & (ours <= 1)).all()


def test_a_box_overlaps_itself_wholly_unless_it_is_empty() -> None:
    boxes = np.array([[1, 2, 3, 4], [5, 5, 5, 5]], np.float32)
    assert np.diagonal(iou_xyxy(boxes, boxes)).tolist() == [1, 0]


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(xywh_to_xyxy, id="xywh_to_xyxy"),
        pytest.param(xyxy_to_xywh, id="xyxy_to_xywh"),
        pytest.param(lambda boxes: cxcywh_norm_to_xyxy(boxes, 64, 48), id="cxcywh_norm_to_xyxy"),
        pytest.param(lambda boxes: xyxy_to_cxcywh_norm(boxes, 64, 48), id="xyxy_to_cxcywh_norm"),
        pytest.param(lambda boxes: clip_xyxy(boxes, 64, 48), id="clip_xyxy"),
    ],
)
class TestConversion:
    def test_of_no_boxes_is_no_boxes(self, convert: Callable[[Boxes], Boxes]) -> None:
        assert convert(EMPTY).shape == (0, 4)
        assert convert(EMPTY).dtype == np.float32

    def test_keeps_float32_and_leaves_the_input_alone(self, convert: Callable[[Boxes], Boxes]) -> None:
        boxes = np.array([[1, 2, 300, 400]], np.float32)
        before = boxes.copy()
        result = convert(boxes)
        assert result.dtype == np.float32
        assert not np.shares_memory(result, boxes)
        np.testing.assert_array_equal(boxes, before)

    @pytest.mark.parametrize("shape", [(4,), (2, 5), (0,), (1, 2, 4)], ids=str)
    def test_refuses_another_shape(self, convert: Callable[[Boxes], Boxes], shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"\(N, 4\)"):
            convert(np.zeros(shape, np.float32))


def test_area_and_overlap_of_nothing() -> None:
    assert area_xyxy(EMPTY).shape == (0,)
    assert iou_xyxy(EMPTY, EMPTY).shape == (0, 0)
    assert iou_xyxy(np.ones((3, 4), np.float32), EMPTY).shape == (3, 0)

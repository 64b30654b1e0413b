"""Which images make the worst batch."""

from __future__ import annotations

import pytest

from engine.annotations import ImageRecord
from engine.recipe.schema import Model
from engine.worstcase import network_sizes, worst_batches
from tests.builders import record

MODEL = Model(arch="fasterrcnn_mobilenet_v2_fpn", weights="none", min_size=100, max_size=200)
SSD = Model(arch="ssdlite320_mobilenet_v3_large", weights="none")


def image(width: int, height: int, num_boxes: int = 1) -> ImageRecord:
    return record([[0, 0, 5, 5]] * num_boxes, [0] * num_boxes, size=(width, height))


def test_sizes_are_those_after_the_networks_own_resize() -> None:
    from torch import zeros
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    shapes = [(640, 480), (480, 640), (3000, 200), (20, 20), (200, 100)]
    transform = GeneralizedRCNNTransform(100, 200, [0.0] * 3, [1.0] * 3)
    for (width, height), found in zip(shapes, network_sizes([image(*shape) for shape in shapes], MODEL), strict=True):
        [seen], _ = transform([zeros(3, height, width)])[0].image_sizes, None
        assert found[::-1] == pytest.approx(seen, abs=1)


def test_a_detector_of_fixed_size_sees_all_images_alike() -> None:
    assert network_sizes([image(10, 900), image(50, 50)], SSD).tolist() == [[320, 320], [320, 320]]


@pytest.mark.parametrize("count", [1, 2, 8])
def test_no_images_no_batch(count: int) -> None:
    assert worst_batches([], MODEL, count) == []


def test_one_at_a_time_the_largest_and_the_most_crowded_come_each() -> None:
    records = [image(100, 100), image(200, 100), image(100, 100, 30)]
    assert worst_batches(records, MODEL, 1) == [[1], [2]]
    assert worst_batches([image(200, 100, 30), image(100, 100)], MODEL, 1) == [[0]]


def test_a_small_file_may_be_the_largest_for_the_network() -> None:
    assert worst_batches([image(4000, 4000), image(40, 20)], MODEL, 1)[0] == [1]


def test_the_most_crowded_image_is_among_the_largest() -> None:
    records = [image(100, 100, 40), image(200, 100), image(200, 100), image(150, 100), image(100, 100)]
    [batch] = worst_batches(records, MODEL, 3)
    assert sorted(batch) == [0, 1, 2]


def test_a_portrait_among_landscapes_pads_the_batch_to_a_square() -> None:
    records = [image(200, 100, 9), image(200, 100), image(200, 100), image(100, 190)]
    for count in (2, 3):
        [batch] = worst_batches(records, MODEL, count)
        assert {0, 3} <= set(batch)


def test_a_batch_is_no_larger_than_the_split() -> None:
    [batch] = worst_batches([image(10, 10), image(10, 10)], MODEL, 16)
    assert sorted(batch) == [0, 1]


def test_crowds_are_not_learnt_from_and_do_not_count() -> None:
    crowd = record([[0, 0, 5, 5]] * 9, [0] * 9, crowd=range(9), size=(100, 100))
    assert worst_batches([crowd, image(100, 100, 2)], MODEL, 1) == [[1]]

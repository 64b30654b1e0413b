"""Boxes drawn on photos."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from engine.evaluation.drawing import PALETTE, DrawnBoxes, class_colour, draw_boxes

GREY = (120, 120, 120)
NONE = DrawnBoxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))


def photo(size: tuple[int, int] = (200, 150)) -> Image.Image:
    return Image.new("RGB", size, GREY)


def boxes(
    *corners: tuple[float, ...], labels: tuple[int, ...] = (0,), scores: tuple[float, ...] | None = (0.9,)
) -> DrawnBoxes:
    return DrawnBoxes(
        np.array(corners, np.float32), np.array(labels), None if scores is None else np.array(scores, np.float32)
    )


def changed(picture: Image.Image) -> np.ndarray:
    return (np.asarray(picture) != GREY).any(axis=2)


def test_no_boxes_draw_nothing_on_a_copy() -> None:
    original = photo()
    picture = draw_boxes(original, ["mug"], NONE, NONE)
    assert not changed(picture).any()
    assert picture is not original


def test_a_box_is_drawn_on_its_edge_in_its_colour() -> None:
    picture = draw_boxes(photo(), ["mug"], boxes((50, 60, 150, 140)))
    for point in ((50, 100), (150, 100), (100, 140)):
        assert picture.getpixel(point) == tuple(int(class_colour(0)[start : start + 2], 16) for start in (1, 3, 5))
    assert not changed(picture)[80:130, 60:140].any()  # nothing hides the object


@pytest.mark.parametrize(
    "corners",
    [
        (0, 0, 200, 150), (-20, -20, 30, 30), (190, 140, 500, 500), (40, 40, 40, 40), (60, 60, 50, 50),
        (10_000, 10_000, 20_000, 20_000),
    ],
    ids=["whole picture", "over the corner", "over the other corner", "empty", "inverted", "far away"],
)
def test_any_box_can_be_drawn(corners: tuple[float, ...]) -> None:
    truth = boxes(corners, scores=None)
    assert draw_boxes(photo(), ["mug"], boxes(corners), truth).size == (200, 150)


def test_ground_truth_is_dashed() -> None:
    edge = changed(draw_boxes(photo(), ["mug"], NONE, boxes((20, 20, 180, 130), scores=None)))[20, 20:180]
    assert 0.2 < edge.mean() < 0.9


def test_large_pictures_are_shrunk_with_their_boxes() -> None:
    picture = draw_boxes(photo((2000, 1000)), ["mug"], boxes((1000, 500, 1900, 900)), longest_side=500)
    assert picture.size == (500, 250)
    rows, columns = np.nonzero(changed(picture)[130:])
    assert (columns.min(), columns.max()) == (250, 475)
    assert rows.max() + 130 == 225
    assert draw_boxes(photo(), ["mug"], NONE, longest_side=500).size == (200, 150)


def test_colours_go_round_and_names_may_be_anything() -> None:
    assert class_colour(len(PALETTE)) == class_colour(0)
    assert draw_boxes(photo(), ["\x1b[31m杯\u202e"], boxes((20, 20, 90, 90))).size == (200, 150)

"""Large pictures in tiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation.drawing import DrawnBoxes
from engine.prediction.tiles import Tile, merged, tiles_of


def found(*rows: tuple[float, float, float, float, int, float]) -> DrawnBoxes:
    """x0, y0, x1, y1, label, score."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return DrawnBoxes(table[:, :4], table[:, 4].astype(np.int64), table[:, 5])


@given(st.integers(1, 300), st.integers(1, 300), st.integers(32, 128), st.floats(0, 0.9))
def test_tiles_cover_every_pixel_and_stay_within(width: int, height: int, side: int, overlap: float) -> None:
    whole, *tiles = tiles_of((width, height), side, overlap)
    assert whole == Tile(0, 0, width, height)
    assert bool(tiles) == (max(width, height) > side)
    seen = np.zeros((height, width), np.bool_)
    for tile in tiles:
        assert 0 <= tile.x <= tile.x + tile.width <= width
        assert 0 <= tile.y <= tile.y + tile.height <= height
        assert max(tile.width, tile.height) <= side
        seen[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] = True
    assert not tiles or seen.all()


@given(st.integers(129, 1000), st.integers(32, 128), st.floats(0, 0.8))
def test_neighbours_share_what_was_asked(width: int, side: int, overlap: float) -> None:
    starts = [tile.x for tile in tiles_of((width, side), side, overlap)[1:]]
    steps = np.diff(starts)
    assert steps.max() <= side * (1 - overlap) + 1
    assert steps.max() - steps.min() <= 1


WHOLE, LEFT, RIGHT = Tile(0, 0, 180, 100), Tile(0, 0, 100, 100), Tile(80, 0, 100, 100)
SIZE = (180, 100)


def test_without_tiles_nothing_changes() -> None:
    one = found((1, 2, 3, 4, 0, 0.5))
    assert merged([(WHOLE, one)], SIZE) is one


def test_an_object_in_two_tiles_is_one() -> None:
    in_left, in_right = found((84, 10, 96, 20, 0, 0.8)), found((4, 10, 16, 20, 0, 0.9))
    result = merged([(WHOLE, found()), (LEFT, in_left), (RIGHT, in_right)], SIZE)
    assert result.boxes_xyxy.tolist() == [[84, 10, 96, 20]]
    assert result.scores is not None
    assert result.scores.tolist() == [pytest.approx(0.9)]


def test_other_classes_stay_apart_and_the_best_comes_first() -> None:
    result = merged([(WHOLE, found((10, 10, 20, 20, 1, 0.3))), (LEFT, found((10, 10, 20, 20, 0, 0.6)))], SIZE)
    assert result.labels.tolist() == [0, 1]


def test_a_cut_piece_gives_way_to_the_whole_even_where_it_is_surer() -> None:
    parts = [(WHOLE, found((60, 10, 140, 90, 0, 0.6))), (LEFT, found((60, 10, 100, 90, 0, 0.9)))]
    assert merged(parts, SIZE).boxes_xyxy.tolist() == [[60, 10, 140, 90]]


def test_a_cut_piece_stays_where_nothing_covers_it() -> None:
    parts = [(WHOLE, found()), (LEFT, found((60, 10, 100, 90, 0, 0.9)))]
    assert len(merged(parts, SIZE).labels) == 1


def test_a_box_at_the_pictures_own_edge_isnt_cut() -> None:
    parts = [(WHOLE, found((0, 0, 60, 90, 0, 0.5))), (LEFT, found((0, 0, 30, 40, 0, 0.9)))]
    assert len(merged(parts, SIZE).labels) == 2


def test_nothing_found_anywhere() -> None:
    result = merged([(WHOLE, found()), (LEFT, found()), (RIGHT, found())], SIZE)
    assert result.boxes_xyxy.shape == (0, 4)

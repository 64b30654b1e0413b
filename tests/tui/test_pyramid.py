from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tui.pyramid import Floats, Pyramid


def noise(length: int) -> Floats:
    values = np.random.default_rng(length).normal(2, 1, length).astype(np.float32)
    values[::7] = np.nan
    return values


@given(length=st.integers(1, 5000), start=st.integers(0, 4999), most=st.integers(1, 300))
def test_blocks_keep_the_extremes_and_the_mean(length: int, start: int, most: int) -> None:
    column, start = noise(length), min(start, length - 1)
    blocks = Pyramid().blocks(column, start, length, most)
    rows = column[blocks.first[0] :]
    assert start - blocks.first[0] < max(1, 2 * length / most)
    assert len(blocks) <= 2 * max(most, 16) + 1
    assert_array_equal(blocks.first, np.sort(blocks.first))
    known = rows[np.isfinite(rows)]
    assert blocks.counts.sum() == len(known)
    if len(known):
        assert np.nanmin(blocks.low) == known.min()
        assert np.nanmax(blocks.high) == known.max()
        assert_allclose(blocks.sums.sum() / blocks.counts.sum(), known.mean(), rtol=1e-3)


def test_it_grows_with_its_column() -> None:
    column = noise(20_000)
    grown, whole = Pyramid(), Pyramid()
    for end in (1, 15, 16, 17, 100, 4000, 4001, 19_999, 20_000):
        grown.blocks(column, 0, end, 4)
    one, other = grown.blocks(column, 100, 20_000, 50), whole.blocks(column, 100, 20_000, 50)
    for name in ("first", "low", "high", "counts"):
        assert_array_equal(getattr(one, name), getattr(other, name))


def test_an_older_shorter_table_still_reads() -> None:
    column = noise(10_000)
    pyramid = Pyramid()
    pyramid.blocks(column, 0, 10_000, 10)
    blocks = pyramid.blocks(column[:5000], 0, 5000, 10)
    assert blocks.counts.sum() == np.isfinite(column[:5000]).sum()


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=["nan", "infinite"])
def test_what_is_not_finite_counts_nothing(value: float) -> None:
    blocks = Pyramid().blocks(np.full(1000, value, np.float32), 0, 1000, 10)
    assert blocks.counts.sum() == 0
    assert np.isnan(blocks.low).all()
    assert np.isnan(blocks.mean).all()


def test_no_rows() -> None:
    assert len(Pyramid().blocks(np.empty(0, np.float32), 0, 0, 10)) == 0

"""Curves as Braille dots: which dots of a grid a curve covers, whatever its number of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tui.axes import Axis
from tui.smoothing import Curve

_Doubles = NDArray[np.float64]

BRAILLE = 0x2800
DASHES: tuple[tuple[int, int], ...] = ((1, 0), (6, 3), (2, 2), (10, 2), (4, 5), (1, 2), (12, 6), (3, 1))
"""Dots on and dots off along the curve, for each style of line; the first is unbroken."""
# Bits of the Braille dots, by row and column in the cell (Unicode chapter 21.1).
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint32)


def sample(dash: int, columns: int) -> str:
    """A stretch of a style of line, for a legend."""
    on, off = DASHES[dash % len(DASHES)]
    dots = [index % (on + off) < on for index in range(columns * 2)]
    bits = [0x04 * left | 0x20 * right for left, right in zip(dots[::2], dots[1::2], strict=True)]
    return "".join(chr(BRAILLE + one) for one in bits)


def braille(
    x: Curve, low: Curve, high: Curve, *, axes: tuple[Axis, Axis], size: tuple[int, int], dash: int = 0
) -> NDArray[np.uint32]:
    """The Braille bits of a curve: (rows, columns); 0 where it doesn't run.

    Args:
        x: Ascending, within the x axis.
        low: Lowest value at each point; NaN leaves a gap.
        high: Highest value at each point.
        axes: The x axis and the y axis.
        size: Rows and columns, in characters.
        dash: Index of its style in `DASHES`.
    """
    rows, columns = size
    bottom, top = _spans(x, low, high, axes, columns * 2)
    on, off = DASHES[dash % len(DASHES)]
    if off:
        is_off = np.arange(columns * 2) % (on + off) >= on
        bottom[is_off] = top[is_off] = np.nan
    return _cells(bottom, top, rows)


def _spans(x: Curve, low: Curve, high: Curve, axes: tuple[Axis, Axis], columns: int) -> tuple[_Doubles, _Doubles]:
    """The lowest and highest share of the curve in each column of dots; NaN where it isn't."""
    bottom, top = np.full(columns, np.nan), np.full(columns, np.nan)
    if not len(x):
        return bottom, top
    x_axis, y_axis = axes
    column = np.clip(np.round(x_axis.share(x) * (columns - 1)), 0, columns - 1).astype(int)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(column)) + 1))
    hit = column[starts]
    bottom[hit] = np.fmin.reduceat(_share(low, y_axis), starts)
    top[hit] = np.fmax.reduceat(_share(high, y_axis), starts)
    _bridge(bottom, top, np.unique(hit))
    return bottom, top


def _share(values: Curve, axis: Axis) -> _Doubles:
    share = axis.share(values)
    return np.where(np.isfinite(share), np.clip(share, 0.0, 1.0), np.nan)


def _bridge(low: _Doubles, high: _Doubles, hit: NDArray[np.int_]) -> None:
    """Fill the columns between two points of a sparse curve, then join neighbours; in place."""
    middle = (low[hit] + high[hit]) / 2
    empty = np.ones(len(low), dtype=bool)
    empty[hit] = False
    empty[: hit[0]] = empty[hit[-1] :] = False
    between = np.interp(np.flatnonzero(empty), hit, middle)  # NaN next to a gap stays NaN
    low[empty] = high[empty] = between
    with np.errstate(invalid="ignore"):
        rising = low[1:] > high[:-1]
        falling = high[1:] < low[:-1]
    upward = (high[:-1] + low[1:]) / 2
    downward = (low[:-1] + high[1:]) / 2
    high[:-1] = np.where(rising, upward, high[:-1])
    low[:-1] = np.where(falling, downward, low[:-1])
    low[1:] = np.where(rising, upward, low[1:])
    high[1:] = np.where(falling, downward, high[1:])


def _cells(low: _Doubles, high: _Doubles, rows: int) -> NDArray[np.uint32]:
    num_dots = rows * 4
    top = np.round((1 - high) * (num_dots - 1))
    bottom = np.round((1 - low) * (num_dots - 1))
    dot = np.arange(num_dots)[:, None]
    with np.errstate(invalid="ignore"):
        mask = (dot >= top) & (dot <= bottom)
    grouped = mask.reshape(rows, 4, -1, 2)
    bits: NDArray[np.uint32] = np.einsum("rdcs,ds->rc", grouped, _DOTS)
    return bits

"""The lowest, highest and mean values of a long column in blocks of 16, 32, 64 ... rows.

A curve of a million steps is drawn from a thousand blocks of a fitting size, whatever part of it is
looked at. A pyramid grows with its column, whose earlier rows never change; about as large as half of it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_BASE_ROWS = 16
# So many blocks fit a processor's cache, turned so that it takes a row of each at a time: ten times as quick.
_CHUNK_BLOCKS = 1024
_LOW, _HIGH, _SUM, _COUNT = range(4)


@dataclass(frozen=True, slots=True)
class Blocks:
    """A stretch of a column in blocks of rows, in order.

    Attributes:
        first: First row of each block.
        middle: A row in the middle of each block.
        low: Lowest value; NaN where none is finite.
        high: Highest value; NaN where none is finite.
        sums: Sum of the finite values.
        counts: How many are finite.
    """

    first: NDArray[np.int64]
    middle: NDArray[np.int64]
    low: Floats
    high: Floats
    sums: Floats
    counts: Floats

    def __len__(self) -> int:
        return len(self.first)

    @property
    def mean(self) -> Floats:
        """Mean of each block; NaN where no value is finite."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.counts > 0, self.sums / self.counts, np.float32(np.nan))


class Pyramid:
    """The blocks of one column; may grow in one thread while they are drawn in another."""

    __slots__ = ("_growing", "_levels", "_num_blocks")

    def __init__(self) -> None:
        self._growing = threading.Lock()
        self._levels: list[Floats] = []
        self._num_blocks = 0

    def grow(self, column: Floats) -> None:
        """Take in the rows that came since; those from before are as they were."""
        with self._growing:
            self._grow(column)

    def _grow(self, column: Floats) -> None:
        done, num_blocks = self._num_blocks, len(column) // _BASE_ROWS
        if num_blocks <= done:
            return
        fresh = _based(column[done * _BASE_ROWS : num_blocks * _BASE_ROWS])
        level = 0
        while fresh.shape[1]:
            if level == len(self._levels):
                self._levels.append(np.empty((4, 64), np.float32))
            cells = self._levels[level] = _with_room(self._levels[level], done, done + fresh.shape[1])
            cells[:, done : done + fresh.shape[1]] = fresh
            end, done = done + fresh.shape[1], done // 2
            fresh = _merged(cells[:, done * 2 : end // 2 * 2])
            level += 1
        self._num_blocks = num_blocks

    def blocks(self, column: Floats, start: int, end: int, most: int) -> Blocks:
        """The rows from start to end in at most about that many blocks; each row by itself where they are few.

        A block that begins before the start is taken whole.
        """
        most = max(2, most)
        if end - start <= 2 * max(most, _BASE_ROWS):
            return _rows(column, start, end)
        self.grow(column[:end])
        level, size = 0, _BASE_ROWS
        while (end - start) / size > most:
            level, size = level + 1, size * 2
        at, until = start // size, end // size
        cells = self._levels[level][:, at:until]
        first = np.arange(at, until, dtype=np.int64) * size
        middle = first + size // 2
        if until * size < end:  # what doesn't fill a block yet
            cells = np.concatenate([cells, _last(column[until * size : end])], axis=1)
            first = np.append(first, until * size)
            middle = np.append(middle, (until * size + end - 1) // 2)
        return Blocks(first, middle, cells[_LOW], cells[_HIGH], cells[_SUM], cells[_COUNT])


def _rows(column: Floats, start: int, end: int) -> Blocks:
    values = column[start:end]
    known = np.isfinite(values)
    finite = np.where(known, values, np.float32(np.nan))
    rows = np.arange(start, end, dtype=np.int64)
    return Blocks(rows, rows, finite, finite, np.where(known, values, np.float32(0)), known.astype(np.float32))


def _based(column: Floats) -> Floats:
    """Whole blocks of the smallest size, out of rows: (4, rows / 16)."""
    rows = column.reshape(-1, _BASE_ROWS)
    cells = np.empty((4, len(rows)), np.float32)
    nan, zero = np.float32(np.nan), np.float32(0)
    for start in range(0, len(rows), _CHUNK_BLOCKS):
        part = np.ascontiguousarray(rows[start : start + _CHUNK_BLOCKS].T)
        known = np.isfinite(part)
        target = cells[:, start : start + part.shape[1]]
        if known.all():  # as it mostly is
            np.minimum.reduce(part, axis=0, out=target[_LOW])
            np.maximum.reduce(part, axis=0, out=target[_HIGH])
            np.add.reduce(part, axis=0, out=target[_SUM])
            target[_COUNT] = _BASE_ROWS
            continue
        blank = np.where(known, part, nan)
        np.fmin.reduce(blank, axis=0, out=target[_LOW])
        np.fmax.reduce(blank, axis=0, out=target[_HIGH])
        with np.errstate(over="ignore"):
            np.sum(np.where(known, part, zero), axis=0, out=target[_SUM])
        np.sum(known, axis=0, out=target[_COUNT])
    return cells


def _last(rows: Floats) -> Floats:
    """A block out of fewer rows than it has room for: (4, 1)."""
    known = rows[np.isfinite(rows)]
    if not len(known):
        return np.array([[np.nan], [np.nan], [0], [0]], np.float32)
    with np.errstate(over="ignore"):
        return np.array([[known.min()], [known.max()], [known.sum()], [len(known)]], np.float32)


def _merged(cells: Floats) -> Floats:
    """Two blocks into one each."""
    left, right = cells[:, 0::2], cells[:, 1::2]
    with np.errstate(over="ignore", invalid="ignore"):
        sums = left[_SUM] + right[_SUM]
    low, high = np.fmin(left[_LOW], right[_LOW]), np.fmax(left[_HIGH], right[_HIGH])
    return np.stack([low, high, sums, left[_COUNT] + right[_COUNT]])


def _with_room(cells: Floats, used: int, needed: int) -> Floats:
    if needed <= cells.shape[1]:
        return cells
    larger = np.empty((4, max(needed, 2 * cells.shape[1])), np.float32)
    larger[:, :used] = cells[:, :used]
    return larger

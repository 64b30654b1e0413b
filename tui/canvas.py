"""A grid of characters in inks, in the making and done. Knows no colours, only the names of inks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tui.axes import Axis

BLANK = ""


def row_of(share: float, rows: int) -> int:
    """The row of a share of the y axis, counted from the top."""
    return round((1 - min(1.0, max(0.0, share))) * (rows * 4 - 1)) // 4


@dataclass(frozen=True, slots=True)
class Area:
    """Where a canvas shows the curves, in characters, and the axes they are drawn by."""

    left: int
    top: int
    columns: int
    rows: int
    x_axis: Axis
    y_axis: Axis

    def x_at(self, column: int) -> float:
        """The x of a column of the canvas; of the nearest one for a column outside."""
        share = (column - self.left) / max(1, self.columns - 1)
        return self.x_axis.value_at(min(1.0, max(0.0, share)))

    def column_of(self, x: float) -> int | None:
        """The column of an x, counted from the area's left; None where it is out of sight."""
        share = self.x_axis.share_of(x)
        return round(share * (self.columns - 1)) if 0 <= share <= 1 else None

    def row_of(self, y: float) -> int:
        """The row of a value, counted from the area's top."""
        share = self.y_axis.share_of(y)
        return row_of(share if math.isfinite(share) else 0.0, self.rows)


@dataclass(frozen=True, slots=True)
class Canvas:
    """Characters and, for each, the index of its ink in `inks`; (height, width) each."""

    chars: NDArray[np.str_]
    ink_of: NDArray[np.int16]
    inks: tuple[str, ...]
    area: Area | None = None

    def runs(self, row: int) -> list[tuple[str, str]]:
        """A row as stretches of one ink: (text, ink)."""
        chars, inks = self.chars[row], self.ink_of[row]
        cuts = [0, *(np.flatnonzero(np.diff(inks)) + 1).tolist(), len(chars)]
        return [
            ("".join(chars[start:end]), self.inks[inks[start]])
            for start, end in pairwise(cuts)
            if end > start
        ]


class Sheet:
    """A canvas in the making; rows count from `top`, below what was written above the plot."""

    def __init__(self, width: int, height: int) -> None:
        self.chars: NDArray[np.str_] = np.full((height, width), " ", dtype="<U1")
        self.ink_of = np.zeros((height, width), dtype=np.int16)
        self.inks: list[str] = [BLANK]
        self.top = 0

    def ink(self, name: str) -> int:
        """The index of an ink."""
        if name not in self.inks:
            self.inks.append(name)
        return self.inks.index(name)

    def write(self, row: int, column: int, text: str, ink: str) -> None:
        """Write a text, as much of it as lies on the canvas."""
        height, width = self.chars.shape
        row += self.top
        if not 0 <= row < height:
            return
        kept = text[max(0, -column) : max(0, width - column)]
        start = max(0, column)
        self.chars[row, start : start + len(kept)] = list(kept)
        self.ink_of[row, start : start + len(kept)] = self.ink(ink)

    def done(self, area: Area | None = None) -> Canvas:
        """The canvas."""
        return Canvas(self.chars, self.ink_of, tuple(self.inks), area)

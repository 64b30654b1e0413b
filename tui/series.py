"""Numbers of a run's steps in growable arrays, shared between older and newer states of a view.

A table never changes for whoever holds it: `extended` returns a longer one that uses the same
memory, as long as nobody extended the older one before. A million steps cost some 40 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tui.pyramid import Blocks, Floats, Pyramid

_FIRST_CAPACITY = 64
# A run has five to ten columns; a log of rubbish must not fill the memory with names.
MOST_COLUMNS = 24
# What curves are drawn over.
_X_COLUMNS = ("step", "elapsed_s")


class _Store:
    """The memory behind one or more tables: (columns, capacity), filled up to `used`."""

    __slots__ = ("cells", "pyramids", "used")

    def __init__(self, num_columns: int, capacity: int) -> None:
        self.cells: Floats = np.empty((num_columns, capacity), dtype=np.float32)
        self.used = 0
        self.pyramids: dict[str, Pyramid] = {}
        """Of the columns that are drawn; right for every table here, since written rows never change."""


@dataclass(frozen=True, slots=True)
class StepTable:
    """Columns of float32, one row a step; the column "step" ascends strictly.

    Attributes:
        names: The columns.
        length: Rows.
        store: The memory, shared; only `extended` writes into it.
    """

    names: tuple[str, ...] = ("step",)
    length: int = 0
    store: _Store = field(default_factory=lambda: _Store(1, 0), repr=False, compare=False)

    def column(self, name: str) -> Floats:
        """A column; all NaN when there is none of that name. Don't write into it."""
        if name not in self.names:
            return np.full(self.length, np.nan, dtype=np.float32)
        return self.store.cells[self.names.index(name), : self.length]

    def blocks(self, name: str, start: int, end: int, most: int) -> Blocks:
        """Rows of a column in at most about that many blocks."""
        pyramid = self.store.pyramids.setdefault(name, Pyramid()) if name in self.names else Pyramid()
        return pyramid.blocks(self.column(name), start, end, most)

    def prepare(self) -> None:
        """Sum the columns up for drawing, so that whoever draws them first needn't."""
        for name in self.names:
            if name not in _X_COLUMNS:
                self.store.pyramids.setdefault(name, Pyramid()).grow(self.column(name))

    def extended(self, rows: Mapping[str, Floats]) -> StepTable:
        """The table with more rows.

        Args:
            rows: Column -> values, all of one length; "step" among them, ascending. Columns that
                are new here are NaN in the older rows, and the other way round. Rows at or after
                the first new step are dropped: a resumed run takes them again.
        """
        steps = rows["step"]
        if not len(steps):
            return self
        kept = self.before(float(steps[0]))
        new_names = tuple(name for name in rows if name not in kept.names)
        names = (kept.names + new_names)[:MOST_COLUMNS]
        length = kept.length + len(steps)
        store = _room_for(kept, names, length)
        for index, name in enumerate(names):
            store.cells[index, kept.length : length] = rows.get(name, np.nan)
        store.used = length
        return StepTable(names, length, store)

    def before(self, step: float) -> StepTable:
        """The rows before a step."""
        steps = self.column("step")
        if not len(steps) or steps[-1] < step:
            return self
        return StepTable(self.names, int(np.searchsorted(steps, step)), self.store)


def _room_for(table: StepTable, names: tuple[str, ...], length: int) -> _Store:
    """The table's own memory where it is free for more rows, else a larger copy."""
    store = table.store
    is_free = store.used == table.length and names == table.names
    if is_free and store.cells.shape[1] >= length:
        return store
    fresh = _Store(len(names), max(_FIRST_CAPACITY, length + length // 2))
    fresh.cells[: len(table.names), : table.length] = store.cells[: len(table.names), : table.length]
    fresh.cells[len(table.names) :, : table.length] = np.nan
    if store.used == table.length:  # nothing was summed up that isn't in here
        fresh.pyramids, store.pyramids = store.pyramids, {}
    return fresh

"""How curves are looked at: axes, smoothing, the part in sight, the cursor; and how x relates to a run's steps.

Pure. Windows and cursors are in the x axis's own unit: steps done, epochs done (with fractions) or
seconds worked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engine.events import EpochEvent
from tui.axes import XKind, time_text
from tui.pyramid import Floats
from tui.view import RunView
from tui.words import short_count

KINDS: tuple[XKind, ...] = ("step", "epoch", "time")
SMOOTHINGS: tuple[tuple[str, float], ...] = (("raw", 0.0), ("light", 1 / 240), ("medium", 1 / 60), ("strong", 1 / 16))
"""Name of each strength, and the share of the range in sight over which it evens out."""
MEDIUM = 2

_ZOOM = 0.6
# Closer than this share of the whole there is nothing more to see in a million steps.
_LEAST_SPAN = 1e-5
# A foreign log may say anything; beyond some centuries nothing can be drawn.
_MOST_S = 1e10

Window = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Look:
    """How curves are looked at.

    Attributes:
        log: Whether y axes of losses and rates are logarithmic.
        smoothing: Index in `SMOOTHINGS`.
        kind: What x axes count.
        window: The part of the x axis in sight; None for all of it.
        cursor: Where values are read; None for nowhere.
        shown: Which losses: "" for all, "main" for total and validation, else one part's name.
        class_curves: Whether AP of each class is drawn as curves rather than bars.
    """

    log: bool = False
    smoothing: int = MEDIUM
    kind: XKind = "step"
    window: Window | None = None
    cursor: float | None = None
    shown: str = ""
    class_curves: bool = False

    @property
    def share(self) -> float:
        """Share of the range in sight over which curves are evened out; 0 for not at all."""
        return SMOOTHINGS[self.smoothing][1]

    def zoomed(self, whole: Window, places: int, around: float | None = None) -> Look:
        """Closer by some places, or farther for places below 0; all of it once that is in sight."""
        low, high = self.window or whole
        middle = (low + high) / 2 if around is None or not low <= around <= high else around
        span = max((high - low) * _ZOOM**places, (whole[1] - whole[0]) * _LEAST_SPAN)
        if span >= whole[1] - whole[0]:
            return replace(self, window=None)
        start = middle - span * (middle - low) / (high - low)
        return replace(self, window=_inside((start, start + span), whole))

    def panned(self, whole: Window, share: float) -> Look:
        """Moved by a share of what is in sight, within the whole."""
        if self.window is None:
            return self
        by = (self.window[1] - self.window[0]) * share
        return replace(self, window=_inside((self.window[0] + by, self.window[1] + by), whole))

    def showing(self, x: float, whole: Window) -> Look:
        """With a place in sight, moved there if need be."""
        if self.window is None or self.window[0] <= x <= self.window[1]:
            return self
        half = (self.window[1] - self.window[0]) / 2
        return replace(self, window=_inside((x - half, x + half), whole))


def _inside(window: Window, whole: Window) -> Window:
    low = min(max(window[0], whole[0]), whole[1] - (window[1] - window[0]))
    return low, low + window[1] - window[0]


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a run's steps and epochs lie on an x axis."""

    view: RunView
    kind: XKind

    @property
    def steps_an_epoch(self) -> float:
        """Steps an epoch; 0 when unknown."""
        progress = self.view.progress
        if progress.num_steps and progress.num_epochs:
            return progress.num_steps / progress.num_epochs
        last = self.view.epochs[-1] if self.view.epochs else None
        return (last.step + 1) / (last.epoch + 1) if last else 0.0

    def at_rows(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Floats:
        """The x of rows of the step table."""
        if self.kind == "time":
            elapsed = self.view.steps.column("elapsed_s")[rows]
            return np.maximum.accumulate(np.where(elapsed < _MOST_S, elapsed, np.float32(0)))
        done = self.view.steps.column("step")[rows] + 1
        return done if self.kind == "step" else done / np.float32(self.steps_an_epoch or 1)

    def at_step(self, num_done: float) -> float:
        """The x at which so many steps were done."""
        if self.kind == "step":
            return num_done
        if self.kind == "epoch":
            return num_done / (self.steps_an_epoch or 1)
        if not self.view.steps.length:
            return 0.0
        return float(self.at_rows(np.array([self.row_of_step(num_done)]))[0])

    def at_epoch(self, epoch: EpochEvent) -> float:
        """The x at which an epoch was over."""
        return min(epoch.elapsed_s, _MOST_S) if self.kind == "time" else self.at_step(epoch.step + 1.0)

    def steps_at(self, x: float) -> float:
        """How many steps were done at an x."""
        if self.kind == "step":
            return x
        if self.kind == "epoch":
            return x * (self.steps_an_epoch or 1)
        if not self.view.steps.length:
            return 0.0
        return float(self.view.steps.column("step")[self.row_at(x)]) + 1

    def row_of_step(self, num_done: float) -> int:
        """The row of the step table nearest to so many steps done."""
        return _nearest(self.view.steps.column("step"), num_done - 1)

    def row_at(self, x: float) -> int:
        """The row of the step table nearest to an x."""
        if self.kind == "time":
            return _nearest(self.view.steps.column("elapsed_s"), x)
        return self.row_of_step(self.steps_at(x))

    def rows_in(self, window: Window | None) -> tuple[int, int]:
        """First row and end of the rows in a window, one more on either side."""
        length = self.view.steps.length
        if window is None or not length:
            return 0, length
        return max(0, self.row_at(window[0]) - 1), min(length, self.row_at(window[1]) + 2)

    def whole(self) -> Window:
        """The range of a run's steps."""
        length = self.view.steps.length
        if not length:
            return 0.0, 1.0
        first, last = self.at_rows(np.array([0, length - 1])).tolist()
        ends = [self.at_epoch(epoch) for epoch in self.view.epochs[-1:]]
        return first, max([last, *ends])

    def words(self, x: float) -> str:
        """A place in words: "step 1,204", "epoch 3.4", "1h30"."""
        if self.kind == "time":
            return f"after {time_text(round(x))}"
        return f"step {round(x):,}" if self.kind == "step" else f"epoch {short_count(round(x, 2))}"


def _nearest(ascending: Floats, value: float) -> int:
    # A number of another type would have numpy copy all of the column.
    at = int(np.searchsorted(ascending, np.float32(value)))
    if at == 0:
        return 0
    if at == len(ascending):
        return len(ascending) - 1
    return at if ascending[at] - value < value - ascending[at - 1] else at - 1


def moved_to(view: RunView, look: Look, kind: XKind) -> Look:
    """The same part and place on another x axis."""
    old, new = Scale(view, look.kind), Scale(view, kind)

    def carried(x: float) -> float:
        return new.at_step(old.steps_at(x))

    window = None if look.window is None else (carried(look.window[0]), carried(look.window[1]))
    if window is not None and window[1] <= window[0]:
        window = None
    return replace(look, kind=kind, window=window, cursor=None if look.cursor is None else carried(look.cursor))


def by_epoch(view: RunView, look: Look) -> Look:
    """The look of charts that have a point an epoch: by epoch, unless x is time."""
    return look if look.kind != "step" else moved_to(view, look, "epoch")

"""Axes of a plot: the range of values that it shows, its ticks, and how they are written.

Pure. An x axis counts steps, epochs (one-based: 1 is the end of the first) or seconds of work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tui.words import short_count

XKind = Literal["step", "epoch", "time"]

_Doubles = NDArray[np.float64]

_TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
# A narrower stretch of epochs has ticks between whole ones.
_LEAST_WHOLE_EPOCHS = 2.0


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values and the ticks on it."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def share(self, values: NDArray[np.floating]) -> _Doubles:
        """Where values lie on the axis: 0 at its low end, 1 at its high end; NaN stays NaN."""
        wide = values.astype(np.float64)
        if self.log:
            with np.errstate(invalid="ignore", divide="ignore"):
                return (np.log10(wide) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (wide - self.low) / (self.high - self.low)

    def share_of(self, value: float) -> float:
        """Where one value lies."""
        return float(self.share(np.array([value]))[0])

    def value_at(self, share: float) -> float:
        """The value at a place of a linear axis."""
        return self.low + share * (self.high - self.low)


def nice_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that cuts a span into at most that many parts."""
    raw = span / max(1, most)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def linear_axis(low: float, high: float, most_ticks: int, *, whole: bool = False) -> Axis:
    """An axis with equal steps between its ticks.

    Args:
        low: Its low end.
        high: Its high end; where it isn't above the low one, both give way.
        most_ticks: About how many ticks there is room for.
        whole: Whether ticks are whole numbers only.
    """
    low, high = _apart(low, high)
    step = nice_step(high - low, most_ticks)
    return Axis(low, high, _multiples(max(1.0, step) if whole else step, low, high))


def _apart(low: float, high: float) -> tuple[float, float]:
    """A range that isn't empty, also where the numbers are so large that halves get lost."""
    if high > low:
        return low, high
    give = max(0.5, abs(low) * 1e-6)
    return low - give, low + give


def _multiples(step: float, low: float, high: float) -> tuple[float, ...]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(index * step for index in range(first, last + 1))


def log_axis(low: float, high: float, most_ticks: int) -> Axis:
    """A logarithmic axis; both ends are above 0."""
    low, high = low / 1.05, high * 1.05
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [factor * 10.0**decade for decade in decades for factor in factors]
        inside = tuple(tick for tick in ticks if low <= tick <= high)
        if len(inside) <= most_ticks:
            break
    return Axis(low, high, inside[:: max(1, math.ceil(len(inside) / max(1, most_ticks)))], log=True)


def x_axis(low: float, high: float, columns: int, kind: XKind) -> Axis:
    """An x axis for a plot of so many columns."""
    if high <= low:
        return Axis(low - 1, low + 1, (low,))
    most_ticks = max(3, columns // 9)
    if kind == "time":
        step = next((one for one in _TIME_STEPS_S if (high - low) / one <= most_ticks), None)
        if high - low >= most_ticks and step is not None:
            return Axis(low, high, _multiples(step, low, high))
        return linear_axis(low, high, most_ticks)
    return linear_axis(low, high, most_ticks, whole=kind == "step" or high - low >= _LEAST_WHOLE_EPOCHS)


def x_text(value: float, kind: XKind) -> str:
    """A tick of an x axis: "1.5k" steps, "12" epochs, "1h30" of time."""
    return time_text(value) if kind == "time" else short_count(float(f"{value:.6g}"))


def time_text(seconds: float) -> str:
    """A stretch of time in few characters: "30s", "5m", "1h30", "2d"."""
    if abs(seconds) < 60:
        return f"{seconds:.3g}s" if seconds else "0"
    minutes = round(seconds / 60)
    if abs(seconds) < 3600:
        return f"{minutes}m" if not seconds % 60 else f"{int(seconds // 60)}m{int(seconds % 60):02d}"
    if minutes % 1440 == 0 and minutes >= 2880:
        return f"{minutes // 1440}d"
    return f"{minutes // 60}h{minutes % 60:02d}" if minutes % 60 else f"{minutes // 60}h"


def y_text(tick: float) -> str:
    """A tick of a y axis in at most six characters."""
    if tick and not 0.001 <= abs(tick) < 10_000:
        return f"{tick:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{tick:.5g}"

"""How times, numbers, states and progress are written on the screen, in words and single characters."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from rich.cells import cell_len, set_cell_size

from tui.pyramid import Floats

# State -> sign; the same as in `engine status` (engine/cli/status.py, STATE_LOOKS), each one cell wide.
SIGNS = {
    "queued": "○",
    "held": "◌",
    "running": "▶",
    "stopping": "◼",
    "finished": "✔",
    "failed": "✘",
    "cancelled": "–",
}
UNKNOWN_SIGN = "?"
NOTHING = "-"

_SPARKS = "▁▂▃▄▅▆▇█"


def sign(state: str) -> str:
    """The one character that stands for a state."""
    return SIGNS.get(state, UNKNOWN_SIGN)


def duration(seconds: float | None) -> str:
    """A stretch of time as the command line writes it: "42 s", "3:07 min", "2:05 h"."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def figure(value: float | None) -> str:
    """A loss or rate with about three digits: "0.412", "12.3", "4.1e-05"."""
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value)
    if value == 0:
        return "0"
    if size >= 100_000 or size < 0.001:
        return f"{value:.1e}"
    return f"{value:.3f}" if size < 10 else f"{value:.1f}"


def rate(value: float | None) -> str:
    """A learning rate: "0.005", "5e-05", "1.25e-04"."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    if abs(value) >= 0.001:
        return f"{value:.5f}".rstrip("0").rstrip(".")
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{exponent}"


def precision(value: float | None) -> str:
    """An average precision in [0, 1]: "0.731"."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.3f}"


def count(value: int | None) -> str:
    """A whole number with separators, or a dash."""
    return NOTHING if value is None else f"{value:,}"


def short_count(value: float) -> str:
    """A tick of a step axis: "800", "1.5k", "20k", "1M"."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def bar(fraction: float, width: int) -> tuple[str, str]:
    """A thin progress bar as its done and its open part; shapes differ, not only colours."""
    halves = round(max(0.0, min(1.0, fraction)) * width * 2)
    done = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    return done, "─" * (width - len(done))


def sparkline(values: Floats, width: int) -> str:
    """The course of a series in block characters, its lowest value at the bottom.

    Args:
        values: Any length; NaN and infinity are left out.
        width: Characters at most.
    """
    known = values[np.isfinite(values)]
    if not len(known) or width <= 0:
        return ""
    edges = np.linspace(0, len(known), min(width, len(known)) + 1).astype(int)
    means = np.add.reduceat(known.astype(np.float64), edges[:-1]) / np.diff(edges)
    low, high = float(means.min()), float(means.max())
    span = high - low or 1.0
    return "".join(_SPARKS[min(7, int((mean - low) / span * 8))] for mean in means)


def fit(text: str, width: int) -> str:
    """Text cut to a width in cells, with an ellipsis; wide characters count twice."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + "…" if width > 0 else ""


def joined(parts: Iterable[str], separator: str = " · ") -> str:
    """The parts that say something, with a separator between them."""
    return separator.join(part for part in parts if part)

"""Calm versions of noisy curves."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float32]
_Doubles = NDArray[np.float64]

MEDIUM = 1 / 60
"""Share of the shown range over which a curve is evened out, as the standard deviation of a bell."""


def smooth(x: Curve, y: Curve, most_points: int = 240, share: float = MEDIUM) -> tuple[Curve, Curve]:
    """A calm version of a noisy curve: means of stretches, then a bell-shaped running mean.

    Args:
        x: Ascending.
        y: Same length; NaN is left out of the means.
        most_points: How many points come back at most.
        share: Standard deviation of the bell, as a share of the points.
    """
    known = np.isfinite(y)
    return smooth_sums(x, np.where(known, y, np.float32(0)), known.astype(np.float32), most_points, share)


def smooth_sums(
    x: Curve, sums: Curve, counts: Curve, most_points: int = 240, share: float = MEDIUM
) -> tuple[Curve, Curve]:
    """The same of points that stand for several values each.

    Args:
        x: Ascending.
        sums: Sum of each point's values.
        counts: How many values each point stands for; 0 for none.
        most_points: How many points come back at most.
        share: Standard deviation of the bell, as a share of the points.
    """
    if len(x) < 3:
        with np.errstate(invalid="ignore", divide="ignore"):
            return x, np.where(counts > 0, sums / counts, np.float32(np.nan))
    edges = np.unique(np.linspace(0, len(x), min(most_points, len(x)) + 1).astype(int))
    weights = np.add.reduceat(counts.astype(np.float64), edges[:-1])
    totals = np.add.reduceat(sums.astype(np.float64), edges[:-1])
    middles = np.add.reduceat(x.astype(np.float64), edges[:-1]) / np.diff(edges)
    sigma = max(0.8, len(weights) * share)
    reach = np.arange(-math.ceil(3 * sigma), math.ceil(3 * sigma) + 1)
    bell = np.exp(-0.5 * (reach / sigma) ** 2)
    mass = _convolve(weights, bell)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(weights > 0, _convolve(totals, bell) / mass, np.nan)
    return middles.astype(np.float32), means.astype(np.float32)


def _convolve(values: _Doubles, bell: _Doubles) -> _Doubles:
    half = len(bell) // 2
    return np.convolve(values, bell)[half : half + len(values)]

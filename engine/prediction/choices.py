"""What may be asked of a model's findings, and what may not; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

LEAST_TILE, MOST_TILE = 32, 8192
"""Sides of a tile in pixels."""
MOST_OVERLAP = 0.9
"""Share of a tile; more would look at everything many times."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What of a model's findings is wanted.

    Attributes:
        threshold: Least score.
        thresholds: Class name -> least score, where a class has its own.
        classes: Class names; empty for all.
        tile: Side of a tile in pixels; None to look at pictures whole.
        overlap: Share of a tile that its neighbour shows too.
    """

    threshold: float = 0.5
    thresholds: Mapping[str, float] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    tile: int | None = None
    overlap: float = 0.2


def unknown_classes(class_names: Sequence[str], wanted: Sequence[str]) -> str:
    """Which of the wanted classes a model doesn't know, in words; "" when it knows all."""
    unknown = sorted(set(wanted) - set(class_names))
    return f"the model knows no class {', '.join(map(repr, unknown))}" if unknown else ""


def require_choices(
    class_names: Sequence[str], *, threshold: Any, classes: Any, tile: Any, overlap: Any
) -> None:
    """Refuse what a program can't mean, with the same bounds as the command line.

    Args:
        class_names: The classes that the model knows.
        threshold: Least score, or None.
        classes: Class names; empty for all.
        tile: Side of a tile in pixels, or None.
        overlap: Share of a tile that its neighbour shows too.

    Raises:
        TypeError: An argument is of another type.
        ValueError: An argument is out of its bounds, or a class isn't known.
    """
    if threshold is not None:
        _require_share("threshold", threshold, 1)
    _require_share("overlap", overlap, MOST_OVERLAP)
    if tile is not None:
        if isinstance(tile, bool) or not isinstance(tile, Integral):
            raise TypeError(f"tile is a whole number of pixels, not {tile!r}")
        if not LEAST_TILE <= int(tile) <= MOST_TILE:
            raise ValueError(f"tile is {LEAST_TILE} to {MOST_TILE} pixels, not {tile}")
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise TypeError(f"classes is a list of class names, not {classes!r}")
    if unknown := unknown_classes(class_names, classes):
        raise ValueError(f"{unknown}; it knows {', '.join(class_names)}")


def _require_share(name: str, value: Any, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is a number, not {value!r}")
    if not 0 <= float(value) <= most:  # NaN neither
        raise ValueError(f"{name} is a number from 0 to {most:g}, not {value}")

"""Bars beside names, each with the course that led there, drawn into a grid of characters. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tui.canvas import Canvas, Sheet
from tui.pyramid import Floats
from tui.words import bar, fit, precision, sparkline

_LEAST_BAR = 6
_MOST_NAME = 20
_MOST_SPARK = 24


@dataclass(frozen=True, slots=True, eq=False)
class Bar:
    """One bar.

    Attributes:
        name: Written before it; safe to show.
        value: In [0, 1]; None when there is none.
        course: The values up to now.
    """

    name: str
    value: float | None
    course: Floats


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars, the longest first.

    Attributes:
        bars: The bars.
        words: What they are of.
    """

    bars: tuple[Bar, ...] = ()
    words: str = ""


def draw_bars(bars: Bars, width: int, height: int) -> Canvas:
    """Draw bars; where there are more than rows, the shortest and longest, which tell most."""
    sheet = Sheet(max(0, width), max(0, height))
    room = min(_MOST_NAME, max((len(one.name) for one in bars.bars), default=0), max(4, width // 3))
    for row, one in enumerate(_chosen(bars.bars, height)):
        if isinstance(one, int):
            sheet.write(row, 1, f"… {one} more between", "muted")
        else:
            _draw_bar(sheet, row, one, room, width)
    return sheet.done()


def _chosen(bars: tuple[Bar, ...], height: int) -> list[Bar | int]:
    if len(bars) <= height:
        return list(bars)
    top = max(0, height - 1) // 2
    bottom = max(0, height - 1 - top)
    chosen: list[Bar | int] = [*bars[:top], len(bars) - top - bottom, *bars[len(bars) - bottom :]]
    return chosen[:height]


def _draw_bar(sheet: Sheet, row: int, one: Bar, room: int, width: int) -> None:
    spare = width - room - 10
    spark = sparkline(one.course, min(_MOST_SPARK, spare // 3)) if np.isfinite(one.course).sum() > 1 else ""
    spark_room = min(_MOST_SPARK, spare // 3) + 2 if spare >= 3 * _LEAST_BAR else 0
    done, rest = bar(one.value or 0.0, max(1, spare - spark_room))
    column = 1
    sheet.write(row, column, fit(one.name, room), "text")
    column += room + 1
    sheet.write(row, column, done, "ap")
    sheet.write(row, column + len(done), rest, "open")
    column += len(done) + len(rest) + 1
    sheet.write(row, column, precision(one.value), "strong")
    if spark_room:
        sheet.write(row, column + 7, spark.replace("█", "▇"), "ap50")  # full blocks of two rows would touch

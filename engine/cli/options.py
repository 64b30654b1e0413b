"""Options and words that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import click

_SCIENTIFIC_FROM = 1e5

runs_option = click.option(
    "--runs", "runs_dir", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True,
    envvar="ENGINE_RUNS", help="Folder of runs and their queue.",
)

DetectPrecision = Literal["fp32", "bf16", "auto"]
precision_option = click.option(
    "--precision", type=click.Choice(("fp32", "bf16", "auto")), default="fp32", show_default=True,
    help="Number format: bf16 is faster where the chip has it, and tells scores a little differently.",
)

set_option = click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True,
    help="Use another value for a key of every recipe, such as optimizer.lr=0.001. May be given again.",
)


def duration(seconds: float | None) -> str:
    """Seconds for people: "42 s", "3:07 min", "2:05 h"; "-" for None."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def figure(value: float | None, digits: int = 3) -> str:
    """A number with fixed digits, a huge one with its power of ten; "-" for None."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if abs(value) < _SCIENTIFIC_FROM else f"{value:.2e}"


def count(number: int, one: str) -> str:
    """A number with its noun: "1 run", "2 runs"."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"

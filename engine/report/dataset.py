"""The picture of a dataset: what its classes are, how large its boxes, and some labelled samples.

`engine check --plot` draws it. Boxes in the samples have the colours of the class bars.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from engine.annotations import Audit, ImageRecord
from engine.errors import printable
from engine.evaluation.drawing import class_colour
from engine.report.mosaic import WIDTH_PX, mosaic
from engine.rundir import write_atomic

MAX_CLASSES = 12
"""Classes with a bar of their own; the rest share one."""

_INK, _MUTED, _GRID, _PAPER = "#1F2933", "#66727F", "#DDE2E8", "#FFFFFF"
_SPLIT_COLOURS = {"train": "#0072B2", "val": "#D55E00", "test": "#009E73"}
_REST_COLOUR = "#B8C1CB"
_WIDTH_IN = 13.0
_CHARTS_IN = 3.0
_MARGIN = 0.03
# Where COCO draws the lines between small, medium and large boxes: the square root of the area.
_COCO_SIDES = (32, 96)
_STYLE: Any = {  # matplotlib types its keys one by one
    "text.parse_math": False,  # a class may be called "$x$"
    "font.size": 10, "text.color": _INK, "axes.labelcolor": _MUTED, "axes.edgecolor": _GRID, "xtick.color": _MUTED,
    "ytick.color": _INK, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.titlepad": 10, "figure.facecolor": _PAPER,
}  # fmt: skip


def draw_dataset(audit: Audit, names: Sequence[str], path: Path, *, title: str) -> None:
    """Draw a dataset.

    Args:
        audit: The dataset, read.
        names: The class map's names.
        path: The picture to write; its suffix says the format.
        title: What the picture is headed with.

    Raises:
        OSError: The picture can't be written.
        ValueError: The suffix is of no known format.
    """
    samples = mosaic([record for read in audit.splits.values() for record in read.records], names)
    samples_in = 0.0 if samples is None else _WIDTH_IN * (1 - 2 * _MARGIN) * samples.height / WIDTH_PX
    height = 1.35 + _CHARTS_IN + 0.45 + (samples_in + 0.75 if samples_in else 0)
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Class names may be of scripts that the font lacks; a box in their place is no reason to fail.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure = plt.figure(figsize=(_WIDTH_IN, height))
        _draw_head(figure, audit, title)
        bottom, tall = 1 - (1.35 + _CHARTS_IN) / height, _CHARTS_IN / height
        _draw_classes(figure.add_axes((0.125, bottom, 0.20, tall)), audit, names)
        _draw_sizes(figure.add_axes((0.40, bottom, 0.285, tall)), _sides(audit))
        _draw_places(figure.add_axes((0.735, bottom, 0.235, tall)), audit)
        if samples is not None:
            axes = figure.add_axes((_MARGIN, 0.3 / height, 1 - 2 * _MARGIN, samples_in / height))
            axes.imshow(np.asarray(samples), aspect="auto", interpolation="antialiased")
            axes.axis("off")
            axes.set_title("labelled samples")
        write_atomic(path.absolute(), lambda file: figure.savefig(file, format=path.suffix[1:].lower(), dpi=120))
        plt.close(figure)


def _draw_head(figure: Figure, audit: Audit, title: str) -> None:
    height = figure.get_figheight()
    figure.text(_MARGIN, 1 - 0.38 / height, printable(title), fontsize=17, fontweight="bold", va="center")
    told = "   ·   ".join(
        f"{split}: {counts.num_images:,} images, {counts.num_boxes:,} objects"
        + (f", {counts.num_negatives:,} without any" if counts.num_negatives else "")
        for split, counts in audit.summary.items()
    )
    figure.text(_MARGIN, 1 - 0.7 / height, told, fontsize=10.5, color=_MUTED, va="center")


# --- classes ---


def _draw_classes(axes: Axes, audit: Audit, names: Sequence[str]) -> None:
    """Bars of objects a class, the most frequent on top; splits side by side in one bar."""
    counts = {split: [s.boxes_per_class[name] for name in names] for split, s in audit.summary.items()}
    order, rest = _most_frequent(counts, len(names))
    labels = [_shortened(printable(names[index])) for index in order] + ([f"{len(rest)} more"] if rest else [])
    colours = [class_colour(index) for index in order] + ([_REST_COLOUR] if rest else [])
    left = np.zeros(len(labels))
    for number, values in enumerate(counts.values()):
        widths = np.array([values[index] for index in order] + ([sum(values[index] for index in rest)] if rest else []))
        axes.barh(range(len(labels)), widths, left=left, color=colours, alpha=(1.0, 0.6, 0.35)[number], height=0.68,
                  edgecolor=_PAPER, linewidth=0.8)
        left += widths
    for row, total in enumerate(left):
        axes.text(total + left.max() * 0.03, row, f"{int(total):,}", va="center", fontsize=9, color=_MUTED)
    axes.set_yticks(range(len(labels)), labels, fontsize=9.5)
    # A few bars stand on top, rather than being blown up to fill the place.
    axes.set_ylim(max(len(labels), 6) - 0.4, -0.6)
    axes.set_xlim(0, max(1.0, left.max()))
    axes.tick_params(length=0)
    axes.xaxis.set_visible(False)
    axes.spines[:].set_visible(False)
    _title(axes, "objects of each class", _MARGIN)
    if len(counts) > 1:
        axes.text(0, len(labels) - 0.3, "dark to light: " + ", ".join(counts), fontsize=9, color=_MUTED, va="top")


def _title(axes: Axes, words: str, left: float) -> None:
    """A title that begins left of its axes, where the labels begin."""
    place = axes.get_position()
    axes.set_title(words, x=(left - place.x0) / place.width)


def _most_frequent(counts: Mapping[str, Sequence[int]], num_classes: int) -> tuple[list[int], list[int]]:
    totals = [sum(values[index] for values in counts.values()) for index in range(num_classes)]
    order = sorted(range(num_classes), key=lambda index: -totals[index])
    # One left over needs no collective bar: it would take the same room.
    return (order, []) if num_classes <= MAX_CLASSES + 1 else (order[:MAX_CLASSES], order[MAX_CLASSES:])


def _shortened(text: str, length: int = 16) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


# --- boxes ---


def _sides(audit: Audit) -> dict[str, NDArray[np.float32]]:
    """Split -> square root of each box's area, in pixels."""
    sides = {}
    for split, read in audit.splits.items():
        boxes = _boxes(read.records)
        sides[split] = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    return sides


def _boxes(records: Sequence[ImageRecord]) -> NDArray[np.float32]:
    return np.concatenate([np.zeros((0, 4), np.float32), *(record.boxes_xyxy for record in records)])


def _draw_sizes(axes: Axes, sides: Mapping[str, NDArray[np.float32]]) -> None:
    """Box sizes on a logarithmic axis, each split scaled to its own number of boxes."""
    every = np.concatenate([np.zeros(0, np.float32), *sides.values()])
    axes.set_title("box size: square root of the area, px")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.yaxis.set_visible(False)
    if not len(every):
        return
    low, high = max(1.0, float(every.min()) * 0.8), max(2.0, float(every.max()) * 1.25)
    edges = np.geomspace(low, high, 33)
    for split, values in sides.items():
        if len(values):
            heights, _ = np.histogram(values.clip(low, high), edges)
            colour = _SPLIT_COLOURS[split]
            share = heights / len(values)
            if split == "train":
                axes.stairs(share, edges, fill=True, color=colour, alpha=0.25)
            axes.stairs(share, edges, color=colour, linewidth=1.8, label=split)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.14)
    ticks = [tick for tick in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096) if low <= tick <= high]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _draw_coco_sizes(axes, every, (low, high))
    axes.legend(frameon=False, fontsize=9, loc="center right", labelcolor=_MUTED)


def _draw_coco_sizes(axes: Axes, sides: NDArray[np.float32], limits: tuple[float, float]) -> None:
    bounds = [limits[0], *_COCO_SIDES, limits[1]]
    for side in _COCO_SIDES:
        if limits[0] < side < limits[1]:
            axes.axvline(side, color=_MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
    shares = [np.mean(sides < 32), np.mean((sides >= 32) & (sides < 96)), np.mean(sides >= 96)]
    for word, share, between in zip(("small", "medium", "large"), shares, pairwise(bounds), strict=True):
        start, end = max(between[0], limits[0]), min(between[1], limits[1])
        if end > start * 1.6:
            axes.text(np.sqrt(start * end), axes.get_ylim()[1] * 0.97, f"{word}\n{share:.0%}", ha="center", va="top",
                      fontsize=9, color=_MUTED, linespacing=1.3)


def _draw_places(axes: Axes, audit: Audit, cells: int = 48) -> None:
    """How often each part of the picture lies within a box."""
    covered = np.zeros((cells + 1, cells + 1))
    for read in audit.splits.values():
        for record in read.records:
            scale = cells / np.array([record.width, record.height, record.width, record.height])
            x0, y0, x1, y1 = np.rint(record.boxes_xyxy * scale).astype(int).T
            # A corner each; summing them up twice fills the boxes.
            for x, y, sign in ((x0, y0, 1), (x1, y1, 1), (x0, y1, -1), (x1, y0, -1)):
                np.add.at(covered, (y, x), sign)
    axes.imshow(covered.cumsum(0).cumsum(1)[:cells, :cells], cmap="cividis", extent=(0, 100, 100, 0), aspect="auto",
                interpolation="bilinear", vmin=0)
    axes.set_title("where objects lie, % of the picture")
    axes.tick_params(length=0, labelcolor=_MUTED)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4))
    axes.spines[:].set_visible(False)

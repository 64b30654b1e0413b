"""Pictures of an analysis: precision over recall, F1 over the threshold, confusion, calibration, cost of errors.

And of several analyses: their curves over one another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from engine.analysis.schema import Analysis, ClassAnalysis
from engine.errors import printable
from engine.rundir import write_atomic

_BLUE, _ORANGE, _GREY, _INK = "#0072B2", "#D55E00", "#9AA5B1", "#1F2933"
# Okabe and Ito's, told apart with colour-blind eyes too.
_PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8A7A00")
_MOST_CURVES = len(_PALETTE)
_MOST_CELLS_WITH_NUMBERS = 20
_LEVELS = np.linspace(0, 1, 101)
_DPI = 120

PLOTS = ("precision_recall.png", "f1_by_score.png", "confusion.png", "calibration.png", "errors.png")


def draw_plots(analysis: Analysis, folder: Path) -> list[Path]:
    """Draw every picture that there is something to draw for; returns the files.

    Raises:
        OSError: The disk is full.
    """
    title = title_of(analysis)
    drawn: list[tuple[str, Callable[[Analysis], Figure] | None]] = [
        ("precision_recall.png", _precision_recall if analysis.figures.ap is not None else None),
        ("f1_by_score.png", _f1_by_score if analysis.f1_by_score else None),
        ("confusion.png", _confusion if analysis.classes else None),
        ("calibration.png", _calibration if analysis.calibration else None),
        ("errors.png", _errors if analysis.figures.ap is not None else None),
    ]
    paths = []
    for name, draw in drawn:
        path = folder / name
        if draw is None:
            path.unlink(missing_ok=True)  # of a former analysis
            continue
        figure = draw(analysis)
        figure.suptitle(title, x=0.02, ha="left", fontsize=11, color=_INK, parse_math=False)
        _save(figure, path)
        paths.append(path)
    return paths


@dataclass(frozen=True, slots=True)
class Series:
    """A model's curves over its training; x is epochs done.

    Attributes:
        name: What to call the model.
        epochs: Epochs that were measured.
        ap: AP on the validation photos.
        val_loss: Loss there.
    """

    name: str
    epochs: Sequence[int]
    ap: Sequence[float]
    val_loss: Sequence[float]


def draw_comparison(analyses: Sequence[Analysis], series: Sequence[Series], path: Path) -> None:
    """Several models' curves over one another: training above, precision and F1 below.

    Raises:
        OSError: The disk is full.
    """
    figure, ((ap, loss), (precision, f1)) = plt.subplots(2, 2, figsize=(12, 9), layout="constrained")
    for place, (analysis, one) in enumerate(zip(analyses, series, strict=True)):
        style: dict[str, Any] = {
            "color": _PALETTE[place % len(_PALETTE)], "linestyle": ("-", "--", ":")[place // len(_PALETTE) % 3],
            "linewidth": 2, "label": printable(one.name),
        }
        marked = {**style, "marker": "o", "markersize": 4}
        ap.plot(one.epochs, one.ap, **marked)
        loss.plot(one.epochs, one.val_loss, **marked)
        mean = _mean_precision(analysis)
        if mean is not None:
            precision.plot(_LEVELS, mean, **style)
        if analysis.f1_by_score:
            f1.plot(_LEVELS, analysis.f1_by_score, **style)
        if analysis.best:
            f1.plot([analysis.best.score], [analysis.best.f1], "o", color=style["color"], markersize=6)
    for axes, label in ((ap, "AP while training"), (loss, "validation loss while training")):
        axes.set(xlabel="epoch", ylabel=label)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    _dress(precision, "recall", "precision at IoU 0.50, mean over classes")
    _dress(f1, "least score that counts", "F1 at IoU 0.50, mean over classes")
    _legend(precision)
    _save(figure, path)


def title_of(analysis: Analysis) -> str:
    """What the figures are of: "0004-desk-r50, epoch 12, val: 72 images, 914 objects"."""
    source = analysis.source
    epoch = f"epoch {source.epoch + 1}" if source.epoch is not None else ""
    model = ", ".join(part for part in (printable(source.model), epoch, printable(source.split)) if part)
    counts = ", ".join(
        f"{number:,} {word if number == 1 else word + 's'}"
        for number, word in ((analysis.num_images, "image"), (analysis.num_objects, "object"))
    )
    return f"{model}: {counts}" if model else counts


def _save(figure: Figure, path: Path) -> None:
    write_atomic(path, lambda file: figure.savefig(file, format="png", dpi=_DPI))
    plt.close(figure)


def _dress(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set(xlabel=x_label, ylabel=y_label, xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(axes: Axes) -> None:
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        legend = axes.legend(loc="best", framealpha=0.85, edgecolor="none", fontsize=9)
        for text in legend.get_texts():
            text.set_parse_math(False)  # names are a person's text; a "$" would start mathematics


def _drawn_classes(analysis: Analysis) -> list[tuple[ClassAnalysis, str | None]]:
    """Classes with their colours: a few each have one; of many, all are grey but for those most in need."""
    known = [one for one in analysis.classes if one.precision50 is not None]
    if len(known) <= _MOST_CURVES:
        return list(zip(known, _PALETTE, strict=False))
    by_ap = sorted(known, key=lambda one: one.figures.ap50 or 0)
    worst = {one.name: colour for one, colour in zip(by_ap[:4], _PALETTE[1:], strict=False)}
    return [(one, worst.get(one.name)) for one in sorted(known, key=lambda one: one.name in worst)]


def _mean_precision(analysis: Analysis) -> np.ndarray | None:
    curves = [one.precision50 for one in analysis.classes if one.precision50 is not None]
    return np.mean(curves, axis=0) if curves else None


def _class_curves(axes: Axes, analysis: Analysis, curve: str, figure: Callable[[ClassAnalysis], float | None]) -> None:
    for one, colour in _drawn_classes(analysis):
        value = figure(one)
        label = f"{printable(one.name)}  {value:.3f}" if value is not None else printable(one.name)
        axes.plot(_LEVELS, getattr(one, curve), color=colour or _GREY, linewidth=1.8 if colour else 0.8,
                  alpha=1 if colour else 0.4, label=label if colour else None)


def _precision_recall(analysis: Analysis) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
    for axes, curve, iou, name in ((left, "precision50", "0.50", "ap50"), (right, "precision75", "0.75", "ap75")):
        _class_curves(axes, analysis, curve, lambda one, name=name: getattr(one.figures, name))  # type: ignore[misc]
        mean = np.mean([getattr(one, curve) for one in analysis.classes if getattr(one, curve) is not None], axis=0)
        value = getattr(analysis.figures, name)
        axes.plot(_LEVELS, mean, color=_INK, linewidth=2.6, label=f"all classes  {value:.3f}")
        _dress(axes, "recall", f"precision at IoU {iou}")
        _legend(axes)
    return figure


def _f1_by_score(analysis: Analysis) -> Figure:
    figure, axes = plt.subplots(figsize=(7.5, 5), layout="constrained")
    _class_curves(axes, analysis, "f1_by_score", lambda one: one.best.f1 if one.best else None)
    assert analysis.f1_by_score is not None  # asked before
    axes.plot(_LEVELS, analysis.f1_by_score, color=_INK, linewidth=2.6, label="mean over classes")
    if analysis.best:
        axes.axvline(analysis.best.score, color=_INK, linewidth=1, linestyle="--")
        axes.annotate(
            f"best at {analysis.best.score:.3f}: F1 {analysis.best.f1:.3f}", (analysis.best.score, 1.02), color=_INK,
            xytext=(5 if analysis.best.score < 0.6 else -5, -4), textcoords="offset points", fontsize=9,
            ha="left" if analysis.best.score < 0.6 else "right", va="top",
        )
    _dress(axes, "least score that counts", "F1 at IoU 0.50")
    _legend(axes)
    return figure


def _confusion(analysis: Analysis) -> Figure:
    counts = np.array(analysis.confusion.counts)
    names = [printable(one.name) for one in analysis.classes]
    size = len(counts)
    side = min(14.0, max(5.0, 0.75 * size + 2.5))
    figure, axes = plt.subplots(figsize=(side + 0.6, side), layout="constrained")
    # Each row in shares of its objects; the background has none, so its row is in shares of what it was taken for.
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right, wrong = (mpl.colormaps[name](0.9 * shares) for name in ("Blues", "Oranges"))
    axes.imshow(np.where(np.eye(size, dtype=bool)[..., None], right, wrong))
    font = 11 if size <= 8 else 8
    turned: dict[str, Any] = {"rotation": 45, "ha": "right"} if size > 4 else {}
    axes.set_xticks(range(size), [*names, "nothing"], **turned)
    axes.set_yticks(range(size), [*names, "background"])
    axes.tick_params(labelsize=font, length=0)
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set_parse_math(False)
    axes.set(xlabel=f"detected as, from score {analysis.confusion.score:.3f} on", ylabel="what it is")
    axes.spines[:].set_visible(False)
    axes.axhline(size - 1.5, color="white", linewidth=4)
    axes.axvline(size - 1.5, color="white", linewidth=4)
    if size <= _MOST_CELLS_WITH_NUMBERS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.55 else _INK
            words = f"{counts[row, column]:,}"
            if row < size - 1 and size <= 8:
                words += f"\n{shares[row, column]:.0%}"
            axes.text(column, row, words, ha="center", va="center", color=colour, fontsize=font)
    return figure


def _calibration(analysis: Analysis) -> Figure:
    assert analysis.calibration is not None  # asked before
    bins = analysis.calibration.bins
    figure, (axes, below) = plt.subplots(
        2, 1, figsize=(6, 6.6), sharex=True, height_ratios=(4, 1), layout="constrained"
    )
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1.2, label="scores that mean what they say")
    known = [(one.mean_score, one.share_right, one.num_detections) for one in bins if one.num_detections]
    centres, rights = [one[0] for one in known], [one[1] for one in known]
    axes.vlines(centres, centres, rights, color=_ORANGE, alpha=0.5, linewidth=5)
    axes.plot(centres, rights, color=_BLUE, linewidth=2, marker="o", markersize=5,
              label=f"these, {analysis.calibration.ece:.3f} off on average (ECE)")
    _dress(axes, "", "share that is right at IoU 0.50")
    _legend(axes)
    below.bar([(one.low + one.high) / 2 for one in bins], [one.num_detections for one in bins], width=0.09, color=_GREY)
    below.set(xlabel="score", ylabel="detections", xlim=(0, 1))
    below.spines[["top", "right"]].set_visible(False)
    return figure


def _errors(analysis: Analysis) -> Figure:
    figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    ordered = sorted(analysis.errors, key=lambda one: one.cost)
    costs = [100 * one.cost for one in ordered]
    bars = axes.barh([one.kind for one in ordered], costs, color=_BLUE, height=0.62)
    labels = [f"{cost:.1f}   ({one.count:,})" for cost, one in zip(costs, ordered, strict=True)]
    axes.bar_label(bars, labels, padding=5, color=_INK)
    axes.set(xlabel="points of AP50 that mending all of them would gain (how many there are)",
             xlim=(min(0, *costs), max(1, *costs) * 1.25))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure

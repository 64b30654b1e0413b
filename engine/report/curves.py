"""The loss-curve picture of a run: `python -m engine.report.curves RUN_DIR` writes report/loss.png.

Three panels share the epochs: training and validation loss, AP on the validation images, and the
learning rate. The best epoch is marked, and what the curve's shape says stands above.
"""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from engine.advice import advise, read_curve
from engine.events import EpochEvent, Event, EventTail, RunStarted, StepEvent
from engine.rundir import RunDir, write_atomic

_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#9AA5B1"


@dataclass(frozen=True, slots=True)
class Curves:
    """The series of a run; x is in epochs, so that the end of the first epoch is 1."""

    step_epochs: list[float]
    step_losses: list[float]
    lrs: list[float]
    epochs: list[EpochEvent]


def read_curves(events: list[Event]) -> Curves:
    """Collect a run's series from its events."""
    steps = [event for event in events if isinstance(event, StepEvent)]
    started = [event for event in events if isinstance(event, RunStarted)]
    steps_per_epoch = started[-1].num_steps / started[-1].num_epochs if started else 1
    known = [event for event in steps if event.loss is not None]
    return Curves(
        step_epochs=[(event.step + 1) / steps_per_epoch for event in known],
        step_losses=[event.loss for event in known if event.loss is not None],
        lrs=[event.lr for event in known],
        epochs=[event for event in events if isinstance(event, EpochEvent)],
    )


def draw_loss_curve(run_dir: RunDir) -> bool:
    """Draw `report/loss.png` from the run's events; False when no step was made yet.

    Raises:
        OSError: The events can't be read or the picture can't be written.
    """
    events = EventTail(run_dir.events).read_all()
    curves, advice = read_curves(events), advise(read_curve(events))
    if not curves.step_losses:
        return False
    figure, (losses, quality, rate) = plt.subplots(
        3, 1, figsize=(10, 8), sharex=True, height_ratios=(5, 4, 2), layout="constrained"
    )
    _draw_losses(losses, curves)
    _draw_quality(quality, curves)
    rate.plot(curves.step_epochs, curves.lrs, color=_GREY, linewidth=2)
    rate.set_ylabel("learning rate")
    rate.set_xlabel("epoch")
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (losses, quality, rate):
        axes.grid(visible=True, alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    # A run's name is a person's text; without this a "$" would start mathematics.
    figure.suptitle(run_dir.run_id, fontsize=14, x=0.01, ha="left", weight="bold", parse_math=False)
    words = f"{advice.words}.  {advice.fix}" if advice.fix else advice.words
    losses.set_title(
        textwrap.fill(words[:1].upper() + words[1:], 110), fontsize=10, loc="left", color="#334155", parse_math=False,
        pad=10,
    )
    write_atomic(run_dir.loss_curve, lambda file: figure.savefig(file, format="png", dpi=120))
    plt.close(figure)
    return True


def _draw_losses(axes: Axes, curves: Curves) -> None:
    axes.plot(curves.step_epochs, curves.step_losses, color=_BLUE, alpha=0.25, linewidth=1, label="each step")
    ends = [event.epoch + 1 for event in curves.epochs]
    train = [event.train_loss if event.train_loss is not None else float("nan") for event in curves.epochs]
    val = [event.val_loss if event.val_loss is not None else float("nan") for event in curves.epochs]
    if ends:
        axes.plot(ends, train, color=_BLUE, linewidth=2, marker="o", markersize=4, label="training, mean of the epoch")
        axes.plot(ends, val, color=_ORANGE, linewidth=2, marker="s", markersize=4, label="validation")
    axes.set_ylabel("loss")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def _draw_quality(axes: Axes, curves: Curves) -> None:
    ends = [event.epoch + 1 for event in curves.epochs]
    for name, colour, marker in (("ap50", _GREEN, "o"), ("ap", _BLUE, "s")):
        values = [getattr(event, name) for event in curves.epochs]
        known = [float("nan") if value is None else value for value in values]
        label = {"ap50": "AP50", "ap": "AP"}[name]
        axes.plot(ends, known, color=colour, linewidth=2, marker=marker, markersize=4, label=label)
    best = [event for event in curves.epochs if event.best]
    if best:
        axes.axvline(best[-1].epoch + 1, color=_GREY, linestyle="--", linewidth=1, label="best epoch")
    axes.set_ylabel("validation")
    axes.set_ylim(0, 1)
    if curves.epochs:
        axes.legend(frameon=False, loc="lower right")


def main() -> int:
    """Draw one run's curve; exit code 0 also when there is nothing to draw yet."""
    draw_loss_curve(RunDir(Path(sys.argv[1]).resolve()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

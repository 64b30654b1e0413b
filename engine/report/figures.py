"""The charts and words of a report: figures as people read them, runs' curves laid out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.report.chart import NUM_COLOURS, Chart, Data, chart
from engine.report.story import RunStory
from engine.runqueue import OVER

# More curves in one chart can't be told apart.
MOST_TOGETHER = 10


def span(seconds: float | None) -> str:
    """A duration: "47 s", "12 min", "3 h 05 min"; "–" where unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def number(value: float | None, digits: int = 3) -> str:
    """A figure with fixed digits; "–" where nothing was measured."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def colour(index: int) -> str:
    """CSS classes of the n-th run: seven colours, then the same dashed."""
    return f"c{index % NUM_COLOURS}{' dashed' if index >= NUM_COLOURS else ''}"


def charts_of(story: RunStory) -> list[Chart]:
    """Loss, AP and learning rate of one run."""
    ends = [float(event.epoch + 1) for event in story.epochs]
    reached = max([*ends, *story.series.epochs_at[-1:], 0.0])
    asked = 0 if story.row.state in OVER else story.progress.num_epochs or 0
    x_end = float(max(reached, asked, 0.1))
    best = float(story.best.epoch + 1) if story.best else None
    found = [
        chart(
            "Loss",
            [
                Data("each step", story.series.epochs_at, story.series.losses, "c0 faint", told=False),
                Data("training", ends, [event.train_loss for event in story.epochs], "c0"),
                Data("validation", ends, [event.val_loss for event in story.epochs], "c1"),
            ],
            x_end=x_end, mark=best,
        ),
        chart(
            "Average precision on the validation images",
            [
                Data("AP50", ends, [event.ap50 for event in story.epochs], "c2"),
                Data("AP", ends, [event.ap for event in story.epochs], "c0"),
            ],
            x_end=x_end, y_end=1.0, mark=best,
        ),
        chart(
            "Learning rate", [Data("learning rate", story.series.epochs_at, story.series.lrs, "c6", told=False)],
            x_end=x_end, num_ticks=2,
        ),
    ]
    return [one for one in found if one is not None]


def charts_together(stories: Sequence[RunStory]) -> list[Chart]:
    """AP and validation loss of several runs, best first; the first ten of them."""
    shown = [story for story in stories if story.epochs][:MOST_TOGETHER]
    if not shown:
        return []
    x_end = float(max(story.epochs[-1].epoch + 1 for story in shown))

    def lines(name: str) -> list[Data]:
        return [
            Data(
                story.run, [float(event.epoch + 1) for event in story.epochs],
                [getattr(event, name) for event in story.epochs], colour(index),
            )
            for index, story in enumerate(shown)
        ]

    found = [
        chart("AP on the validation images", lines("ap"), x_end=x_end, y_end=1.0),
        chart("Validation loss", lines("val_loss"), x_end=x_end),
    ]
    return [one for one in found if one is not None]

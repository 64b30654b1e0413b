"""Which runs are compared, and how they did: their curves in one plot, their best figures, their recipes. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.events import EpochEvent
from tui.curves import CLASS_INKS, MOST_BLOCKS, calm_line, epoch_line
from tui.look import Look, Scale, Window
from tui.plot import Line, Plot
from tui.scene import Scene
from tui.view import RunView
from tui.words import NOTHING, duration, figure, precision

MOST_RUNS = 8
"""More curves than this can't be told apart."""
LETTERS = "ABCDEFGH"

_Value = Callable[[EpochEvent], float | None]


def compared(scene: Scene) -> tuple[list[RunView], str]:
    """The runs to compare, and why these: the marked ones, else the chosen one and the best other finished one."""
    marked = [view for view in scene.views if view.run_id in scene.marked]
    if len(marked) > 1:
        words = f"the {len(marked)} marked runs"
        return marked[:MOST_RUNS], words if len(marked) <= MOST_RUNS else f"the first {MOST_RUNS} of {words}"
    first = marked[0] if marked else scene.chosen
    if first is None:
        return [], "no run to compare"
    others = [view for view in scene.views if view is not first and view.progress.best_ap is not None]
    finished = [view for view in others if view.state == "finished"] or others
    best = max(finished, key=lambda view: view.progress.best_ap or 0.0, default=None)
    hint = "Space marks others"
    if best is None:
        return [first], f"no other run has been measured yet; {hint}"
    kind = "the best other finished run" if best.state == "finished" else "the best other run"
    in_order = [view for view in scene.views if view is first or view is best]
    return in_order, f"{'the marked' if marked else 'the chosen'} run and {kind}; {hint}"


# --- curves ---


@dataclass(frozen=True, slots=True)
class Contest:
    """A figure in which runs are compared.

    Attributes:
        title: What it is.
        value_of: Its value of an epoch; None for the training loss of the steps.
        is_unit: Whether it lies in [0, 1].
    """

    title: str
    value_of: _Value | None = None
    is_unit: bool = False

    def plot(self, views: Sequence[RunView], look: Look) -> Plot:
        """The runs' curves, one style of line each, with their letters."""
        lines = [self._line(view, index, look) for index, view in enumerate(views)]
        return Plot(
            tuple(line for line in lines if np.isfinite(line.y).any()),
            log=look.log and not self.is_unit, unit_range=self.is_unit,
            kind=look.kind, window=look.window, cursor=look.cursor,
        )  # fmt: skip

    def _line(self, view: RunView, index: int, look: Look) -> Line:
        name, ink = f"{LETTERS[index]} {view.number}", CLASS_INKS[index]
        if self.value_of is None:
            line = replace(calm_line(view, look, "loss", ink, name), dash=index)
        else:
            line = epoch_line(view, look, name, self.value_of, ink, index)
        if look.cursor is not None and len(line.x) and not line.x[0] <= look.cursor <= line.x[-1]:
            line = replace(line, value=math.nan)  # this run has nothing there
        return replace(line, end_sign=LETTERS[index])


CONTESTS = (
    Contest("Training loss"),
    Contest("AP50", lambda epoch: epoch.ap50, is_unit=True),
    Contest("Validation loss", lambda epoch: epoch.val_loss),
    Contest("AP", lambda epoch: epoch.ap, is_unit=True),
)


def whole_of(views: Sequence[RunView], look: Look) -> Window:
    """The range of all runs on the x axis."""
    ranges = [Scale(view, look.kind).whole() for view in views if view.steps.length or view.epochs]
    return min((one[0] for one in ranges), default=0.0), max((one[1] for one in ranges), default=1.0)


# --- figures ---


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of figures.

    Attributes:
        title: Its head.
        values: Of each run; None where there is none.
        texts: The same as told.
        best: Indexes of the runs that are best in it; empty where nothing is better or all are alike.
    """

    title: str
    values: tuple[float | None, ...]
    texts: tuple[str, ...]
    best: frozenset[int] = frozenset()


def columns_of(views: Sequence[RunView], now: float) -> list[Column]:
    """How the runs did at their best epochs, and what it took; the weightiest first."""
    best = [best_epoch(view) for view in views]

    def of_epoch(title: str, value_of: _Value, text: Callable[[float | None], str], better: int = 0) -> Column:
        return _column(title, [value_of(epoch) if epoch else None for epoch in best], text, better)

    return [
        of_epoch("AP", lambda epoch: epoch.ap, precision, 1),
        of_epoch("AP50", lambda epoch: epoch.ap50, precision, 1),
        of_epoch("AP75", lambda epoch: epoch.ap75, precision, 1),
        of_epoch("at epoch", lambda epoch: epoch.epoch + 1.0, lambda value: f"{value:.0f}" if value else NOTHING),
        of_epoch("val loss", lambda epoch: epoch.val_loss, figure, -1),
        _column("elapsed", [view.elapsed_s(now) if view.started else None for view in views], duration),
        _column("s a step", [_seconds_a_step(view) for view in views], figure, -1),
        _column("memory", [_memory_gb(view) for view in views], lambda gb: f"{gb:.1f} GB" if gb else NOTHING, -1),
    ]


def best_epoch(view: RunView) -> EpochEvent | None:
    """The epoch whose weights are kept as the best; the last one where none is said to be."""
    kept = [epoch for epoch in view.epochs if epoch.best]
    measured = kept or list(view.epochs)
    return measured[-1] if measured else None


def _column(
    title: str, values: Sequence[float | None], text: Callable[[float | None], str], better: int = 0
) -> Column:
    known = {index: value * better for index, value in enumerate(values) if value is not None and better}
    top = max(known.values(), default=0.0)
    best = frozenset(index for index, value in known.items() if value == top)
    is_told = len(known) > 1 and len(best) < len(known)
    return Column(title, tuple(values), tuple(text(value) for value in values), best if is_told else frozenset())


def _seconds_a_step(view: RunView) -> float | None:
    blocks = view.steps.blocks("step_s", 0, view.steps.length, MOST_BLOCKS)
    known = float(blocks.counts.sum(dtype=np.float64))
    return float(blocks.sums.sum(dtype=np.float64)) / known if known else None


def _memory_gb(view: RunView) -> float | None:
    return max((epoch.memory_bytes for epoch in view.epochs), default=0) / 1e9 or None

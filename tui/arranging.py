"""In which order the queue table shows runs, and which of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.runqueue import OVER
from engine.standing import Board
from tui.view import RunView

TURN = "turn"


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How the table is arranged.

    Attributes:
        key: One of `SORT_KEYS`.
        is_reversed: The other way round than usual: the usual way puts the best first.
        pattern: A regular expression, looked for in a run's id, state, cause and reason; "" for all runs.
    """

    key: str = TURN
    is_reversed: bool = False
    pattern: str = ""

    @property
    def trouble(self) -> str:
        """Why the pattern can't be used; "" when it can."""
        try:
            re.compile(self.pattern)
        except re.error as error:
            return f"not a regular expression: {error}"
        return ""

    def apply(self, views: Sequence[RunView], board: Board) -> list[RunView]:
        """The runs to show, in order; all of them while the pattern can't be used."""
        ordered = sorted(views, key=lambda view: view.run_id)
        value = _VALUES.get(self.key)
        if value is None:
            ordered = _by_turn(ordered, board, self.key)
        else:
            known = [view for view in ordered if value(view) is not None]
            unknown = [view for view in ordered if value(view) is None]
            known.sort(key=value, reverse=self.key in _MOST_FIRST)  # type: ignore[arg-type]
            ordered = [*(reversed(known) if self.is_reversed else known), *unknown]
        if value is None and self.is_reversed:
            ordered.reverse()
        if not self.pattern or self.trouble:
            return ordered
        found = re.compile(self.pattern, re.IGNORECASE)
        return [view for view in ordered if found.search(_told(view))]


def _told(view: RunView) -> str:
    return f"{view.run_id} {view.state} {view.cause} {view.reason}"


def _by_turn(views: Sequence[RunView], board: Board, key: str) -> list[RunView]:
    """Those at work, those that wait by their turns, and below them the finished ones, the latest first."""
    turns = {standing.row.run: place for place, standing in enumerate(board.standings)}
    unfinished = [view for view in views if view.run_id in turns or view.state not in OVER]
    if key == "left":
        left = {standing.row.run: standing.left_s for standing in board.standings}
        unfinished.sort(key=lambda view: _last_if_none(left.get(view.run_id)))
    else:
        unfinished.sort(key=lambda view: turns.get(view.run_id, len(turns)))
    known = {view.run_id for view in unfinished}
    over = [view for view in views if view.run_id not in known]
    over.sort(key=_ended_at, reverse=True)
    return [*unfinished, *over]


def _last_if_none(value: float | None) -> float:
    return float("inf") if value is None else value


def _ended_at(view: RunView) -> float:
    if view.row is not None and view.row.ended_at is not None:
        return view.row.ended_at
    return view.progress.last_time or 0.0


_STATE_ORDER = ("running", "stopping", "failed", "held", "queued", "finished", "cancelled", "unknown")

# What runs are sorted by; those without a value come last. "turn" and "left" need the board.
_VALUES: dict[str, Callable[[RunView], float | str | None]] = {
    "number": lambda view: view.run_id,
    "name": lambda view: view.name.casefold(),
    "state": lambda view: _STATE_ORDER.index(view.state) if view.state in _STATE_ORDER else len(_STATE_ORDER),
    "progress": lambda view: view.progress.fraction if view.progress.num_steps else None,
    "loss": lambda view: view.progress.loss,
    "AP50": lambda view: view.progress.best_ap50,
}
_MOST_FIRST = ("progress", "AP50")
SORT_KEYS = (TURN, *_VALUES, "left")

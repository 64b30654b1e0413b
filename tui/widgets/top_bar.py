"""The first line of the screen: where we look, how many runs are in which state, when it is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text
from textual.widget import Widget

from engine.errors import printable
from engine.rehearsalmark import Rehearsal
from tui.feed import Fleet
from tui.scene import Scene
from tui.view import RunView
from tui.widgets.inked import Piece, inked_text, spread, width_of
from tui.words import duration, fit, sign

_ORDER = ("running", "stopping", "queued", "held", "finished", "failed", "cancelled", "unknown")
_LONGEST_NAME = 24


class TopBar(Widget):
    """Name, runs folder and counts."""

    DEFAULT_CSS = "TopBar { height: 1; }"

    def __init__(self, runs_dir: str) -> None:
        super().__init__()
        self._runs_dir = printable(runs_dir)
        self._left: list[Piece] = []
        self._forms: list[list[Piece]] = []

    def show(self, scene: Scene) -> None:
        """Count the runs again."""
        fleet, views = scene.fleet, scene.views
        left = [(" ◆ ", "accent"), ("engine ", "strong"), (self._runs_dir, "muted")]
        alert, rest = self._alert(fleet, views), _left_over(scene)
        in_words, in_signs = (_counts(views, in_words=in_words) for in_words in (True, False))
        told = ([*in_words, *rest], [*in_signs, *rest], *([in_signs, []] if alert else []))
        forms = [[*alert, *pieces, (" ", "")] for pieces in told]
        if (left, forms) != (self._left, self._forms):
            self._left, self._forms = left, forms
            self.refresh()

    def render(self) -> Text:
        """The line."""
        width = self.size.width
        lines = [(left, right) for right in self._forms for left in (self._left, self._left[:2])]
        fitting = [line for line in lines if width_of(line[0]) + width_of(line[1]) < width]
        left, right = fitting[0] if fitting else (self._left[:2], [])
        return inked_text(self, spread(left, right, width))

    def _alert(self, fleet: Fleet, views: Sequence[RunView]) -> list[Piece]:
        if fleet.trouble:
            return [("queue unreadable", "warning!"), ("   ", "")]
        if fleet.is_paused:
            return [("paused: p on Queue goes on", "warning!"), ("   ", "")]
        if fleet.rehearsal is not None:
            return [(rehearsal_words(fleet.rehearsal), "accent!"), ("   ", "")]
        waiting = any(view.is_waiting for view in views)
        busy = any(view.is_worked_on for view in views)
        if waiting and not busy and not fleet.is_supervised:
            return [("the queue stands still: S starts it", "warning!"), ("   ", "")]
        return []


def rehearsal_words(rehearsal: Rehearsal) -> str:
    """What is being rehearsed, and which of how many recipes that is."""
    place = f" ({rehearsal.number} of {rehearsal.total})" if rehearsal.total > 1 else ""
    return f"rehearsing {fit(printable(rehearsal.name), _LONGEST_NAME)}{place}"


def _counts(views: Sequence[RunView], *, in_words: bool) -> list[Piece]:
    counts = Counter(view.state for view in views)
    pieces: list[Piece] = []
    for state in _ORDER:
        if counts[state]:
            gap = "   " if pieces else ""
            number = f"{counts[state]} {state}" if in_words else str(counts[state])
            pieces += [(f"{gap}{sign(state)} ", f"{state}!"), (number, "text")]
    return pieces


def _left_over(scene: Scene) -> list[Piece]:
    done_at = scene.board.queue_done_at
    if done_at is not None and scene.board.is_supervised:
        return [("   ", ""), (duration(max(0.0, done_at - scene.now)), "strong"), (" left", "muted")]
    rests = [rest for view in scene.views if (rest := view.eta_s(scene.now)) is not None]
    return [("   ", ""), (duration(max(rests)), "strong"), (" left", "muted")] if rests else []

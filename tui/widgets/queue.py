"""The list of runs: state, progress, loss and best AP50 of each, or why it failed."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.errors import printable
from tui.view import RunView
from tui.widgets.inked import Piece, inked_strip, spread, width_of
from tui.words import bar, duration, figure, fit, joined, precision, sign, sparkline

_EDGE = 2
_SPARK_WIDTH = 12
_LEAST_SPARK = 4
_LEAST_NAME_ORPHANED = 4


class QueueList(ScrollView, can_focus=False):
    """Every run in two to four lines, as many as there is room for."""

    DEFAULT_CSS = "QueueList { overflow-x: hidden; }"

    @dataclass
    class Chosen(Message):
        """A run was pointed at."""

        run_id: str

    @dataclass
    class Marked(Message):
        """Other runs are marked now."""

        run_ids: frozenset[str]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._runs: tuple[str, ...] = ()
        self._lines: dict[str, list[list[Piece]]] = {}
        self._chosen: str | None = None
        self._marked: frozenset[str] = frozenset()
        self._density = 0
        self._width = 0
        self._views: dict[str, RunView] = {}
        self._now = 0.0

    def show(
        self, views: Sequence[RunView], chosen: str | None, now: float, marked: frozenset[str] = frozenset()
    ) -> None:
        """Show these runs; of those in sight, the lines that changed are drawn again.

        Args:
            views: By number.
            chosen: The run that the rest of the screen shows.
            now: Seconds since 1970.
            marked: The runs that are marked.
        """
        self._views, self._now = {view.run_id: view for view in views}, now
        runs = tuple(self._views)
        density = self._density_for(len(runs))
        if runs != self._runs or density != self._density:
            self._runs, self._density = runs, density
            self.virtual_size = Size(self.content_size.width, len(runs) * density)
            self.refresh()
        before, marks = self._chosen, marked ^ self._marked
        self._chosen, self._marked = chosen, marked
        if chosen != before and chosen is not None:
            self._bring_into_sight(chosen)
        self._refresh_changed(marks | ({before, chosen} if chosen != before else set()))

    def _refresh_changed(self, touched: AbstractSet[str | None]) -> None:
        """Draw those in sight again whose lines are others now, or that were touched otherwise."""
        first = self.scroll_offset.y // self._density
        end = (self.scroll_offset.y + self.size.height) // self._density + 1
        self._width = self._text_width
        old, self._lines = self._lines, {run: self._lines_of(run) for run in self._runs[first:end]}
        for place, (run, lines) in enumerate(self._lines.items(), first):
            top, before = place * self._density, old.get(run)
            if run in touched or before is None or len(before) != len(lines):
                self.refresh_lines(top, self._density)
                continue
            for part in range(min(len(lines), self._density)):
                if lines[part] != before[part]:
                    self.refresh_lines(top + part, 1)

    def _lines_of(self, run: str) -> list[list[Piece]]:
        return run_lines(self._views[run], self._text_width, self._now)

    def on_resize(self) -> None:
        """Write for the new width: it comes into sight after it was told what to show."""
        self.show(tuple(self._views.values()), self._chosen, self._now, self._marked)

    @property
    def _text_width(self) -> int:
        return max(8, self.size.width - _EDGE - 1)

    def _density_for(self, num_runs: int) -> int:
        """Lines a run: four with air between them, down to two."""
        height = self.size.height
        return next((lines for lines in (4, 3) if num_runs * lines <= height), 2)

    def _bring_into_sight(self, run: str) -> None:
        top = self._runs.index(run) * self._density if run in self._runs else 0
        self.scroll_to_region(Region(0, top, 1, self._density), animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        """One line of the list."""
        width = self.size.width
        index, part = divmod(y + self.scroll_offset.y, self._density or 1)
        if index >= len(self._runs):
            return Strip.blank(width, self.rich_style)
        run = self._runs[index]
        is_chosen = run == self._chosen
        # What comes into sight is drawn once before it is told its new size.
        lines = (self._lines.get(run) if self._width == self._text_width else None) or self._lines_of(run)
        pieces = lines[part] if part < len(lines) else []
        is_gap = part == 3
        edge = "▌" if is_chosen and not is_gap else " "
        edge += "•" if run in self._marked and part == 0 else " "
        background = "raised" if is_chosen and not is_gap else ""
        return inked_strip(self, [(edge, "accent!"), *pieces], width, background)

    def on_click(self, event: events.Click) -> None:
        """Choose the run under the pointer."""
        index = (event.y + self.scroll_offset.y) // (self._density or 1)
        if index < len(self._runs):
            self.post_message(self.Chosen(self._runs[index]))

    def notify_style_update(self) -> None:
        """Take the new theme's inks."""
        super().notify_style_update()
        self.refresh()


def run_lines(view: RunView, width: int, now: float) -> list[list[Piece]]:
    """A run in three lines of at most that width."""
    state = view.state
    word = "no worker" if view.is_orphaned else ("starting" if view.is_starting else state)
    ink = "warning" if view.is_orphaned else (state if state != "stopping" else "stopping")
    left: list[Piece] = [(f"{sign(state)} ", f"{ink}!"), (f"{view.number} ", "muted")]
    room = width - width_of(left)
    name = printable(view.name)
    least = _LEAST_NAME_ORPHANED if view.is_orphaned else cell_len(name)
    if room - len(word) - 1 < least:
        word = ""  # the sign and its colour say the same; a name that is cut off may be another run's as well
    name = fit(name, room - len(word) - 1 if word else room)
    head = spread([*left, (name, "strong")], [(word, ink)] if word else [], width)
    return [head, *_body(view, width, now)]


def _body(view: RunView, width: int, now: float) -> list[list[Piece]]:
    if view.trouble and view.row is None:
        return [[(f"  {fit(printable(view.trouble), width - 2)}", "warning")], []]
    if view.state == "failed":
        where = _epoch_words(view)
        cause = printable(view.cause or "failed")
        told = joined([cause, where])
        return [
            [(f"  {fit(told, width - 2)}", "failed")],
            [(f"  {fit(printable(view.reason), width - 2)}", "muted")],
        ]
    if view.started is None:
        waits = {"queued": "waits for its turn", "held": "held back", "cancelled": "never begun"}.get(view.state, "")
        return [[(f"  {fit(printable(view.reason) or waits, width - 2)}", "muted")], []]
    return [_progress_line(view, width, now), _figures_line(view, width)]


def _epoch_words(view: RunView) -> str:
    progress = view.progress
    return f"epoch {progress.epoch}/{progress.num_epochs}" if progress.num_epochs else ""


def _progress_line(view: RunView, width: int, now: float) -> list[Piece]:
    progress = view.progress
    epochs = f" {progress.epoch}/{progress.num_epochs}"
    rest = view.eta_s(now)
    time_word = f"{duration(rest)} left" if rest is not None else duration(view.elapsed_s(now))
    tail = f"{epochs} · {time_word}"
    if width - 2 - len(tail) < 6:
        tail = epochs
    fraction = 1.0 if view.state == "finished" and progress.num_steps is None else progress.fraction
    done, rest_of_bar = bar(fraction, max(4, width - 2 - len(tail)))
    ink = view.state if view.state in {"finished", "cancelled"} else "done"
    return [("  ", ""), (done, ink), (rest_of_bar, "open"), (tail, "muted")]


def _figures_line(view: RunView, width: int) -> list[Piece]:
    best = view.progress.best_ap50
    right: list[Piece] = [("best AP50 ", "muted"), (precision(best), "strong")] if best is not None else []
    loss = figure(view.progress.loss)
    free = width - 2 - width_of(right) - len(loss) - 2
    if free < 0:
        return [("  " if width_of(right) + 2 <= width else " ", ""), *right]
    # Of its latest step alone; curves are smoothed.
    name = next((name for name in ("last loss ", "loss ", "") if len(name) + _LEAST_SPARK <= free), "")
    room = free - len(name)
    spark = sparkline(view.steps.column("loss"), min(_SPARK_WIDTH, room)) if room >= _LEAST_SPARK else ""
    left: list[Piece] = [("  ", ""), (f"{spark} ", "total")] if spark else [("  ", "")]
    return spread([*left, (name, "muted"), (loss, "text")], right, width)

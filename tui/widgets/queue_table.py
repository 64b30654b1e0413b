"""The queue as a table: one line a run, over the whole width; clicked, wheeled, sorted by its headings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from engine.errors import printable
from engine.standing import Standing
from tui.arranging import SORT_KEYS, Arrangement
from tui.columns import Column, columns_for, heading, row_pieces, sign_piece
from tui.scene import Scene
from tui.view import RunView
from tui.widgets.inked import Piece, ink_style, inked_strip
from tui.widgets.queue import QueueList

# The chosen run's edge, the mark, the sign and a space.
_EDGE = 4
_SCROLLBAR = 1


class TableHead(Widget):
    """The headings; a click on one sorts by it."""

    DEFAULT_CSS = "TableHead { height: 1; }"

    @dataclass
    class Clicked(Message):
        """A heading was clicked."""

        key: str

    def __init__(self) -> None:
        super().__init__()
        self._heads: list[tuple[str, str, int]] = []
        self._sorted_by = ""

    def show(self, columns: Sequence[Column], arrangement: Arrangement) -> None:
        """Show these columns' headings."""
        heads = heading(columns, arrangement.key, is_reversed=arrangement.is_reversed)
        if (heads, arrangement.key) != (self._heads, self._sorted_by):
            self._heads, self._sorted_by = heads, arrangement.key
            self.refresh()

    def render(self) -> Text:
        """The line."""
        text = Text(" " * _EDGE, no_wrap=True)
        for key, head, width in self._heads:
            ink = "strong" if key == self._sorted_by else "muted"
            text.append(head + " " * (width - cell_len(head)), ink_style(self, ink))
        return text

    def on_click(self, event: events.Click) -> None:
        """Sort by the heading under the pointer."""
        edge = _EDGE
        for key, _, width in self._heads:
            edge += width
            if event.x < edge:
                if key in SORT_KEYS:
                    self.post_message(self.Clicked(key))
                return


class QueueTable(ScrollView, can_focus=False):
    """The runs, in the order of an arrangement."""

    DEFAULT_CSS = "QueueTable { overflow-x: hidden; scrollbar-gutter: stable; }"

    @dataclass
    class Opened(Message):
        """A run was double-clicked."""

        run_id: str

    def __init__(self) -> None:
        super().__init__()
        self.runs: tuple[str, ...] = ()
        """The ids of the runs that are shown, in order."""
        self.columns: list[Column] = []
        self._views: dict[str, RunView] = {}
        self._standings: dict[str, Standing] = {}
        self._now = 0.0
        self._lines: dict[str, list[Piece]] = {}
        self._made: dict[str, tuple[RunView, Standing | None, list[Column], list[Piece]]] = {}
        self._chosen: str | None = None
        self._marked: frozenset[str] = frozenset()

    def show(self, views: Sequence[RunView], scene: Scene) -> None:
        """Show these runs; lines are made of those in sight only, and drawn again where they changed."""
        width = self.size.width - _SCROLLBAR - _EDGE
        longest = max((cell_len(printable(view.name)) for view in views), default=0)
        if width > 0:  # out of sight it has none, and is drawn once before it is told its new one
            self.columns = columns_for(width, longest)
        self._views = {view.run_id: view for view in views}
        self._standings = {standing.row.run: standing for standing in scene.board.standings}
        self._now = scene.now
        chosen = scene.chosen.run_id if scene.chosen is not None else None
        runs, before, marks = tuple(self._views), self._chosen, scene.marked ^ self._marked
        self._chosen, self._marked = chosen, scene.marked
        if runs != self.runs:
            self.runs = runs
            self._made = {run: made for run, made in self._made.items() if run in self._views}
            self.virtual_size = Size(self.content_size.width, len(runs))
            self.refresh()
            self.bring_into_sight()
        elif chosen != before:
            self.bring_into_sight()
        first, old = self.scroll_offset.y, self._lines
        seen = runs[first : first + self.size.height]
        self._lines = {run: self._line(run) for run in seen}
        touched = marks | ({before, chosen} if chosen != before else set())
        for place, run in enumerate(seen, first):
            if run in touched or self._lines[run] != old.get(run):
                self.refresh_lines(place, 1)

    def _line(self, run: str) -> list[Piece]:
        """A run's line; that of one nobody works on is made once."""
        view, standing = self._views[run], self._standings.get(run)
        made = self._made.get(run)
        if made is not None and made[0] is view and made[1:3] == (standing, self.columns) and not view.is_active:
            return made[3]
        line = [sign_piece(view), (" ", ""), *row_pieces(view, standing, self.columns, self._now)]
        self._made[run] = (view, standing, self.columns, line)
        return line

    def bring_into_sight(self) -> None:
        """Scroll to the chosen run."""
        if self._chosen in self.runs:
            at = self.runs.index(self._chosen)
            self.scroll_to_region(Region(0, at, 1, 1), animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        """One run."""
        width = self.size.width
        index = y + self.scroll_offset.y
        if index >= len(self.runs):
            return Strip.blank(width, self.rich_style)
        run = self.runs[index]
        is_chosen = run == self._chosen
        edge = [("▌" if is_chosen else " ", "accent!"), ("•" if run in self._marked else " ", "accent!")]
        return inked_strip(self, [*edge, *self._line(run)], width, "raised" if is_chosen else "")

    def on_click(self, event: events.Click) -> None:
        """Choose the run under the pointer; its edge marks it, a second click opens it."""
        index = event.y + self.scroll_offset.y
        if index >= len(self.runs):
            return
        run = self.runs[index]
        if event.x < 2:
            self.post_message(QueueList.Marked(self._marked ^ {run}))
        elif event.chain > 1:
            self.post_message(self.Opened(run))
        else:
            self.post_message(QueueList.Chosen(run))

    def notify_style_update(self) -> None:
        """Take the new theme's inks."""
        super().notify_style_update()
        self.refresh()

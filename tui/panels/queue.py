"""The queue panel: every run in a table over the whole width, how the machine does, and why a run is as it is.

What is asked of runs goes to the screen (`screen.ask`), which asks back where it must and has the app
carry it out. Filter, order and the pane are this panel's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from tui.arranging import SORT_KEYS, Arrangement
from tui.asking import Verb
from tui.columns import state_word
from tui.offering import can_control, can_pause, is_held_up, targets, those_that_can
from tui.panels.panel import Panel
from tui.questions import why_lines
from tui.scene import Scene
from tui.view import RunView
from tui.widgets.field import Field
from tui.widgets.gauge_line import GaugeLine
from tui.widgets.inked import Piece
from tui.widgets.inked_lines import InkedLines
from tui.widgets.key_line import Hint
from tui.widgets.queue import QueueList
from tui.widgets.queue_table import QueueTable, TableHead
from tui.words import joined

CONTROL_KEYS: list[BindingType] = [
    Binding("r", "screen.ask('go on')", "Release, or retry", show=False),
    Binding("h", "screen.ask('hold')", "Hold", show=False),
    Binding("x", "screen.ask('stop')", "Stop a run at work (asks)", show=False),
    Binding("c", "screen.ask('cancel')", "Cancel (asks)", show=False),
    Binding("d,delete", "screen.ask('remove')", "Remove (asks)", show=False),
    Binding("K,shift+up", "screen.ask('up')", "Earlier in the queue", show=False),
    Binding("J,shift+down", "screen.ask('down')", "Later in the queue", show=False),
    Binding("F", "screen.ask('first')", "First in the queue", show=False),
    Binding("plus", "screen.ask('raise')", "Higher priority", show=False),
    Binding("minus", "screen.ask('lower')", "Lower priority", show=False),
    Binding("p", "screen.pause_or_go_on", "Pause the queue, or go on", show=False),
]


def _hints_for(views: Sequence[RunView]) -> list[tuple[Hint, Verb]]:
    go_on = "release" if any(is_held_up(view) for view in views) else "retry"
    return [
        (("r", go_on, "screen.ask('go on')"), "go on"), (("h", "hold", "screen.ask('hold')"), "hold"),
        (("x", "stop", "screen.ask('stop')"), "stop"),
    ]  # fmt: skip


class QueuePanel(Panel):
    """The night at one glance, and its control."""

    PANEL = "queue-panel"
    TITLE = "Queue"
    IS_WHOLE = True
    WATCHES_MACHINE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open the run", show=False),
        *CONTROL_KEYS,
        Binding("space", "mark", "Mark, and go down", show=False),
        Binding("m", "mark_shown", "Mark all that are shown", show=False),
        Binding("u", "unmark", "Unmark all", show=False),
        Binding("slash", "filter", "Filter by a pattern", show=False),
        Binding("escape", "reset", "End filter, marks, order", show=False),
        Binding("o", "sort(1)", "Sort by the next column", show=False),
        Binding("O", "reverse", "Sort the other way round", show=False),
        Binding("j,down", "go(1)", "Next run", show=False),
        Binding("k,up", "go(-1)", "Run before", show=False),
        Binding("g,home", "go(-100000)", "First run", show=False),
        Binding("G,end", "go(100000)", "Last run", show=False),
    ]
    HINTS = (
        ("Enter", "open", "screen.on_panel('open')"), ("e", "why", "screen.explain"),
        ("Space", "mark", "screen.on_panel('mark')"), ("/", "filter", "screen.on_panel('filter')"),
        ("o", "sort", "screen.on_panel('sort(1)')"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.arrangement = Arrangement()
        self._gauges = GaugeLine()
        self._head = TableHead()
        self._table = QueueTable()
        self._caption = InkedLines(id="queue-caption")
        self._filter = Field("a regular expression: r50|failed", id="queue-filter")
        self._why = InkedLines(id="queue-why")

    def compose(self) -> ComposeResult:
        """Gauges, filter and caption, table, pane."""
        yield self._gauges
        yield self._filter
        yield self._caption
        yield self._head
        yield self._table
        yield self._why

    def on_mount(self) -> None:
        """No caption until there is something to say."""
        self._caption.display = False

    def show(self, scene: Scene) -> None:
        """Show the runs."""
        views = self.arrangement.apply(scene.views, scene.board)
        self._gauges.show(scene)
        self._table.show(views, scene)
        self._head.show(self._table.columns, self.arrangement)
        self._show_caption(scene, len(views))
        self._show_why(scene)

    def on_resize(self) -> None:
        """Lay the columns out anew, once the table knows its width."""
        self.call_after_refresh(self.show_again)

    def hints(self, scene: Scene | None) -> Sequence[Hint]:
        """What can be done to the runs that keys act on, between what can always be done."""
        if scene is None or not can_control(scene):
            return self.HINTS
        views = targets(scene)
        able = [hint for hint, verb in _hints_for(views) if those_that_can(verb, views)]
        pause = [("p", "go on" if scene.fleet.is_paused else "pause", "screen.pause_or_go_on")]
        return (*self.HINTS[:2], *able, *self.HINTS[2:], *(pause if can_pause(scene) else []))

    # --- the lines around the table ---

    def _show_caption(self, scene: Scene, num_shown: int) -> None:
        arrangement = self.arrangement
        hidden = len(scene.marked - set(self._table.runs))
        words = joined(
            [
                f"/{arrangement.pattern}/ {num_shown} of {len(scene.views)} runs" if arrangement.pattern else "",
                f"{len(scene.marked)} marked" + (f", {hidden} of them not shown" if hidden else "")
                if scene.marked
                else "",
                "" if arrangement == Arrangement(pattern=arrangement.pattern) else f"by {arrangement.key}"
                + (", the other way round" if arrangement.is_reversed else ""),
            ]
        )
        pieces: list[Piece] = [(words, "accent"), ("   Esc clears" if words else "", "muted")]
        if arrangement.trouble:
            pieces = [(arrangement.trouble, "warning")]
        self._caption.display = bool(words or arrangement.trouble)
        self._caption.show([pieces])

    def _show_why(self, scene: Scene) -> None:
        chosen = scene.chosen
        if chosen is None:
            return
        title = joined([chosen.run_id, state_word(chosen)[0], "e tells all"])
        if chosen.run_id in self._table.runs:
            self._why.show(why_lines(chosen, scene), title)
            return
        goes_on = "Enter chooses the first one shown" if self._table.runs else "Esc shows all"
        if not self._filter.display:
            goes_on = "an arrow chooses one of those shown" if self._table.runs else "Esc shows all"
        self._why.show([[("! ", "warning!"), (f"chosen, but left out by the filter; {goes_on}", "text")]], title)

    # --- moving and marking ---

    def _chosen(self) -> RunView | None:
        return self.scene.chosen if self.scene is not None else None

    def action_go(self, places: int) -> None:
        """Choose another run of those that are shown."""
        runs, chosen = self._table.runs, self._chosen()
        if not runs:
            return
        if chosen is None or chosen.run_id not in runs:
            target = runs[0]
        else:
            target = runs[max(0, min(len(runs) - 1, runs.index(chosen.run_id) + places))]
        self.post_message(QueueList.Chosen(target))

    def scroll_pages(self, pages: int) -> None:
        """Go a page of runs up or down."""
        self.action_go(pages * max(1, self._table.size.height - 1))

    def action_mark(self) -> None:
        """Mark the chosen run or take its mark away, and go to the next."""
        chosen = self._chosen()
        if self.scene is not None and chosen is not None:
            self.post_message(QueueList.Marked(self.scene.marked ^ {chosen.run_id}))
            self.action_go(1)

    def action_mark_shown(self) -> None:
        """Mark all runs that are shown."""
        if self.scene is not None:
            self.post_message(QueueList.Marked(self.scene.marked | set(self._table.runs)))

    def action_unmark(self) -> None:
        """Take all marks away."""
        self.post_message(QueueList.Marked(frozenset()))

    def action_open(self) -> None:
        """Open the chosen run."""
        chosen = self._chosen()
        if chosen is not None:
            self.post_message(QueueTable.Opened(chosen.run_id))

    # --- order and filter ---

    def rearrange(self, arrangement: Arrangement) -> None:
        """Show the runs so from now on."""
        self.arrangement = arrangement
        self.show_again()
        self._table.bring_into_sight()

    def action_sort(self, places: int = 1) -> None:
        """Sort by the next thing to sort by."""
        at = SORT_KEYS.index(self.arrangement.key)
        self.rearrange(replace(self.arrangement, key=SORT_KEYS[(at + places) % len(SORT_KEYS)], is_reversed=False))

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self.rearrange(replace(self.arrangement, is_reversed=not self.arrangement.is_reversed))

    @on(TableHead.Clicked)
    def _sort_by(self, message: TableHead.Clicked) -> None:
        again = message.key == self.arrangement.key
        reverse = again and not self.arrangement.is_reversed
        self.rearrange(replace(self.arrangement, key=message.key, is_reversed=reverse))

    def action_filter(self) -> None:
        """Type a pattern."""
        self._filter.open()

    def action_reset(self) -> None:
        """Back to all runs in the order of their turns, none marked."""
        self._filter.value = ""
        self._end_filter()
        self.action_unmark()
        self.rearrange(Arrangement())

    @on(Input.Changed, "#queue-filter")
    def _filter_as_typed(self, message: Input.Changed) -> None:
        self.rearrange(replace(self.arrangement, pattern=message.value))

    @on(Input.Submitted, "#queue-filter")
    def _end_filter(self) -> None:
        self._filter.display = False
        self.focus()
        chosen = self._chosen()
        if self._table.runs and (chosen is None or chosen.run_id not in self._table.runs):
            self.action_go(0)  # keys act on the chosen run, which must be in sight

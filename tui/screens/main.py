"""The dashboard's main screen: the queue on the left, the chosen run on the right, one panel open.

It lays out, and hands the scene to the parts that are in sight. What a panel shows and which keys it
has is the panel's own (`tui/panels`); a new panel is a file there and a line in `_make_panels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import ContentSwitcher

from tui.gallery import Gallery
from tui.graphics import Graphic
from tui.logcounting import LogCount
from tui.logreader import LogPage
from tui.offering import can_start
from tui.panels.compare import ComparePanel
from tui.panels.curve_panel import CurveStyle
from tui.panels.curves import CurvesPanel
from tui.panels.facts import FactsPanel
from tui.panels.log import LogPanel
from tui.panels.overview import OverviewPanel
from tui.panels.panel import Panel
from tui.panels.previews import PreviewKeys, PreviewsPanel
from tui.panels.queue import QueuePanel
from tui.previewing import Previewing
from tui.scene import Scene
from tui.screens.control import ControlScreen
from tui.screens.help import HelpScreen
from tui.view import RunView
from tui.widgets.key_line import KeyLine
from tui.widgets.queue import QueueList
from tui.widgets.queue_table import QueueTable
from tui.widgets.run_header import RunHeader
from tui.widgets.tabs import PanelTabs, Tab
from tui.widgets.top_bar import TopBar
from tui.widgets.welcome import Welcome

# Named on every panel while runs wait for somebody to start.
_START = ("S", "start", "screen.start")


class MainScreen(ControlScreen):
    """Queue, run header and panels.

    Args:
        runs_dir: The runs folder as the person named it.
        gallery: Who draws pictures.
        graphic: How pictures are drawn in this terminal.
    """

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (150, "-vast")]  # noqa: RUF012 - Textual's own form
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall"), (50, "-lofty")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.leave", "Leave; training goes on", show=False),
        Binding("j,down", "move(1)", "Next run", show=False),
        Binding("k,up", "move(-1)", "Previous run", show=False),
        Binding("g,home", "move(-100000)", "First run", show=False),
        Binding("G,end", "move(100000)", "Last run", show=False),
        Binding("space", "mark", "Mark the run, or unmark it", show=False),
        Binding("a", "app.follow", "Follow the running run", show=False),
        Binding("e", "explain", "Explain the run", show=False),
        Binding("S", "start", "Work on the queue (asks)", show=False),
        *(Binding(str(digit), f"digit({digit})", f"Panel {digit}", show=False) for digit in range(1, 10)),
        Binding("tab", "next_panel(1)", "Next panel", show=False),
        Binding("shift+tab", "next_panel(-1)", "Panel before", show=False),
        Binding("pageup", "page(-1)", "Scroll the panel up", show=False),
        Binding("pagedown", "page(1)", "Scroll the panel down", show=False),
        Binding("f", "full_width", "Hide or show the queue", show=False),
        Binding("t", "app.switch_theme", "Dark or light", show=False),
        Binding("ctrl+p", "app.command_palette", "Command palette", show=False),
        Binding("question_mark", "help", "Every key", show=False),
    ]

    class Ready(Message):
        """Every part is there; something may be shown."""

    def __init__(self, runs_dir: str, gallery: Gallery, graphic: Graphic) -> None:
        super().__init__(runs_dir)
        self._log = LogPanel()
        self.panels: tuple[Panel, ...] = self._make_panels(gallery, graphic)
        self._open: Panel = self.panels[0]
        self._has_opened = False
        self._is_begun = False

    def _make_panels(self, gallery: Gallery, graphic: Graphic) -> tuple[Panel, ...]:
        style, previewing = CurveStyle(), Previewing()
        return (
            QueuePanel(),
            OverviewPanel(style, gallery, previewing, graphic),
            CurvesPanel(style),
            PreviewsPanel(gallery, previewing, graphic),
            ComparePanel(),
            self._log,
            FactsPanel(),
        )

    def compose(self) -> ComposeResult:
        """Lay the parts out."""
        yield TopBar(self.runs_dir)
        with Horizontal(id="body"):
            yield QueueList(id="queue")
            with Vertical(id="run"):
                yield RunHeader()
                yield PanelTabs([Tab(panel.PANEL, panel.TITLE) for panel in self.panels])
                with ContentSwitcher(initial=self._open.PANEL, id="panels"):
                    yield from self.panels
            yield Welcome(self.runs_dir)
        yield KeyLine(self._open.hints(None))

    def on_mount(self) -> None:
        """The keys begin at the panel that is open."""
        self._is_begun = True
        self.query_one("#panels", ContentSwitcher).current = self._open.PANEL  # a key may have come by now
        self.query_one(PanelTabs).show(self._open.PANEL)
        self.set_class(self._open.IS_WHOLE, "-whole")
        self._open.focus()
        self.post_message(self.Ready())

    # --- what the app hands over ---

    @property
    def is_standing(self) -> bool:
        """Whether the first and the last part are there, and all between them."""
        return self._is_begun and bool(self.query(TopBar)) and bool(self.query(KeyLine))

    @property
    def is_waiting(self) -> bool:
        """Whether a picture or a page of the log was asked for and hasn't come."""
        is_drawing = isinstance(self._open, PreviewKeys) and self._open.is_loading
        return is_drawing or self._log.is_waiting

    def show(self, scene: Scene) -> None:
        """Show the state of things."""
        self.scene = scene
        self._open_first(scene)
        self.query_one(TopBar).show(scene)
        if self.has_class("-empty") != (not scene.views):
            self.set_class(not scene.views, "-empty")
            # Some terminals kept what was there (pictures in pixels most of all) until the next resize.
            self.call_after_refresh(self.refresh, layout=True)
        if not scene.views:
            self.query_one(Welcome).show(scene)
        if not self._open.IS_WHOLE:  # else neither is in sight
            self.query_one(QueueList).show(scene.views, _run_id(scene.chosen), scene.now, scene.marked)
            if scene.chosen is not None:
                self.query_one(RunHeader).show(scene.chosen, scene.now)
        self._open.take(scene)
        self._name_keys()

    def _open_first(self, scene: Scene) -> None:
        """Begin with the run at work where there is one, else with the queue."""
        if self._has_opened or not scene.views:
            return
        is_busy = any(view.is_active for view in scene.views)
        if is_busy and self._open.IS_WHOLE:
            self.action_panel("overview")
        self._has_opened = is_busy or scene.fleet.is_read

    @property
    def watches_machine(self) -> bool:
        """Whether how the machine does is in sight."""
        return self._open.WATCHES_MACHINE

    def show_log(self, page: LogPage) -> None:
        """A page of the log that was asked for has come."""
        self._log.take_page(page)

    def show_count(self, count: LogCount) -> None:
        """Matches in the log were counted."""
        self._log.take_count(count)

    # --- keys ---

    def action_move(self, places: int) -> None:
        """Choose another run."""
        scene = self.scene
        if scene is None or not scene.views:
            return
        runs = [view.run_id for view in scene.views]
        chosen = _run_id(scene.chosen)
        at = runs.index(chosen) if chosen in runs else 0
        target = runs[max(0, min(len(runs) - 1, at + places))]
        self.post_message(QueueList.Chosen(target))

    def action_mark(self) -> None:
        """Mark the chosen run, or take its mark away."""
        scene = self.scene
        if scene is not None and scene.chosen is not None:
            self.post_message(QueueList.Marked(scene.marked ^ {scene.chosen.run_id}))

    def action_digit(self, digit: int) -> None:
        """Open the panel of a digit."""
        if digit <= len(self.panels):
            self.action_panel(self.panels[digit - 1].PANEL)

    def action_panel(self, panel: str) -> None:
        """Open a panel."""
        self._has_opened = True
        self._open = next(one for one in self.panels if panel == one.PANEL)
        if not self._is_begun:
            return  # typed before the first screen, which begins with it
        self.query_one("#panels", ContentSwitcher).current = panel
        self.query_one(PanelTabs).show(panel)
        self.set_class(self._open.IS_WHOLE, "-whole")
        self.set_focus(self._open)  # at once: the next key may be there already
        if self.scene is not None:
            self.show(self.scene)
        else:
            self._name_keys()

    def _name_keys(self) -> None:
        scene = self.scene
        start = (_START,) if scene is not None and can_start(scene) else ()
        hints = self._open.hints(scene) if scene is None or scene.views else ()  # nothing can be done to no runs
        self.query_one(KeyLine).show((*start, *hints))

    def action_next_panel(self, places: int = 1) -> None:
        """Open the panel after this one, or before."""
        at = self.panels.index(self._open)
        self.action_panel(self.panels[(at + places) % len(self.panels)].PANEL)

    @on(QueueTable.Opened)
    def _open_run(self, message: QueueTable.Opened) -> None:
        self.post_message(QueueList.Chosen(message.run_id))
        self.action_panel("overview")

    async def action_on_panel(self, action: str) -> None:
        """Run an action of the open panel; for what is clicked."""
        await self.app.run_action(action, default_namespace=self._open)

    def action_full_width(self) -> None:
        """Hide or show the queue."""
        self.toggle_class("-full")

    def action_page(self, pages: int) -> None:
        """Scroll what the open panel shows."""
        if self._is_begun:
            self._open.scroll_pages(pages)

    def action_help(self) -> None:
        """Every key; those of the open panel first."""
        panels = sorted(self.panels, key=lambda panel: panel is not self._open)
        groups = [(f"{panel.TITLE} panel", _bindings(panel.BINDINGS)) for panel in panels]
        everywhere = [binding for binding in _bindings(self.BINDINGS) if not binding.action.startswith("digit(")]
        digits = Binding(f"1-{len(self.panels)}", "", "Open a panel")
        self.app.push_screen(HelpScreen([groups[0], ("Everywhere", [digits, *everywhere]), *groups[1:]]))


def _bindings(bindings: Sequence[BindingType]) -> list[Binding]:
    return [binding for binding in bindings if isinstance(binding, Binding)]


def _run_id(view: RunView | None) -> str | None:
    return view.run_id if view is not None else None

"""The dashboard's main screen: the queue on the left, the chosen run on the right, one panel open.

It lays out, and hands the scene to the parts that are in sight. What a panel shows and which keys it
has is the panel's own (`tui/panels`); a new panel is a file there and a line in `_make_panels`.
"""

from __future__ import annotations

from typing import ClassVar

from PIL.Image import Image
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import ContentSwitcher

from tui.feed import PictureKey
from tui.graphics import Graphics
from tui.panels.compare import ComparePanel
from tui.panels.curve_panel import CurveStyle
from tui.panels.curves import CurvesPanel
from tui.panels.facts import FactsPanel
from tui.panels.log import LogPanel
from tui.panels.overview import OverviewPanel
from tui.panels.panel import Panel
from tui.panels.previews import PreviewKeys, PreviewsPanel
from tui.previewing import Previewing
from tui.scene import Scene
from tui.screens.help import HelpScreen
from tui.view import RunView
from tui.widgets.key_line import KeyLine
from tui.widgets.queue import QueueList
from tui.widgets.run_header import RunHeader
from tui.widgets.tabs import PanelTabs, Tab
from tui.widgets.top_bar import TopBar
from tui.widgets.welcome import Welcome


class MainScreen(Screen[None]):
    """Queue, run header and panels.

    Args:
        runs_dir: The runs folder as the person named it.
        graphics: How pictures are drawn in this terminal.
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

    def __init__(self, runs_dir: str, graphics: Graphics) -> None:
        super().__init__()
        self._scene: Scene | None = None
        self._runs_dir = runs_dir
        self._previewing = Previewing()
        self.panels: tuple[Panel, ...] = self._make_panels(graphics)
        self._open: Panel = self.panels[0]

    def _make_panels(self, graphics: Graphics) -> tuple[Panel, ...]:
        style = CurveStyle()
        return (
            OverviewPanel(style, graphics, self._previewing),
            CurvesPanel(style),
            PreviewsPanel(graphics, self._previewing),
            ComparePanel(),
            LogPanel(),
            FactsPanel(),
        )

    def compose(self) -> ComposeResult:
        """Lay the parts out."""
        yield TopBar(self._runs_dir)
        with Horizontal(id="body"):
            yield QueueList(id="queue")
            with Vertical(id="run"):
                yield RunHeader()
                yield PanelTabs([Tab(panel.PANEL, panel.TITLE) for panel in self.panels])
                with ContentSwitcher(initial=self._open.PANEL, id="panels"):
                    yield from self.panels
            yield Welcome(self._runs_dir)
        yield KeyLine(self._open.HINTS)

    def on_mount(self) -> None:
        """The keys begin at the panel that is open."""
        self._open.focus()
        self.post_message(self.Ready())

    # --- what the app hands over ---

    @property
    def is_standing(self) -> bool:
        """Whether the first and the last part are there."""
        return bool(self.query(TopBar)) and bool(self.query(KeyLine))

    @property
    def is_loading_picture(self) -> bool:
        """Whether a picture was asked for and hasn't come."""
        return self._previewing.is_loading

    def show(self, scene: Scene) -> None:
        """Show the state of things."""
        self._scene = scene
        self.query_one(TopBar).show(scene.fleet, scene.views, scene.now)
        if self.has_class("-empty") != (not scene.views):
            self.set_class(not scene.views, "-empty")
            # Some terminals kept what was there (pictures in pixels most of all) until the next resize.
            self.call_after_refresh(self.refresh, layout=True)
        self.query_one(QueueList).show(scene.views, _run_id(scene.chosen), scene.now, scene.marked)
        if scene.chosen is not None:
            self.query_one(RunHeader).show(scene.chosen, scene.now)
        self._open.take(scene)

    def show_picture(self, key: PictureKey, image: Image | None, trouble: str) -> None:
        """A picture that was asked for has come, unless another one was asked for since."""
        if self._previewing.take(key, image, trouble) and isinstance(self._open, PreviewKeys):
            self._open.draw_picture()

    # --- keys ---

    def action_move(self, places: int) -> None:
        """Choose another run."""
        scene = self._scene
        if scene is None or not scene.views:
            return
        runs = [view.run_id for view in scene.views]
        chosen = _run_id(scene.chosen)
        at = runs.index(chosen) if chosen in runs else 0
        target = runs[max(0, min(len(runs) - 1, at + places))]
        self.post_message(QueueList.Chosen(target))

    def action_mark(self) -> None:
        """Mark the chosen run, or take its mark away."""
        scene = self._scene
        if scene is not None and scene.chosen is not None:
            self.post_message(QueueList.Marked(scene.marked ^ {scene.chosen.run_id}))

    def action_digit(self, digit: int) -> None:
        """Open the panel of a digit."""
        if digit <= len(self.panels):
            self.action_panel(self.panels[digit - 1].PANEL)

    def action_panel(self, panel: str) -> None:
        """Open a panel."""
        self._open = next(one for one in self.panels if panel == one.PANEL)
        self.query_one("#panels", ContentSwitcher).current = panel
        self.query_one(PanelTabs).show(panel)
        self.query_one(KeyLine).show(self._open.HINTS)
        self.set_class(self._open.IS_WHOLE, "-whole")
        self._open.focus()
        if self._scene is not None:
            self._open.take(self._scene)

    def action_next_panel(self, places: int = 1) -> None:
        """Open the panel after this one, or before."""
        at = self.panels.index(self._open)
        self.action_panel(self.panels[(at + places) % len(self.panels)].PANEL)

    async def action_on_panel(self, action: str) -> None:
        """Run an action of the open panel; for what is clicked."""
        await self.app.run_action(action, default_namespace=self._open)

    def action_full_width(self) -> None:
        """Hide or show the queue."""
        self.toggle_class("-full")

    def action_page(self, pages: int) -> None:
        """Scroll what the open panel shows."""
        self._open.scroll_pages(pages)

    def action_help(self) -> None:
        """Every key."""
        bindings = [*self.BINDINGS]
        for panel in self.panels:
            bindings += [binding for binding in panel.BINDINGS if binding not in bindings]
        self.app.push_screen(HelpScreen([binding for binding in bindings if isinstance(binding, Binding)]))


def _run_id(view: RunView | None) -> str | None:
    return view.run_id if view is not None else None

"""The facts panel: figures, classes, journal and recipe of the chosen run."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from tui.panels.panel import Panel
from tui.scene import Scene
from tui.widgets.facts import Facts


class FactsPanel(Panel):
    """What is known of the chosen run."""

    PANEL = "facts"
    TITLE = "Facts"

    def compose(self) -> ComposeResult:
        """The text."""
        with VerticalScroll(id="facts-scroll", can_focus=False):
            yield Facts()

    def show(self, scene: Scene) -> None:
        """Tell the chosen run's facts."""
        if scene.chosen is not None:
            self.query_one(Facts).show(scene.chosen)

    def scroll_pages(self, pages: int) -> None:
        """Scroll the text."""
        self.scroll_widget("#facts-scroll", pages)

"""The log panel: what the chosen run's worker wrote."""

from __future__ import annotations

from textual.app import ComposeResult

from tui.panels.panel import Panel
from tui.scene import Scene
from tui.widgets.log import LogView


class LogPanel(Panel):
    """The chosen run's log."""

    PANEL = "log"
    TITLE = "Log"

    def compose(self) -> ComposeResult:
        """The lines."""
        yield LogView(id="log-lines")

    def show(self, scene: Scene) -> None:
        """Show the lines."""
        self.query_one("#log-lines", LogView).show(scene.log)

    def scroll_pages(self, pages: int) -> None:
        """Scroll the lines."""
        self.scroll_widget("#log-lines", pages)

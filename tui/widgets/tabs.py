"""One line that names the panels, the digit that opens each, and which one is open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from tui.widgets.inked import ink_style


@dataclass(frozen=True, slots=True)
class Tab:
    """A panel's id and title."""

    panel: str
    title: str


class PanelTabs(Widget):
    """The panels' names; clicking one opens it."""

    DEFAULT_CSS = "PanelTabs { height: 1; }"

    def __init__(self, tabs: Sequence[Tab]) -> None:
        super().__init__()
        self.auto_links = False
        self._tabs = tabs
        self._open = tabs[0].panel

    def show(self, panel: str) -> None:
        """Mark the open panel."""
        self._open = panel
        self.refresh()

    def render(self) -> Text:
        """The line; on a narrow screen the closed panels are digits only."""
        text = Text(no_wrap=True)
        names = sum(len(tab.title) + 2 for tab in self._tabs)
        gap = next((gap for gap in (4, 3, 2, 1) if names + gap * (len(self._tabs) - 1) <= self.size.width), 0)
        for digit, tab in enumerate(self._tabs, start=1):
            is_open = tab.panel == self._open
            click = Style(meta={"@click": f"screen.panel('{tab.panel}')"})
            text.append(f"{digit} ", ink_style(self, "accent!" if is_open else "faint") + click)
            if gap or is_open:
                title = ink_style(self, "strong" if is_open else "muted")
                text.append(tab.title, title + click + Style(underline=is_open))
            text.append(" " * (gap or 1))
        return text

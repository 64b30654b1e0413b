"""What there is to see while there are no runs yet."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from engine.errors import printable
from tui.widgets.inked import inked_text


class Welcome(Static):
    """A friendly word in the middle of the screen."""

    DEFAULT_CSS = "Welcome { width: 1fr; height: 1fr; content-align: center middle; text-align: center; }"

    def __init__(self, runs_dir: str) -> None:
        super().__init__()
        self._runs_dir = printable(runs_dir)

    def render(self) -> Text:
        """The words."""
        lines = [
            [("◆", "accent!")],
            [("Nothing here yet", "strong")],
            [],
            [("Queue some recipes in another terminal:", "muted")],
            [("engine run recipes/*.toml", "accent")],
            [],
            [(f"Watching {self._runs_dir}; runs show up here by themselves.", "muted")],
        ]
        return Text("\n").join(inked_text(self, line) for line in lines)

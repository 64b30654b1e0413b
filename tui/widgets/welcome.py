"""What there is to see while there are no runs yet."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from engine.errors import printable
from tui.scene import Scene
from tui.widgets.inked import Piece, inked_text
from tui.widgets.top_bar import rehearsal_words
from tui.words import duration


class Welcome(Static):
    """A friendly word in the middle of the screen."""

    DEFAULT_CSS = "Welcome { width: 1fr; height: 1fr; content-align: center middle; text-align: center; }"

    def __init__(self, runs_dir: str) -> None:
        super().__init__()
        self._runs_dir = printable(runs_dir)
        self._told = ""

    def show(self, scene: Scene) -> None:
        """Tell of a rehearsal, after which runs come."""
        rehearsal = scene.fleet.rehearsal
        told = ""
        if rehearsal is not None:
            since = duration(scene.now - rehearsal.begun)
            told = printable(f"{rehearsal_words(rehearsal)}: {rehearsal.words}, {since} so far")
        if told != self._told:
            self._told = told
            self.refresh()

    def render(self) -> Text:
        """The words."""
        lines = [
            [("◆", "accent!")],
            [("Nothing here yet", "strong")],
            [],
            *_how(self._told),
            [],
            [(f"Watching {self._runs_dir}; runs show up here by themselves.", "muted")],
        ]
        return Text("\n").join(inked_text(self, line) for line in lines)


def _how(rehearsed: str) -> list[list[Piece]]:
    """How runs come here: by themselves once they are rehearsed, else by a command."""
    if rehearsed:
        return [[(rehearsed, "accent")], [("What passes is queued then.", "muted")]]
    return [[("Queue some recipes in another terminal:", "muted")], [("engine run recipes/*.toml", "accent")]]

"""What every panel is: a part of the main screen with a name, keys of its own, and a `show`.

A panel is handed the scene while it is open, and never otherwise; it opens no files. Its keys work
while it is open: opening a panel gives it the focus, and what it doesn't know the screen answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.containers import Vertical
from textual.message import Message

from tui.scene import Scene
from tui.widgets.key_line import Hint


@dataclass
class RecipesWanted(Message):
    """Recipes should be read; the app answers with the next scene."""

    run_ids: tuple[str, ...]


class Panel(Vertical, can_focus=True):
    """One panel. A subclass composes its widgets and fills them in `show`."""

    PANEL: ClassVar[str]
    """Its id."""
    TITLE: ClassVar[str]
    """Its name in the row of tabs and in the palette."""
    IS_WHOLE: ClassVar[bool] = False
    """Whether it takes the whole screen, with neither the list of runs nor the chosen run's header beside it."""
    WATCHES_MACHINE: ClassVar[bool] = False
    """Whether it shows how the machine does, and is shown again when that changes."""
    HINTS: ClassVar[tuple[Hint, ...]] = ()
    """The keys that the last line names while it is open."""

    def __init__(self) -> None:
        super().__init__(id=self.PANEL)
        self.scene: Scene | None = None

    def take(self, scene: Scene) -> None:
        """Show the state of things, now that the panel is open or something has changed."""
        self.scene = scene
        self.show(scene)

    def show(self, scene: Scene) -> None:
        """Show the state of things."""
        raise NotImplementedError

    def hints(self, scene: Scene | None) -> Sequence[Hint]:  # noqa: ARG002 - for those whose keys depend on it
        """The keys that the last line names now: those that do something."""
        return self.HINTS

    def show_again(self) -> None:
        """Show the same again, after a key has changed how."""
        if self.scene is not None:
            self.show(self.scene)

    def want_recipes(self, run_ids: Iterable[str]) -> None:
        """Ask for recipes that the scene hasn't got."""
        known = self.scene.recipes if self.scene is not None else {}
        missing = tuple(run_id for run_id in run_ids if run_id not in known)
        if missing:
            self.post_message(RecipesWanted(missing))

    def scroll_pages(self, pages: int) -> None:
        """Scroll by pages, where there is something to scroll."""

    def scroll_widget(self, selector: str, pages: int) -> None:
        """Scroll one of the panel's widgets by pages."""
        widget = self.query_one(selector)
        widget.scroll_relative(y=pages * max(1, widget.size.height - 2), animate=False)

"""The facts panel: figures, classes, journal and recipe of the chosen run."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from tui.panels.panel import Panel
from tui.scene import Scene
from tui.widgets.facts import Facts


class FactsPanel(Panel):
    """What is known of the chosen run."""

    PANEL = "facts"
    TITLE = "Facts"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("d", "whole_recipe", "The recipe, all of it", show=False)]
    HINTS = (("d", "whole recipe", "screen.on_panel('whole_recipe')"),)

    def __init__(self) -> None:
        super().__init__()
        self._facts = Facts()
        self._whole_recipe = False

    def compose(self) -> ComposeResult:
        """The text."""
        with VerticalScroll(id="facts-scroll", can_focus=False):
            yield self._facts

    def show(self, scene: Scene) -> None:
        """Tell the chosen run's facts."""
        if scene.chosen is not None:
            self.want_recipes([scene.chosen.run_id])
            recipe = scene.recipes.get(scene.chosen.run_id)
            self._facts.show(scene.chosen, recipe, whole_recipe=self._whole_recipe)

    def action_whole_recipe(self) -> None:
        """All of the recipe, or only what it changes."""
        self._whole_recipe = not self._whole_recipe
        self.show_again()

    def scroll_pages(self, pages: int) -> None:
        """Scroll the text."""
        self.scroll_widget("#facts-scroll", pages)

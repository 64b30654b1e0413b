"""The overview panel: loss, AP, the latest preview and, where there is room, the log's end."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from engine.errors import printable
from tui.curves import CHARTS
from tui.graphics import Graphics
from tui.panels.curve_panel import CURVE_HINTS, CURVE_KEYS, CurvePanel, CurveStyle, note_of, title_of
from tui.panels.previews import PREVIEW_HINTS, PREVIEW_KEYS, PictureWanted, PreviewKeys
from tui.previewing import Previewing
from tui.scene import Scene
from tui.widgets.chart import Chart
from tui.widgets.log import LogView
from tui.widgets.picture import Picture
from tui.words import joined


class OverviewPanel(CurvePanel, PreviewKeys):
    """The chosen run at one glance.

    Args:
        style: How curves are drawn.
        graphics: How pictures are drawn in this terminal.
        previewing: Which preview is looked at.
    """

    PANEL = "overview"
    TITLE = "Overview"
    BINDINGS: ClassVar[list[BindingType]] = [*CURVE_KEYS, *PREVIEW_KEYS]
    HINTS = (*PREVIEW_HINTS, *CURVE_HINTS)

    def __init__(self, style: CurveStyle, graphics: Graphics, previewing: Previewing) -> None:
        super().__init__(style)
        self._picture = Picture(graphics, id="overview-picture")
        self.previewing = previewing

    def compose(self) -> ComposeResult:
        """Loss above, AP and preview below, the log last."""
        yield Chart("Loss by step", id="overview-loss")
        with Horizontal(id="overview-lower"):
            yield Chart("AP by epoch", id="overview-precision")
            yield self._picture
        yield LogView(id="overview-log")

    def on_mount(self) -> None:
        """Name the log."""
        self.query_one("#overview-log").border_title = "Log"

    def show(self, scene: Scene) -> None:
        """Show the chosen run."""
        if scene.chosen is None:
            return
        look = replace(self.look, window=None, cursor=None, shown="")
        for chart, widget in zip(CHARTS, ("#overview-loss", "#overview-precision"), strict=False):
            self.query_one(widget, Chart).show(
                chart.draw(scene.chosen, look), title=title_of(chart, look), note=note_of(chart, look),
                nothing=chart.nothing,
            )
        looked, wanted = self.previewing.look(scene.chosen)
        if wanted is not None:
            self.post_message(PictureWanted(wanted))
        self._caption(joined([looked.epoch_words, looked.image_words]) if looked else "")
        self.draw_picture()
        self.query_one("#overview-log", LogView).show(scene.log)

    def _caption(self, words: str) -> None:
        title = joined(["Preview", words])
        if self._picture.border_title != title:  # assigning it draws the picture again
            self._picture.border_title = title

    def draw_picture(self) -> None:
        """Draw the picture that has come, or the words in its place."""
        self._picture.show(self.previewing.image, printable(self.previewing.words))

    def scroll_pages(self, pages: int) -> None:
        """Scroll the log."""
        self.scroll_widget("#overview-log", pages)

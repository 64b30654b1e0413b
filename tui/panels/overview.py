"""The overview panel: loss, AP, the latest preview and, where there is room, the log's end."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from tui.curves import CHARTS
from tui.gallery import Gallery
from tui.graphics import Graphic
from tui.panels.curve_panel import CURVE_HINTS, CURVE_KEYS, CurvePanel, CurveStyle, notes_of, title_of
from tui.panels.previews import PREVIEW_HINTS, PREVIEW_KEYS, PreviewKeys
from tui.plot import Plot
from tui.previewing import Looked, Previewing, no_preview_words
from tui.scene import Scene
from tui.view import RunView
from tui.widgets.chart import Chart
from tui.widgets.log import LogView
from tui.widgets.picture import Picture
from tui.words import joined


class OverviewPanel(CurvePanel, PreviewKeys):
    """The chosen run at one glance.

    Args:
        style: How curves are drawn.
        gallery: Who draws pictures.
        previewing: Which preview is looked at.
        graphic: How pictures are drawn in this terminal.
    """

    PANEL = "overview"
    TITLE = "Overview"
    BINDINGS: ClassVar[list[BindingType]] = [*CURVE_KEYS, *PREVIEW_KEYS]
    HINTS = (*PREVIEW_HINTS, *CURVE_HINTS)

    def __init__(self, style: CurveStyle, gallery: Gallery, previewing: Previewing, graphic: Graphic) -> None:
        super().__init__(style)
        self._picture = Picture(gallery, id="overview-picture")
        self._graphic = graphic
        self.gallery = gallery
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
            drawing = chart.draw(scene.chosen, look)
            if isinstance(drawing, Plot):  # checkpoints are told where there is a line to tell what their sign means
                drawing = replace(drawing, marks=tuple(mark for mark in drawing.marks if mark.is_tall))
            self.query_one(widget, Chart).show(
                drawing, title=title_of(chart, look), notes=notes_of(chart, look),
                nothing=chart.nothing,
            )
        looked = self.look_at(scene.chosen)
        if not self.is_waiting:
            self._show_preview(scene.chosen, looked)
        self.query_one("#overview-log", LogView).show(scene.log)

    def _show_preview(self, view: RunView, looked: Looked | None) -> None:
        title = joined(["Preview", *([looked.epoch_words, looked.image_words] if looked else [])])
        if looked is None or looked.shot is None:
            self._picture.show(None, self._graphic, no_preview_words(view), title)
        else:
            self._picture.show(looked.sight(looked.shot, self.previewing.shown), self._graphic, title=title)

    def scroll_pages(self, pages: int) -> None:
        """Scroll the log."""
        self.scroll_widget("#overview-log", pages)

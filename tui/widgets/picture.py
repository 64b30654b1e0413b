"""A preview picture in the terminal, in pixels where it takes them and in characters where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL.Image import Image
from rich.segment import Segment
from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from engine.errors import printable
from tui.gallery import Drawing, Gallery, Room, Sight
from tui.graphics import Graphic, Graphics
from tui.widgets.inked import inked_strip


class CellCanvas(Widget):
    """A picture drawn in characters, in the middle."""

    DEFAULT_CSS = "CellCanvas { width: 100%; height: 100%; }"

    def __init__(self) -> None:
        super().__init__()
        self._drawing: Drawing | None = None
        self._strips: list[Strip] = []

    def show(self, drawing: Drawing | None) -> None:
        """Show another drawing, or none."""
        if drawing is not self._drawing:
            self._drawing = drawing
            self._lay()

    def on_resize(self) -> None:
        """Lay it in the new middle."""
        self._lay()

    def notify_style_update(self) -> None:
        """Take the new theme's background."""
        super().notify_style_update()
        self._lay()

    def render_line(self, y: int) -> Strip:
        """One line of cells."""
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.content_size.width, self.rich_style)

    def _lay(self) -> None:
        size, base, drawing = self.content_size, self.rich_style, self._drawing
        self._strips = []
        if drawing is not None and size:
            left, top = max(0, size.width - drawing.columns) // 2, max(0, size.height - drawing.rows) // 2
            self._strips = [Strip.blank(size.width, base)] * top
            for line in drawing.lines:
                strip = Strip([Segment(" " * left, base), *line], left + drawing.columns)
                self._strips.append(strip.adjust_cell_length(size.width, base))
        self.refresh()


class Picture(Container):
    """One preview, or the words that stand in for it. It orders what it shows, once a change.

    Args:
        gallery: Who draws.
    """

    DEFAULT_CSS = """
    Picture { height: 1fr; align: center middle; }
    Picture .pixels { width: auto; height: auto; }
    """

    @dataclass
    class Painted(Message, bubble=False):
        """What was ordered has come."""

        sight: Sight
        room: Room
        drawing: Drawing | None
        trouble: str

    class Settled(Message):
        """What was ordered is on the screen."""

    def __init__(self, gallery: Gallery, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._gallery = gallery
        self._graphic = Graphic()
        self._sight: Sight | None = None
        self._ordered: tuple[Sight, Room] | None = None
        self._words = Words()
        self._cells = CellCanvas()
        self._pixels: Any = None
        self._pixels_way: Graphics = "none"
        self.is_loading = False

    def compose(self) -> ComposeResult:
        """The picture and the words; one of them shows."""
        yield self._words
        yield self._cells

    def show(self, sight: Sight | None, graphic: Graphic, words: str = "") -> None:
        """Show a preview, or words where there is none."""
        if graphic.way == "none" and sight is not None:
            sight, words = None, "pictures are switched off"
        self._graphic, self._sight = graphic, sight
        if sight is None:
            self._ordered, self.is_loading = None, False
            self._say(words)
        self._order()

    def on_resize(self) -> None:
        """Have it drawn at the new size."""
        self._order()

    def _order(self) -> None:
        size = self.content_size
        if self._sight is None or not size:
            return
        order = self._sight, Room(size.width, size.height, self._graphic.cell if self._graphic.is_pixels else None)
        if order != self._ordered:
            self._ordered, self.is_loading = order, True
            self._gallery.paint(self, *order, self._hear)

    def _hear(self, sight: Sight, room: Room, drawing: Drawing | None, trouble: str) -> None:
        self.post_message(self.Painted(sight, room, drawing, trouble))  # called from the gallery's thread

    @on(Painted)
    def _take(self, message: Painted) -> None:
        if (message.sight, message.room) != self._ordered or not self.is_mounted:
            return
        self.is_loading = False
        drawing = message.drawing
        if drawing is None:
            self._say(printable(message.trouble))
        elif drawing.pixels is None:
            self._cells.show(drawing)
            self._reveal(self._cells)
        else:
            self._show_pixels(drawing, drawing.pixels)
        self.post_message(self.Settled())

    def _say(self, words: str) -> None:
        self._words.show(words)
        self._reveal(self._words)

    def _reveal(self, shown: Widget) -> None:
        for widget in (self._words, self._cells, self._pixels):
            if widget is not None and widget.display != (widget is shown):
                widget.display = widget is shown

    def _show_pixels(self, drawing: Drawing, image: Image) -> None:
        if self._pixels is None or self._pixels_way != self._graphic.way:
            if self._pixels is not None:
                self._pixels.remove()
            self._pixels, self._pixels_way = _pixel_widget(self._graphic.way), self._graphic.way
            self.mount(self._pixels)
        self._pixels.styles.width, self._pixels.styles.height = drawing.columns, drawing.rows
        self._pixels.image = image
        self._reveal(self._pixels)


def _pixel_widget(way: Graphics) -> Any:
    """textual-image's widget for pixels. It probed the terminal on import, before the dashboard began."""
    from textual_image.widget import SixelImage, TGPImage  # noqa: PLC0415

    return (SixelImage if way == "sixel" else TGPImage)(classes="pixels")


class Words(Widget):
    """A line of muted words in the middle of nothing."""

    DEFAULT_CSS = "Words { width: 100%; height: 100%; }"

    def __init__(self) -> None:
        super().__init__()
        self._text = ""

    def show(self, text: str) -> None:
        """Other words."""
        if text != self._text:
            self._text = text
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The words lie on the middle line."""
        size = self.size
        text = self._text.center(size.width) if y == size.height // 2 else ""
        return inked_strip(self, [(text, "muted")], size.width)

"""A preview picture in the terminal, in pixels where it takes them and in characters where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL.Image import Image
from rich.control import Control
from rich.segment import ControlType, Segment
from rich.style import Style
from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from engine.errors import printable
from tui.gallery import Drawing, Gallery, Room, Sight
from tui.graphics import Graphic
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


class SixelCanvas(Widget):
    """A picture in sixels, in the middle; sent whenever the terminal has lost it, and else once."""

    DEFAULT_CSS = "SixelCanvas { width: 100%; height: 100%; }"

    def __init__(self) -> None:
        super().__init__()
        self._drawing: Drawing | None = None
        self._room = Size()

    def show(self, drawing: Drawing | None, room: Size) -> None:
        """Show another drawing, made for so many cells, or none."""
        if drawing is not self._drawing:
            self._drawing, self._room = drawing, room
            self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Empty cells, then the picture over them; none while a dialog lies above, or one of another size is made."""
        drawing, blank = self._drawing, Strip.blank(crop.width, self.rich_style)
        is_whole = crop.size == self.size == self._room
        if drawing is None or not self.screen.is_active or not is_whole:
            return [blank] * crop.height
        region = self.region
        left = region.x + max(0, region.width - drawing.columns) // 2
        top = region.y + max(0, region.height - drawing.rows) // 2
        over = [
            Segment(Control.move_to(left, top).segment.text, Style.null()),
            Segment(drawing.sixels, Style.null(), ((ControlType.CURSOR_FORWARD, 0),)),
            Segment(Control.move_to(region.right, region.bottom - 1).segment.text, Style.null()),
        ]
        return [*[blank] * (crop.height - 1), Strip([*blank, *over], crop.width)]


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
        self._sixels = SixelCanvas()
        self._pixels: Any = None
        self.is_loading = False

    def compose(self) -> ComposeResult:
        """The picture and the words; one of them shows."""
        yield self._words
        yield self._cells
        yield self._sixels

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
        cell = self._graphic.cell if self._graphic.is_pixels else None
        order = self._sight, Room(size.width, size.height, cell, self._graphic.way == "sixel")
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
        elif drawing.sixels:
            self._sixels.show(drawing, Size(message.room.columns, message.room.rows))
            self._reveal(self._sixels)
        else:
            self._show_pixels(drawing, drawing.pixels)
        self.post_message(self.Settled())

    def _say(self, words: str) -> None:
        self._words.show(words)
        self._reveal(self._words)

    def _reveal(self, shown: Widget) -> None:
        for widget in (self._words, self._cells, self._sixels, self._pixels):
            if widget is not None and widget.display != (widget is shown):
                widget.display = widget is shown

    def _show_pixels(self, drawing: Drawing, image: Image) -> None:
        if self._pixels is None:
            from textual_image.widget import TGPImage  # noqa: PLC0415 - it asks the terminal on import, long since

            self._pixels = TGPImage(classes="pixels")
            self.mount(self._pixels)
        self._pixels.styles.width, self._pixels.styles.height = drawing.columns, drawing.rows
        self._pixels.image = image
        self._reveal(self._pixels)


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

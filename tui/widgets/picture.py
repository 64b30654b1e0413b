"""A preview picture in the terminal, in pixels where it takes them and in characters where not."""

from __future__ import annotations

import itertools
import random
import textwrap
from dataclasses import dataclass

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
from tui.kitty import KittyId, forgetting, placeholders, sending
from tui.widgets.inked import inked_strip

# Colours below are told by other sequences, which some terminals show bolder.
_LOWEST_NUMBER, _NUMBERS = 16, 240


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


class KittyCanvas(Widget):
    """A picture by kitty's protocol, in the middle; the terminal keeps it until it is hidden or another comes."""

    DEFAULT_CSS = "KittyCanvas { width: 100%; height: 100%; }"
    _session = random.randint(1, 255)
    _numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self._called = KittyId(self._session, _LOWEST_NUMBER + next(self._numbers) % _NUMBERS)
        self._drawing: Drawing | None = None
        self._held: Drawing | None = None
        self._through_tmux = False

    def show(self, drawing: Drawing | None, *, through_tmux: bool) -> None:
        """Show another drawing, or none."""
        if drawing is not self._drawing:
            self._drawing, self._through_tmux = drawing, through_tmux
            self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Empty cells, then what stands for the picture over them; none while a dialog lies above."""
        drawing, blank = self._drawing, Strip.blank(crop.width, self.rich_style)
        if drawing is None or not self.screen.is_active or crop.size != self.size:
            return [blank] * crop.height
        region = self.region
        left = region.x + max(0, region.width - drawing.columns) // 2
        top = region.y + max(0, region.height - drawing.rows) // 2
        rows = placeholders(self._called, drawing.columns, drawing.rows)
        over = [Control.move_to(left, top + row).segment.text + text for row, text in enumerate(rows)]
        if drawing is not self._held:
            self._held = drawing
            over.insert(0, sending(self._called, drawing.png, drawing.columns, drawing.rows,
                                   through_tmux=self._through_tmux))  # fmt: skip
        over.append(Control.move_to(region.right, region.bottom - 1).segment.text)
        sent = Segment("".join(over), Style.null(), ((ControlType.CURSOR_FORWARD, 0),))
        return [*[blank] * (crop.height - 1), Strip([*blank, sent], crop.width)]

    def on_hide(self) -> None:
        """The terminal need not keep what isn't seen."""
        self._forget()

    def on_unmount(self) -> None:
        """Leave nothing behind."""
        self._forget()

    def _forget(self) -> None:
        driver = self.app._driver  # noqa: SLF001 - Textual has no other way to write while nothing is drawn
        if self._held is not None and driver is not None:
            self._held = None
            driver.write(forgetting(self._called, through_tmux=self._through_tmux))


class Picture(Container):
    """One preview, or the words that stand in for it. It orders what it shows, once a change.

    Args:
        gallery: Who draws.
    """

    DEFAULT_CSS = "Picture { height: 1fr; align: center middle; }"

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
        self._kitty = KittyCanvas()
        self.is_loading = False

    def compose(self) -> ComposeResult:
        """The picture and the words; one of them shows."""
        yield self._words
        yield self._cells
        yield self._sixels
        yield self._kitty

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
        elif drawing.sixels:
            self._sixels.show(drawing, Size(message.room.columns, message.room.rows))
            self._reveal(self._sixels)
        elif drawing.png:
            self._kitty.show(drawing, through_tmux=self._graphic.through_tmux)
            self._reveal(self._kitty)
        else:
            self._cells.show(drawing)
            self._reveal(self._cells)
        self.post_message(self.Settled())

    def _say(self, words: str) -> None:
        self._words.show(words)
        self._reveal(self._words)

    def _reveal(self, shown: Widget) -> None:
        for widget in (self._words, self._cells, self._sixels, self._kitty):
            if widget.display != (widget is shown):
                widget.display = widget is shown


class Words(Widget):
    """Muted words in the middle of nothing."""

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
        """The words lie in the middle, on as many lines as they need."""
        size = self.size
        lines = textwrap.wrap(self._text, max(1, size.width))
        index = y - (size.height - len(lines)) // 2
        text = lines[index].center(size.width) if 0 <= index < len(lines) else ""
        return inked_strip(self, [(text, "muted")], size.width)

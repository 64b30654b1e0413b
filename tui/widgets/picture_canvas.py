"""Where a preview is drawn: a picture in characters, in sixels or by kitty's protocol, or words that stand in for it.

One widget for all of them: where one widget was hidden and another one came into its place, the layout sent a
picture once and the new widget's own refresh a second time.
"""

from __future__ import annotations

import itertools
import random
import textwrap

from rich.control import Control
from rich.segment import ControlType, Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from tui.gallery import Drawing
from tui.kitty import KittyId, forgetting, placeholders, sending
from tui.widgets.inked import inked_strip

# Colours below are told by other sequences, which some terminals show bolder.
_LOWEST_NUMBER, _NUMBERS = 16, 240
# What Textual shall not measure: control sequences.
_NO_CELLS = ((ControlType.CURSOR_FORWARD, 0),)


class PictureCanvas(Widget):
    """A picture in the middle, or muted words.

    Pixels are sent when they change, and when something else lay over them; not while a dialog lies above, or
    one of another size is made.
    """

    DEFAULT_CSS = "PictureCanvas { width: 100%; height: 100%; }"
    _session = random.randint(1, 255)
    _numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self._called = KittyId(self._session, _LOWEST_NUMBER + next(self._numbers) % _NUMBERS)
        self._words = ""
        self._drawing: Drawing | None = None
        self._room = Size()
        self._through_tmux = False
        self._held: Drawing | None = None
        """What kitty keeps for us."""

    def say(self, words: str) -> None:
        """Show words, and no picture."""
        if self._drawing is not None or words != self._words:
            self._words, self._drawing = words, None
            self._forget()
            self.refresh()

    def show(self, drawing: Drawing, room: Size, *, through_tmux: bool = False) -> None:
        """Show a picture, made for so many cells."""
        if drawing is not self._drawing:
            self._drawing, self._room, self._through_tmux = drawing, room, through_tmux
            if not drawing.png:
                self._forget()
            self.refresh()

    def drop(self) -> None:
        """Show nothing; whoever isn't seen needs no picture, and an old one would be sent first when it is again."""
        self._words, self._drawing = "", None
        self._forget()

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines of a part of it."""
        drawing = self._drawing
        if drawing is None or drawing.lines:
            lines = self._lines_of_words() if drawing is None else self._lines_of_cells(drawing)
            return [line.crop(crop.x, crop.right) for line in lines[crop.y : crop.bottom]]
        blank = [Strip.blank(crop.width, self.rich_style)] * crop.height
        if not self.screen.is_active or crop.size != self.size:
            return blank
        region = self.region
        left = region.x + max(0, region.width - drawing.columns) // 2
        top = region.y + max(0, region.height - drawing.rows) // 2
        if drawing.png:
            over = self._kitty_over(drawing, left, top)
        elif self.size == self._room:
            over = Control.move_to(left, top).segment.text + drawing.sixels
        else:
            return blank
        over += Control.move_to(region.right, region.bottom - 1).segment.text
        return [*blank[:-1], Strip([*blank[-1], Segment(over, Style.null(), _NO_CELLS)], crop.width)]

    def _kitty_over(self, drawing: Drawing, left: int, top: int) -> str:
        """What stands for the picture, row by row; before it the picture itself, where it isn't kept there yet."""
        rows = placeholders(self._called, drawing.columns, drawing.rows)
        over = "".join(Control.move_to(left, top + row).segment.text + text for row, text in enumerate(rows))
        if drawing is self._held:
            return over
        self._held = drawing
        size = drawing.columns, drawing.rows
        return sending(self._called, drawing.png, *size, through_tmux=self._through_tmux) + over

    def _lines_of_cells(self, drawing: Drawing) -> list[Strip]:
        size, base = self.size, self.rich_style
        left, top = max(0, size.width - drawing.columns) // 2, max(0, size.height - drawing.rows) // 2
        lines = [Strip.blank(size.width, base)] * top
        for line in drawing.lines:
            strip = Strip([Segment(" " * left, base), *line], left + drawing.columns)
            lines.append(strip.adjust_cell_length(size.width, base))
        return [*lines, *[Strip.blank(size.width, base)] * (size.height - len(lines))]

    def _lines_of_words(self) -> list[Strip]:
        """The words lie in the middle, on as many lines as they need."""
        width, height = self.size
        parts = textwrap.wrap(self._words, max(1, width))[:height]
        top = (height - len(parts)) // 2
        texts = [*[""] * top, *(part.center(width) for part in parts), *[""] * (height - top - len(parts))]
        return [inked_strip(self, [(text, "muted")], width) for text in texts]

    def notify_style_update(self) -> None:
        """Take the new theme's inks; pixels have none, and would be sent again."""
        super().notify_style_update()
        if self._drawing is None or self._drawing.lines:
            self.refresh()

    def on_unmount(self) -> None:
        """Leave nothing behind."""
        self._forget()

    def _forget(self) -> None:
        """The terminal need not keep what isn't seen."""
        driver = self.app._driver  # noqa: SLF001 - Textual has no other way to write while nothing is drawn
        if self._held is not None and driver is not None:
            self._held = None
            driver.write(forgetting(self._called, through_tmux=self._through_tmux))

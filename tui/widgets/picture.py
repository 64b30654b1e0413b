"""A preview picture in the terminal, in pixels where it takes them and in blocks where not."""

from __future__ import annotations

from typing import Any

from PIL.Image import Image
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.containers import Container
from textual.strip import Strip
from textual.widget import Widget

from tui.blocks import draw_blocks, fitted
from tui.graphics import Graphics
from tui.widgets.inked import inked_strip


class BlockPicture(Widget):
    """A picture in half and quarter blocks, as large as fits, in the middle."""

    DEFAULT_CSS = "BlockPicture { width: 100%; height: 100%; }"

    def __init__(self) -> None:
        super().__init__()
        self._image: Image | None = None
        self._strips: list[Strip] = []

    def show(self, image: Image | None) -> None:
        """Draw another picture, or none."""
        if image is not self._image:
            self._image = image
            self._redraw()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._redraw()

    def notify_style_update(self) -> None:
        """Take the new theme's background."""
        super().notify_style_update()
        self._redraw()

    def render_line(self, y: int) -> Strip:
        """One line of cells."""
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.content_size.width, self.rich_style)

    def _redraw(self) -> None:
        size = self.content_size
        self._strips = _block_strips(self, self._image) if self._image is not None and size else []
        self.refresh()


def _block_strips(widget: Widget, image: Image) -> list[Strip]:
    size, base = widget.content_size, widget.rich_style
    columns, rows = fitted(image.size, size.width, size.height)
    blocks = draw_blocks(image, columns, rows)
    left, top = (size.width - columns) // 2, (size.height - rows) // 2
    strips = [Strip.blank(size.width, base)] * top
    for row in range(rows):
        cells = zip(blocks.chars[row].tolist(), blocks.fore[row].tolist(), blocks.back[row].tolist(), strict=True)
        segments = [
            Segment(char, Style(color=Color.from_rgb(*fore), bgcolor=Color.from_rgb(*back)))
            for char, fore, back in cells
        ]
        line = Strip([Segment(" " * left, base), *segments], left + columns)
        strips.append(line.adjust_cell_length(size.width, base))
    return strips


class Picture(Container):
    """One preview, or the words that stand in for it.

    Args:
        graphics: How pictures are drawn in this terminal.
    """

    DEFAULT_CSS = """
    Picture { height: 1fr; align: center middle; }
    Picture .pixels { width: auto; height: auto; }
    """

    def __init__(self, graphics: Graphics, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._graphics = graphics
        self._image: Image | None = None
        self._words = Words()
        self._blocks = BlockPicture()
        self._pixels = _pixel_widget(graphics)

    def compose(self) -> ComposeResult:
        """The picture and the words; one of them shows."""
        yield self._words
        yield self._blocks if self._pixels is None else self._pixels

    def show(self, image: Image | None, words: str = "") -> None:
        """Show a picture, or words where there is none."""
        if self._graphics == "none" and image is not None:
            image, words = None, "pictures are switched off (--graphics none)"
        self._words.show(words)
        self._words.display = image is None
        drawn = self._blocks if self._pixels is None else self._pixels
        drawn.display = image is not None
        if image is self._image:
            return
        self._image = image
        if self._pixels is None:
            self._blocks.show(image)
        else:
            self._pixels.image = image


def _pixel_widget(graphics: Graphics) -> Any:
    """textual-image's widget for pixels; None where blocks are drawn. It probed the terminal on import."""
    if graphics == "sixel":
        from textual_image.widget import SixelImage  # noqa: PLC0415

        return SixelImage(classes="pixels")
    if graphics == "kitty":
        from textual_image.widget import TGPImage  # noqa: PLC0415

        return TGPImage(classes="pixels")
    return None


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

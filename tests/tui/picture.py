"""Takes a picture of the dashboard for the docs: every cell drawn on a grid, Braille dots and blocks by hand.

    python -m tests.tui.picture RUNS OUT.png --size 120x40 --theme darkroom --keys 3,left,n

Textual's own SVG screenshots depend on the fonts of whoever looks at them; this doesn't.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont
from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from tests.tui.test_app import settle
from tui.app import WatchApp
from tui.theme import DARK, LIGHT

_FONT_SIZE = 18
_CELL_WIDTH, _CELL_HEIGHT = 11, 22
_FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"
# Braille bit -> row and column of its dot.
_DOTS = ((0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0), (3, 1))
# Block -> quarters it covers: 1 upper left, 2 upper right, 4 lower left, 8 lower right.
_BLOCKS = {"▘": 1, "▝": 2, "▖": 4, "▗": 8, "▀": 3, "▌": 5, "▚": 9, "█": 15}
# Horizontal line -> how much of the cell it takes, and how thick it is.
_LINES = {"━": (1.0, 3), "╸": (0.5, 3), "─": (1.0, 1)}

Colour = tuple[int, ...]


class _Painter:
    """Draws cells onto a picture."""

    def __init__(self, columns: int, rows: int) -> None:
        self.image = Image.new("RGB", (columns * _CELL_WIDTH, rows * _CELL_HEIGHT))
        self._pen = ImageDraw.Draw(self.image)
        self._plain = ImageFont.truetype(_FONTS / "DejaVuSansMono.ttf", _FONT_SIZE)
        self._bold = ImageFont.truetype(_FONTS / "DejaVuSansMono-Bold.ttf", _FONT_SIZE)

    def cell(self, char: str, column: int, row: int, style: Style) -> None:
        x, y = column * _CELL_WIDTH, row * _CELL_HEIGHT
        fore, back = _colours(style)
        width = _CELL_WIDTH * max(1, cell_len(char))
        self._pen.rectangle((x, y, x + width - 1, y + _CELL_HEIGHT - 1), fill=back)
        if 0x2800 <= ord(char) < 0x2900:
            self._braille(ord(char) - 0x2800, x, y, fore)
        elif char in _BLOCKS:
            self._block(_BLOCKS[char], x, y, fore)
        elif "▁" <= char <= "▇":
            top = y + _CELL_HEIGHT - _CELL_HEIGHT * (ord(char) - 0x2580) // 8
            self._pen.rectangle((x, top, x + _CELL_WIDTH - 1, y + _CELL_HEIGHT - 1), fill=fore)
        elif char in _LINES:
            share, thick = _LINES[char]
            middle = y + _CELL_HEIGHT // 2 - thick // 2
            self._pen.rectangle((x, middle, x + int(_CELL_WIDTH * share) - 1, middle + thick - 1), fill=fore)
        elif char != " ":
            self._pen.text((x, y + 1), char, font=self._bold if style.bold else self._plain, fill=fore)
        if style.underline:
            self._pen.line((x, y + _CELL_HEIGHT - 2, x + width - 1, y + _CELL_HEIGHT - 2), fill=fore)

    def _braille(self, bits: int, x: int, y: int, colour: Colour) -> None:
        for index, (row, column) in enumerate(_DOTS):
            if bits >> index & 1:
                middle_x = x + (column + 0.5) * _CELL_WIDTH / 2
                middle_y = y + (row + 0.5) * _CELL_HEIGHT / 4
                self._pen.ellipse((middle_x - 1.7, middle_y - 1.7, middle_x + 1.7, middle_y + 1.7), fill=colour)

    def _block(self, quarters: int, x: int, y: int, colour: Colour) -> None:
        xs = (x, x + _CELL_WIDTH // 2, x + _CELL_WIDTH)
        ys = (y, y + _CELL_HEIGHT // 2, y + _CELL_HEIGHT)
        for index in range(4):
            if quarters >> index & 1:
                row, column = divmod(index, 2)
                self._pen.rectangle((xs[column], ys[row], xs[column + 1] - 1, ys[row + 1] - 1), fill=colour)


def _colours(style: Style) -> tuple[Colour, Colour]:
    fore = tuple(style.color.get_truecolor()) if style.color else (208, 208, 208)
    back = tuple(style.bgcolor.get_truecolor()) if style.bgcolor else (18, 18, 18)
    return (back, fore) if style.reverse else (fore, back)


def paint(strips: Sequence[Strip]) -> Image.Image:
    """Lines of a screen as a picture."""
    painter = _Painter(max(strip.cell_length for strip in strips), len(strips))
    for row, strip in enumerate(strips):
        column = 0
        for text, style, _ in strip:
            for char in text:
                painter.cell(char, column, row, style or Style())
                column += cell_len(char)
    return painter.image


async def take(runs_dir: Path, size: tuple[int, int], theme: str, keys: Sequence[str]) -> Image.Image:
    """A picture of the dashboard after some keys."""
    app = WatchApp(runs_dir, "halfblock", theme, redraw_s=0.05)
    async with app.run_test(size=size) as pilot:
        await settle(pilot, app)
        for key in keys:
            await pilot.press(key)
            await settle(pilot, app)
        await pilot.pause(0.3)
        return paint(app.screen._compositor.render_strips())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--theme", choices=[DARK, LIGHT], default=DARK)
    parser.add_argument("--keys", default="", help="as Textual names them, with commas between")
    args = parser.parse_args()
    columns, rows = (int(part) for part in args.size.split("x"))
    keys = [key for key in args.keys.split(",") if key]
    asyncio.run(take(args.runs_dir, (columns, rows), args.theme, keys)).save(args.out, optimize=True)


if __name__ == "__main__":
    main()

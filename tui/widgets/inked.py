"""Strips of text in the named inks of the current theme."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget

from tui.theme import inks

Piece = tuple[str, str]
"""Text and its ink; "strong" and inks that end in "!" are bold."""


def ink_style(widget: Widget, ink: str) -> Style:
    """An ink on the widget's own background."""
    base = widget.rich_style
    if not ink:
        return base
    name = ink.removesuffix("!")
    colour = inks(widget.app.theme).get(name)
    bold = True if ink != name or name == "strong" else None
    return base + Style(color=colour, bold=bold)


def inked_strip(widget: Widget, pieces: Iterable[Piece], width: int, background: str = "") -> Strip:
    """A line of a widget, cut or filled up to a width.

    Args:
        widget: Whose theme and background are taken.
        pieces: Texts and their inks.
        width: In cells.
        background: Name of the ink behind the line; "" for the widget's own.
    """
    behind = Style(bgcolor=inks(widget.app.theme)[background]) if background else Style()
    segments = [Segment(text, ink_style(widget, ink) + behind) for text, ink in pieces if text]
    return Strip(segments).adjust_cell_length(width, widget.rich_style + behind)


def inked_text(widget: Widget, pieces: Iterable[Piece]) -> Text:
    """The pieces as one text, never read as markup."""
    text = Text(no_wrap=True)
    for part, ink in pieces:
        text.append(part, ink_style(widget, ink))
    return text


def width_of(pieces: Iterable[Piece]) -> int:
    """Cells that pieces take."""
    return sum(cell_len(text) for text, _ in pieces)


def spread(left: list[Piece], right: list[Piece], width: int) -> list[Piece]:
    """Two groups of pieces at the two ends of a line; the right one is left out where it doesn't fit."""
    gap = width - width_of(left) - width_of(right)
    return [*left, (" " * gap, ""), *right] if gap > 0 else left

"""Lines of inked text that wrap under their own words, not under the sign they begin with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text
from textual.widget import Widget

from tui.widgets.inked import Piece, inked_text

_LONGEST_SIGN = 4
_LEAST_ROOM = 8


class HangingLines:
    """Lines to be wrapped at whatever width they get.

    Args:
        widget: Whose theme and background are taken.
        lines: Each of pieces; the first one may be a sign or a name.
        longest: Up to so many cells a first piece is one, and what follows hangs behind it.
    """

    def __init__(self, widget: Widget, lines: Iterable[Sequence[Piece]], longest: int = _LONGEST_SIGN) -> None:
        self._lines = [(inked_text(widget, line), _indent(line, longest)) for line in lines]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Each line and what is left of it below."""
        for text, indent in self._lines:
            head, body = text[:indent], text[indent:]
            body.no_wrap = False
            room = max(_LEAST_ROOM, options.max_width - indent)
            for index, part in enumerate(body.wrap(console, room, overflow="fold") or [body]):
                yield Text.assemble(head if index == 0 else " " * indent, part)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """As wide as the longest line, or as there is room for."""
        longest = max((text.cell_len for text, _ in self._lines), default=0)
        return Measurement(min(longest, options.max_width), options.max_width)


def _indent(line: Sequence[Piece], longest: int) -> int:
    """Cells before a line's first word; the signs are each one cell wide."""
    if not line:
        return 0
    first = line[0][0]
    if len(line) > 1 and cell_len(first) <= longest and first.endswith(" "):
        return len(first)
    return len(first) - len(first.lstrip(" "))

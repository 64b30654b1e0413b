"""The boxes of a preview image as a table; it tells all that the picture does."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from textual.strip import Strip
from textual.widget import Widget

from engine.errors import printable
from tui.judged import RIGHT, JudgedBox, Judgement
from tui.widgets.inked import Piece, inked_strip
from tui.words import NOTHING, fit

_BOX_ROOM, _WORD_ROOM, _SCORE_ROOM = 19, 13, 5
_LEAST_NAME_ROOM, _MOST_NAME_ROOM = 6, 24


def table_width(names: Iterable[str], *, has_box: bool) -> int:
    """Cells that a table of these classes takes."""
    name = max([_LEAST_NAME_ROOM, *(cell_len(name) for name in names)])
    return 4 + min(name, _MOST_NAME_ROOM) + _SCORE_ROOM + 2 + (_BOX_ROOM if has_box else 0) + _WORD_ROOM


class BoxTable(Widget):
    """Class, score, box and verdict, surest first, then what was missed."""

    DEFAULT_CSS = "BoxTable { height: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._title = ""
        self._judgement: Judgement | None = None
        self._words = ""
        self._first = 0

    def show(self, title: str, judgement: Judgement | None, words: str = "") -> None:
        """Tell another image's boxes, or words where there are none."""
        if (title, judgement, words) != (self._title, self._judgement, self._words):
            self._title, self._judgement, self._words, self._first = title, judgement, words, 0
            self.refresh()

    def notify_style_update(self) -> None:
        """Take the new theme's inks."""
        super().notify_style_update()
        self.refresh()

    def scroll_rows(self, pages: int) -> None:
        """Show boxes further down, or up."""
        rows = self._judgement.rows if self._judgement else ()
        room = max(1, self.size.height - 3)
        first = max(0, min(len(rows) - room, self._first + pages * room))
        if first != self._first:
            self._first = first
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Photo, heads, boxes; the last line says what didn't fit."""
        width, height = self.size
        if y == 0:
            return inked_strip(self, [(fit(printable(self._title), width), "strong")], width)
        if self._judgement is None:
            return inked_strip(self, [(fit(self._words, width), "muted")] if y == 1 else [], width)
        rows = self._judgement.rows
        if y == 1:
            heads = self._cells("", "class", "score", "box x,y w×h", "verdict" if rows else "")
            return inked_strip(self, [(heads, "muted")] if rows else [("no boxes from this score on", "muted")], width)
        room = height - 2
        at = self._first + y - 2
        is_last = y == height - 1 and len(rows) > self._first + room
        if is_last:
            left = len(rows) - at
            return inked_strip(self, [(f"  … {left} more, PgDn", "muted")], width)
        return inked_strip(self, self._row(rows[at]) if at < len(rows) else [], width)

    def _row(self, box: JudgedBox) -> list[Piece]:
        x0, y0, x1, y1 = box.box_xyxy
        place = f"{x0:.0f},{y0:.0f} {x1 - x0:.0f}×{y1 - y0:.0f}"
        score = NOTHING if box.score is None else f"{box.score:.2f}"
        ink = "done" if box.is_right else "error" if box.is_error else "muted"
        text = self._cells("", box.name, score, place, "")
        return [(f"{box.sign} ", "finished!" if box.sign == RIGHT else ink), (text[2:], "text"),
                (fit(box.words, _WORD_ROOM), "muted" if not box.is_error else ink)]  # fmt: skip

    def _cells(self, sign: str, name: str, score: str, place: str, words: str) -> str:
        """One line's texts in columns; the box is left out where there is no room for it."""
        rest = self.size.width - 2 - _SCORE_ROOM - 2 - _WORD_ROOM
        has_box = rest - _BOX_ROOM >= _LEAST_NAME_ROOM
        room = max(1, min(_MOST_NAME_ROOM, rest - (_BOX_ROOM if has_box else 0)))
        shown = fit(name, room)
        padded = shown + " " * (room - cell_len(shown))
        middle = f"{place:<{_BOX_ROOM - 2}.{_BOX_ROOM - 2}}  " if has_box else ""
        return f"{sign:<2}{padded}{score:>{_SCORE_ROOM}}  {middle}{words}"


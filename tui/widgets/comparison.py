"""Runs side by side as text: their best figures, and the keys in which their recipes differ."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text
from textual.widgets import Static

from engine.errors import printable
from tui.comparing import LETTERS, Column
from tui.curves import CLASS_INKS
from tui.dots import sample
from tui.recipes import RecipeReading, differing
from tui.view import RunView
from tui.widgets.inked import Piece, inked_text
from tui.words import fit, sign

_SAMPLE_COLUMNS = 6
_LEAST_NAME, _MOST_NAME = 12, 34
_MOST_KEY = 34
_LEAST_VALUE = 9
_GAP = 2
_STAR = "★"


class Comparison(Static):
    """Two tables; scrolls with what holds it."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = Text()

    def show(
        self, views: Sequence[RunView], columns: Sequence[Column], recipes: Sequence[RecipeReading | None], width: int
    ) -> None:
        """Write it all anew.

        Args:
            views: The runs.
            columns: Their figures.
            recipes: Their recipes; None where one is still read.
            width: Cells there are.
        """
        lines = [*_figures(views, columns, width), [], *_differences(recipes, width)]
        text = Text("\n").join(inked_text(self, line) for line in lines)
        if text != self._shown:
            self._shown = text
            self.update(text)


def _figures(views: Sequence[RunView], columns: Sequence[Column], width: int) -> list[list[Piece]]:
    """A row a run; columns that find no room are left out, the weightiest never."""
    lead = 1 + _SAMPLE_COLUMNS + 3 + 5
    longest = max((len(printable(view.name)) for view in views), default=_LEAST_NAME)
    name_room = max(_LEAST_NAME, min(_MOST_NAME, longest, width // 3))
    kept: list[tuple[Column, int]] = []
    left = width - lead - name_room - _GAP
    for column in columns:
        room = max(len(column.title), *(cell_len(text) + 2 for text in column.texts), 0) + _GAP
        if all(value is None for value in column.values) or room > left:
            continue
        kept.append((column, room))
        left -= room
    head: list[Piece] = [(" " * (lead + name_room + _GAP), "")]
    head += [(f"{column.title:>{room - 2}}  ", "muted") for column, room in kept]
    return [head, *(_row(view, index, kept, name_room) for index, view in enumerate(views))]


def _row(view: RunView, index: int, columns: Sequence[tuple[Column, int]], name_room: int) -> list[Piece]:
    ink = CLASS_INKS[index]
    name = fit(printable(view.name), name_room)
    row: list[Piece] = [
        (f" {sample(index, _SAMPLE_COLUMNS)} ", ink), (f"{LETTERS[index]} ", f"{ink}!"), (f"{view.number} ", "muted"),
        (name + " " * (name_room - cell_len(name)), "strong"), (f" {sign(view.state)}", view.state),
    ]
    for column, room in columns:
        is_best = index in column.best
        row.append((f"{column.texts[index]:>{room - 2}}", "strong" if is_best else "text"))
        row.append((f"{_STAR} " if is_best else "  ", "accent"))
    return row


def _differences(recipes: Sequence[RecipeReading | None], width: int) -> list[list[Piece]]:
    """A row a key, a column a run; what most runs share is faint, so that what is special stands out."""
    if any(recipe is None for recipe in recipes):
        return [[(" reading the recipes", "muted")]]
    troubled = [
        [(f" {LETTERS[index]}: {recipe.trouble}", "warning")]
        for index, recipe in enumerate(recipes) if recipe is not None and recipe.trouble
    ]  # fmt: skip
    readable = [(index, recipe) for index, recipe in enumerate(recipes) if recipe is not None and not recipe.trouble]
    if len(readable) < 2:
        return troubled
    rows = differing([recipe for _, recipe in readable])
    if not rows:
        return [*troubled, [(" The recipes are the same.", "text")]]
    key_room = min(_MOST_KEY, max(len(printable(key)) for key, _ in rows), width // 2)
    count = max(1, min(len(readable), (width - key_room - 3) // (_LEAST_VALUE + _GAP)))
    room = min(44, (width - key_room - 3) // count - _GAP)
    widest = max(len(printable(value)) for _, values in rows for value in values[:count])
    room = max(_LEAST_VALUE, min(room, widest))
    head: list[Piece] = [(f" {'recipe key':<{key_room}}  ", "muted")]
    head += [(f"{LETTERS[index]:<{room + _GAP}}", f"{CLASS_INKS[index]}!") for index, _ in readable[:count]]
    if count < len(readable):
        head.append((f"and {len(readable) - count} more", "muted"))
    told = [head]
    for key, values in rows:
        line: list[Piece] = [(f" {fit(printable(key), key_room):<{key_room}}  ", "text")]
        for value in values[:count]:
            is_common = values.count(value) * 2 > len(values)
            text = fit(_brief(printable(value), room), room)
            line.append((text + " " * (room + _GAP - cell_len(text)), "muted" if is_common else "strong"))
        told.append(line)
    return [*troubled, *told]


def _brief(value: str, room: int) -> str:
    """A text without its quotes, of a long path its end, where paths differ; other values as they are."""
    if not (value.startswith('"') and value.endswith('"')):
        return value
    text = value[1:-1]
    return text if len(text) <= room or "/" not in text else "…" + text[len(text) - room + 1 :]

"""Every key there is, panel by panel, taken from the bindings themselves so that none is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.widgets.inked import Piece, inked_text, width_of
from tui.words import SIGNS

Group = tuple[str, Sequence[Binding]]
"""A panel's title, and its keys."""

_KEY_WORDS = {
    "up": "↑", "down": "↓", "left": "←", "right": "→", "question_mark": "?", "escape": "Esc", "enter": "Enter",
    "tab": "Tab", "shift+tab": "Shift+Tab", "home": "Home", "end": "End", "pageup": "PgUp", "pagedown": "PgDn",
    "space": "Space", "ctrl+p": "Ctrl+P", "ctrl+c": "Ctrl+C", "upper_g": "G", "slash": "/", "plus": "+",
    "minus": "-", "delete": "Del", "shift+up": "Shift+↑", "shift+down": "Shift+↓", "shift+left": "Shift+←",
    "shift+right": "Shift+→", "backspace": "Backspace", "comma": ",", "full_stop": ".", "colon": ":",
    "equals_sign": "=", "left_square_bracket": "[", "right_square_bracket": "]", "less_than_sign": "<",
    "greater_than_sign": ">", "underscore": "_",
}  # fmt: skip

_KEY_ROOM = 9
_COLUMN = 38
_INDENT: Piece = (" " * 3, "")


class HelpScreen(ModalScreen[None]):
    """A card over the dashboard.

    Args:
        groups: The keys, by where they work; those of no use to anybody have no description.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "Close this help", show=False),
        Binding("j,down", "scroll(1)", "Scroll down", show=False),
        Binding("k,up", "scroll(-1)", "Scroll up", show=False),
        Binding("pagedown,space", "scroll(15)", "Page down", show=False),
        Binding("pageup", "scroll(-15)", "Page up", show=False),
        Binding("g,home", "scroll(-10000)", "To the top", show=False),
        Binding("G,end", "scroll(10000)", "To the end", show=False),
    ]

    def __init__(self, groups: Sequence[Group]) -> None:
        super().__init__()
        self._groups = groups

    def compose(self) -> ComposeResult:
        """The card."""
        with VerticalScroll(id="help"):
            yield Static(id="help-text")

    def on_mount(self) -> None:
        """Write the text in the theme's inks."""
        card = self.query_one("#help", VerticalScroll)
        card.border_title = "Keys"
        card.border_subtitle = "↑↓ scroll   Esc closes"
        body = self.query_one("#help-text", Static)
        body.update(Text("\n").join(inked_text(body, line) for line in help_lines(self._groups)))

    def action_scroll(self, lines: int) -> None:
        """Scroll the card."""
        self.query_one("#help", VerticalScroll).scroll_relative(y=lines, animate=False)


def help_lines(groups: Iterable[Group]) -> list[list[Piece]]:
    """Every group's keys in two columns, then what the signs mean."""
    lines: list[list[Piece]] = []
    for title, bindings in groups:
        keys = [_key_line(binding) for binding in bindings if binding.description]
        if keys:
            lines += [[(title, "strong")], *_two_columns(keys), []]
    signs = [(f"{sign} {state}   ", state) for state, sign in SIGNS.items()]
    return [
        *lines, [("Signs", "strong")], [_INDENT, *signs[:5]], [_INDENT, *signs[5:]], [],
        [_INDENT, ("Keys act on the marked runs, or on the chosen one where none is marked.", "muted")],
        [_INDENT, ("Leaving never stops training; several may watch.", "muted")],
    ]  # fmt: skip


def key_words(key: str) -> str:
    """A binding's keys as they are written on them."""
    return " ".join(_KEY_WORDS.get(one, one) for one in key.split(","))


def _key_line(binding: Binding) -> list[Piece]:
    keys = key_words(binding.key)
    pad = " " * max(0, _KEY_ROOM - cell_len(keys))
    line: list[Piece] = [(f"{pad}{keys}  ", "accent!"), (binding.description, "text")]
    return [*line, (" " * max(1, _COLUMN - width_of(line)), "")]


def _two_columns(lines: Sequence[list[Piece]]) -> list[list[Piece]]:
    """The first half beside the second, so that most of it fits on a small screen."""
    half = (len(lines) + 1) // 2
    nothing: list[Piece] = []
    return [[*left, *right] for left, right in zip_longest(lines[:half], lines[half:], fillvalue=nothing)]

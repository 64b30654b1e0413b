"""Every key there is, taken from the bindings themselves so that none is missing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.widgets.inked import Piece, inked_text
from tui.words import SIGNS

_KEY_WORDS = {
    "up": "↑", "down": "↓", "left": "←", "right": "→", "question_mark": "?", "escape": "Esc", "enter": "Enter",
    "tab": "Tab", "shift+tab": "Shift+Tab", "home": "Home", "end": "End", "pageup": "PgUp", "pagedown": "PgDn",
    "space": "Space", "ctrl+p": "Ctrl+P", "ctrl+c": "Ctrl+C", "upper_g": "G",
}  # fmt: skip


_KEY_ROOM = 9
_WORD_ROOM = 25
_INDENT: Piece = (" " * 3, "")


class HelpScreen(ModalScreen[None]):
    """A card over the dashboard.

    Args:
        bindings: What the keys do.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "Close this help", show=False)
    ]

    def __init__(self, bindings: Sequence[Binding]) -> None:
        super().__init__()
        self._keys = bindings

    def compose(self) -> ComposeResult:
        """The card."""
        with VerticalScroll(id="help"):
            yield Static(id="help-text")

    def on_mount(self) -> None:
        """Write the text in the theme's inks."""
        card = self.query_one("#help", VerticalScroll)
        card.border_title = "Keys"
        card.border_subtitle = "Esc closes"
        signs = [(f"{sign} {state}   ", state) for state, sign in SIGNS.items()]
        lines = [*_two_columns([_key_line(binding) for binding in self._keys]), [], [_INDENT, *signs[:5]]]
        lines += [[_INDENT, *signs[5:]], [], [_INDENT, ("Leaving never stops training; several may watch.", "muted")]]
        body = self.query_one("#help-text", Static)
        body.update(Text("\n").join(inked_text(body, line) for line in lines))


def _key_line(binding: Binding) -> list[Piece]:
    keys = " ".join(_KEY_WORDS.get(key, key) for key in binding.key.split(","))
    return [(f"{keys:>{_KEY_ROOM}}  ", "accent!"), (binding.description.ljust(_WORD_ROOM), "text")]


def _two_columns(lines: Sequence[list[Piece]]) -> list[list[Piece]]:
    """The first half beside the second, so that all of it fits on 24 lines."""
    half = (len(lines) + 1) // 2
    nothing: list[Piece] = []
    return [[*left, *right] for left, right in zip_longest(lines[:half], lines[half:], fillvalue=nothing)]

"""Every key there is, taken from the bindings themselves so that none is missing."""

from __future__ import annotations

from collections.abc import Sequence
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
    "ctrl+p": "Ctrl+P", "ctrl+c": "Ctrl+C", "upper_g": "G",
}  # fmt: skip


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
        lines: list[list[Piece]] = [
            *([(f"{_key_words(key.key):>14}  ", "accent!"), (key.description, "text")] for key in self._keys),
            [],
            [(f"{'Signs':>14}  ", "muted"), *signs[:4]],
            [(" " * 16, ""), *signs[4:]],
            [],
            [(f"{'Leaving':>14}  ", "muted"), ("never stops training; several may watch", "text")],
        ]
        body = self.query_one("#help-text", Static)
        body.update(Text("\n").join(inked_text(body, line) for line in lines))


def _key_words(keys: str) -> str:
    return " ".join(_KEY_WORDS.get(key, key) for key in keys.split(","))

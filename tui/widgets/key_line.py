"""The last line of the screen: the keys one needs most; each can be clicked."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from tui.widgets.inked import ink_style

Hint = tuple[str, str, str]
"""Key, word, action."""

# The open panel's own keys stand between these; the last ones go first when the screen is narrow.
_FIRST: tuple[Hint, ...] = (
    ("q", "leave", "app.leave"),
    ("?", "keys", "screen.help"),
    ("↑↓", "run", "screen.move(1)"),
    ("Tab", "panel", "screen.next_panel(1)"),
)
_LAST: tuple[Hint, ...] = (
    ("f", "full width", "screen.full_width"),
    ("t", "dark or light", "app.switch_theme"),
    ("^p", "palette", "app.command_palette"),
)


class KeyLine(Widget):
    """Keys and what they do, as many as fit."""

    DEFAULT_CSS = "KeyLine { height: 1; }"

    def __init__(self, hints: Sequence[Hint] = ()) -> None:
        super().__init__()
        self.auto_links = False
        self._hints = tuple(hints)

    def show(self, hints: Sequence[Hint]) -> None:
        """Name other keys."""
        if tuple(hints) != self._hints:
            self._hints = tuple(hints)
            self.refresh()

    def render(self) -> Text:
        """The line."""
        text = Text(" ", no_wrap=True)
        for key, word, action in (*_FIRST, *self._hints, *_LAST):
            if text.cell_len + cell_len(key) + len(word) + 3 > self.size.width:
                break
            click = Style(meta={"@click": action})
            text.append(key, ink_style(self, "accent!") + click)
            text.append(f" {word}", ink_style(self, "muted") + click)
            text.append("   ")
        return text

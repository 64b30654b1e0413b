"""The last line of the screen: the keys one needs most; each can be clicked."""

from __future__ import annotations

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from tui.widgets.inked import ink_style

# Key, word, action; the first ones stay longest when the screen is narrow.
_HINTS = (
    ("q", "leave", "app.leave"),
    ("?", "keys", "screen.help"),
    ("↑↓", "run", "screen.move(1)"),
    ("1-5", "panel", "screen.next_panel"),
    ("←→", "epoch", "screen.epoch(1)"),
    ("n p", "image", "screen.image(1)"),
    ("l", "log axis", "screen.log_axis"),
    ("s", "calm or raw", "screen.smooth"),
    ("f", "full width", "screen.full_width"),
    ("t", "dark or light", "app.switch_theme"),
    ("^p", "palette", "app.command_palette"),
)


class KeyLine(Widget):
    """Keys and what they do, as many as fit."""

    DEFAULT_CSS = "KeyLine { height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self.auto_links = False

    def render(self) -> Text:
        """The line."""
        text = Text(" ", no_wrap=True)
        for key, word, action in _HINTS:
            if text.cell_len + cell_len(key) + len(word) + 3 > self.size.width:
                break
            click = Style(meta={"@click": action})
            text.append(key, ink_style(self, "accent!") + click)
            text.append(f" {word}", ink_style(self, "muted") + click)
            text.append("   ")
        return text

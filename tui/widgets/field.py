"""A line to type into that shows only while one types. Its cursor stands still: each blink would be sent over SSH."""

from __future__ import annotations

from textual.widgets import Input
from textual.widgets.input import Selection


class Field(Input):
    """Textual's input, hidden until it is opened."""

    def __init__(self, placeholder: str, *, id: str) -> None:  # noqa: A002
        super().__init__(placeholder=placeholder, id=id, compact=True, select_on_focus=False)
        self.cursor_blink = False
        self.display = False

    def open(self) -> None:
        """Show it with what it holds selected, and have it get what is typed."""
        self.display = True
        self.selection = Selection(0, len(self.value))
        self.screen.set_focus(self)  # at once: what is typed next is meant for it

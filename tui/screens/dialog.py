"""Questions before something is done that stops training or takes a run away, and a run explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.theme import inks
from tui.widgets.hanging import HangingLines
from tui.widgets.inked import Piece


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer.

    Attributes:
        key: What is typed for it.
        words: What it does.
        answer: What the dialog is dismissed with; "" for leaving things as they are.
    """

    key: str
    words: str
    answer: str


class ChoiceDialog(ModalScreen[str]):
    """A question with answers; the one that changes nothing is the one Enter takes at first.

    Args:
        title: What it is about.
        lines: What will be, and what is kept.
        choices: The answers; "leave it" is added.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n,q", "leave", "Change nothing", show=False),
        Binding("j", "cursor(1)", "Next answer", show=False),
        Binding("k", "cursor(-1)", "Answer before", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[Sequence[Piece]], choices: Sequence[Choice]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._choices = (*choices, Choice("n", "change nothing", ""))
        self._options = OptionList(id="dialog-choices")
        self._text = Static(id="dialog-text")

    def compose(self) -> ComposeResult:
        """The card."""
        with VerticalScroll(id="dialog", can_focus=False):
            yield self._text
            yield self._options

    def on_mount(self) -> None:
        """Write everything in the theme's inks, and begin at the answer that changes nothing."""
        card = self.query_one("#dialog")
        card.border_title = Text(self._title)
        card.border_subtitle = "Esc changes nothing"
        self._text.update(HangingLines(self._text, self._lines))
        for choice in self._choices:
            told = Text(no_wrap=True)  # without a background: the cursor has its own
            told.append(f" {choice.key}  ", f"bold {inks(self.app.theme)['accent']}")
            told.append(choice.words, inks(self.app.theme)["text"])
            self._options.add_option(Option(told))
        self._options.highlighted = len(self._choices) - 1
        self._options.focus()

    def on_key(self, event: events.Key) -> None:
        """Take the answer whose key was typed; y is yes where only one would change something."""
        first, *others = self._choices
        typed = first.key if event.character == "y" and len(others) == 1 else event.character
        for choice in self._choices:
            if typed == choice.key:
                event.stop()
                self.dismiss(choice.answer)
                return

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take the answer that was clicked or entered."""
        self.dismiss(self._choices[event.option_index].answer)

    def action_leave(self) -> None:
        """Change nothing."""
        self.dismiss("")

    def action_cursor(self, places: int) -> None:
        """Go to another answer."""
        if places > 0:
            self._options.action_cursor_down()
        else:
            self._options.action_cursor_up()


class ExplainScreen(ModalScreen[str]):
    """A run explained: why it waits, failed or stands still, and what to do about it.

    Args:
        title: The run.
        lines: The explanation.
        keys: Keys that may follow, what they do, and what the screen is dismissed with for each.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,e", "leave", "Close", show=False),
        Binding("j,down", "scroll(1)", "Scroll down", show=False),
        Binding("k,up", "scroll(-1)", "Scroll up", show=False),
        Binding("pagedown,space", "scroll(10)", "Page down", show=False),
        Binding("pageup", "scroll(-10)", "Page up", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[Sequence[Piece]], keys: Sequence[Choice]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._follow = keys

    def compose(self) -> ComposeResult:
        """The card."""
        with VerticalScroll(id="dialog"):
            yield Static(id="dialog-text")

    def on_mount(self) -> None:
        """Write the text in the theme's inks."""
        card = self.query_one("#dialog", VerticalScroll)
        card.border_title = Text(self._title)
        hints = "   ".join(f"{choice.key} {choice.words}" for choice in (*self._follow, Choice("Esc", "closes", "")))
        card.border_subtitle = Text(hints)
        body = self.query_one("#dialog-text", Static)
        body.update(HangingLines(body, self._lines))

    def on_key(self, event: events.Key) -> None:
        """Take what follows."""
        for choice in self._follow:
            if event.character == choice.key or event.key == choice.key.lower():
                event.stop()
                self.dismiss(choice.answer)
                return

    def action_leave(self) -> None:
        """Close."""
        self.dismiss("")

    def action_scroll(self, lines: int) -> None:
        """Scroll the text."""
        self.query_one("#dialog", VerticalScroll).scroll_relative(y=lines, animate=False)

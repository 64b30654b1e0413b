"""Lines that wrap under their own words."""

from __future__ import annotations

import pytest
from rich.console import Console
from rich.text import Text
from textual.app import App
from textual.widgets import Static

from tui.theme import DARK, THEMES
from tui.widgets.hanging import HangingLines
from tui.widgets.inked import Piece


@pytest.mark.parametrize(
    ("lines", "width", "shown"),
    [
        pytest.param([], 20, [], id="nothing"),
        pytest.param([[]], 20, [""], id="empty"),
        pytest.param([[("! ", "warning"), ("one two three", "text")]], 10, ["! one two", "  three"], id="sign"),
        pytest.param([[("  → ", "accent"), ("r", "accent!"), (" or that", "text")]], 12, ["  → r or", "    that"],
                     id="pieces"),
        pytest.param([[("  one two three", "text")]], 10, ["  one two", "  three"], id="spaces"),
        pytest.param([[("one two three", "text")]], 10, ["one two", "three"], id="plain"),
        pytest.param([[("! ", "warning"), ("abcdefghijklmnop", "text")]], 12, ["! abcdefghij", "  klmnop"],
                     id="long-word"),
        pytest.param([[("✘ ", "failed!"), ("猫猫猫 猫猫", "text")]], 10, ["✘ 猫猫猫", "  猫猫"], id="wide"),
        pytest.param([[("! ", "warning"), ("one", "text")]], 5, ["! one"], id="little-room"),
    ],
)  # fmt: skip
async def test_what_is_left_of_a_line_hangs_below_its_words(
    lines: list[list[Piece]], width: int, shown: list[str]
) -> None:
    app: App[None] = App()
    for ours in THEMES:
        app.register_theme(ours)
    app.theme = DARK
    async with app.run_test():
        widget = Static()
        await app.mount(widget)
        console = Console(width=width)
        with console.capture() as captured:
            console.print(HangingLines(widget, lines))
        told = [Text.from_ansi(line).plain.rstrip() for line in captured.get().splitlines()]
        assert told == shown

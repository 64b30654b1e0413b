"""Runs the dashboard in this terminal and leaves the terminal as it was."""

from __future__ import annotations

import sys
from pathlib import Path

from tui.app import WatchApp
from tui.graphics import choose_graphics
from tui.terminal import TerminalGuard, missing_terminal
from tui.theme import DARK, LIGHT


def watch(runs_dir: Path, graphics: str, theme: str) -> int:
    """Show the dashboard until the person leaves.

    Args:
        runs_dir: The runs folder; it may be missing.
        graphics: One of `tui.graphics.GRAPHICS_CHOICES`.
        theme: "dark" or "light".

    Returns:
        The exit status: 0 after `q`, 1 without a terminal, 128 + N after signal N.
    """
    missing = missing_terminal()
    if missing:
        message = f"engine watch needs a terminal, and its standard {missing} isn't one"
        sys.stderr.write(f"{message}; try `engine status` or `engine watch --once`\n")
        return 1
    app = WatchApp(runs_dir, choose_graphics(graphics), LIGHT if theme == "light" else DARK)
    with TerminalGuard(lambda status: app.exit(return_code=status)):
        app.run()
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0

"""Runs the dashboard in this terminal and leaves the terminal as it was."""

from __future__ import annotations

import os
import sys

from tui.app import WatchApp
from tui.graphics import Graphic, choose_graphics
from tui.target import Target
from tui.terminal import TerminalGuard, missing_terminal
from tui.theme import DARK, LIGHT

_IN_BROWSER = "web_driver"


def watch(target: Target, graphics: str, theme: str) -> int:
    """Show the dashboard until the person leaves.

    Args:
        target: The runs folder, which may be missing, or one run.
        graphics: One of `tui.graphics.GRAPHICS_CHOICES`.
        theme: "dark" or "light".

    Returns:
        The exit status: 0 after `q`, 1 without a terminal, 128 + N after signal N.
    """
    if _IN_BROWSER in os.environ.get("TEXTUAL_DRIVER", ""):  # a page of `engine watch --serve`
        return _run(_app(target, Graphic(), theme))
    missing = missing_terminal()
    if missing:
        message = f"engine watch needs a terminal, and its standard {missing} isn't one"
        sys.stderr.write(f"{message}; try `engine status` or `engine watch --once`\n")
        return 1
    app = _app(target, choose_graphics(graphics), theme)
    with TerminalGuard(lambda status: app.exit(return_code=status)):
        return _run(app)


def _app(target: Target, graphics: Graphic, theme: str) -> WatchApp:
    return WatchApp(target.runs_dir, graphics, LIGHT if theme == "light" else DARK, target.only)


def _run(app: WatchApp) -> int:
    app.run()
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0

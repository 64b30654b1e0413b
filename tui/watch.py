"""Runs the dashboard in this terminal and leaves the terminal as it was.

The terminal is taken and asked first; Textual, which takes half a second to import, comes after.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from tui.graphics import Graphic, asks_terminal, choose_graphics
from tui.inquiry import Inquiry
from tui.target import Target
from tui.terminal import TerminalGuard, missing_terminal

if TYPE_CHECKING:
    from tui.app import WatchApp

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
        return _run(_app(target, Graphic, theme))
    missing = missing_terminal()
    if missing:
        message = f"engine watch needs a terminal, and its standard {missing} isn't one"
        sys.stderr.write(f"{message}; try `engine status` or `engine watch --once`\n")
        return 1
    with TerminalGuard() as guard:
        answers = None
        if asks_terminal(graphics):
            guard.inquiry.ask()
            answers = guard.inquiry.features
        app = _app(target, lambda: choose_graphics(graphics, answers), theme, guard.inquiry)
        guard.leave = lambda status: app.exit(return_code=status)
        status = _run(app)
    if status == 0 and app.parting:
        sys.stdout.write(f"{app.parting}\n")
    return status


def _app(target: Target, choose: Callable[[], Graphic], theme: str, inquiry: Inquiry | None = None) -> WatchApp:
    gc.disable()  # what is imported stays: looking for garbage in it meanwhile takes a tenth of the start
    from tui.app import WatchApp  # noqa: PLC0415
    from tui.driver import driver_for  # noqa: PLC0415
    from tui.theme import DARK, LIGHT  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    driver = driver_for(inquiry) if inquiry is not None else None
    return WatchApp(target.runs_dir, choose(), LIGHT if theme == "light" else DARK, target.only, driver=driver)


def _run(app: WatchApp) -> int:
    app.run()
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0

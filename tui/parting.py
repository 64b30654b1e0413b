"""What is said on the terminal once the dashboard was left: what goes on, and how to see it again. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from engine.errors import printable
from tui.feed import Fleet
from tui.view import RunView

_USUAL = "runs"


def parting_words(fleet: Fleet, views: Sequence[RunView], runs_dir: Path, only: str = "") -> str:
    """One line; "" where nothing goes on and nothing waits."""
    if not fleet.has_queue or fleet.trouble:
        return ""
    busy = sum(view.is_worked_on for view in views)
    waiting = sum(view.is_waiting for view in views)
    is_usual = str(runs_dir) == _USUAL
    folder = "" if is_usual else f" --runs {shlex.quote(str(runs_dir))}"
    target = runs_dir / only if only else runs_dir
    again = "" if is_usual and not only else f" {shlex.quote(str(target))}"
    rest = f", {waiting} more wait{'s' if waiting == 1 else ''}" if waiting else ""
    words = ""
    if busy:
        pause = "; then the queue pauses" if fleet.is_paused and waiting else rest
        words = f"Training goes on: {busy} at work{pause}. `engine watch{again}` opens this again."
    elif waiting and fleet.is_paused:
        words = f"The queue is paused, {_wait(waiting)}. `engine unpause{folder}` goes on."
    elif waiting and fleet.is_supervised:
        words = f"The queue is worked on, {_wait(waiting)}. `engine watch{again}` opens this again."
    elif waiting:
        words = f"Nobody is at work, and {_wait(waiting)}. `engine resume --detach{folder}` starts."
    return printable(words)


def _wait(number: int) -> str:
    return "a run waits" if number == 1 else f"{number} runs wait"

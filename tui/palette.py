"""What the command palette offers: everything that may be done to runs, panels, runs and looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from textual.app import SystemCommand

from engine.errors import printable
from tui.asking import Verb
from tui.offering import can_control, can_pause, can_start, those_that_can
from tui.screens.main import MainScreen
from tui.view import RunView

# Words of a command, what it does, what is asked for.
_VERBS: tuple[tuple[str, str, Verb], ...] = (
    ("Retry", "Queue it again; it goes on from its last checkpoint", "retry"),
    ("Release", "Let a held run go on, or start a postponed one now", "release"),
    ("Hold", "Keep a queued run from being started", "hold"),
    ("Stop", "Save and stop now, after this epoch, or kill; asks first", "stop"),
    ("Cancel", "Take it out of the running; asks first", "cancel"),
    ("First in the queue", "Before all others that wait", "first"),
    ("Last in the queue", "After all others that wait", "last"),
    ("Earlier in the queue", "One place up", "up"),
    ("Later in the queue", "One place down", "down"),
    ("Higher priority", "One more", "raise"),
    ("Lower priority", "One less", "lower"),
    ("Remove", "Out of every list, its folder is kept; asks first", "remove"),
)


def control_commands(screen: MainScreen) -> Iterator[SystemCommand]:
    """What can be done to the marked runs, or to the chosen one, and to the queue."""
    scene = screen.scene
    if scene is None:
        return
    if can_start(scene):
        told = "Train what waits, in the background; asks first"
        yield SystemCommand("Start to work on the queue", told, screen.action_start)
    views = screen.targets()
    if can_control(scene):
        for words, told, verb in _VERBS:
            if able := those_that_can(verb, views):
                yield SystemCommand(f"{words}: {_what(able)}", told, partial(screen.action_ask, verb))
    if scene.chosen is not None:
        what = _what([scene.chosen])
        yield SystemCommand(f"Explain: {what}", "Why it is as it is, and what to do", screen.action_explain)
    if not can_pause(scene):
        return
    is_paused = scene.fleet.is_paused
    told = "Start runs again" if is_paused else "Start nothing new; asks first"
    yield SystemCommand("Unpause the queue" if is_paused else "Pause the queue", told, screen.action_pause_or_go_on)


def _what(views: Sequence[RunView]) -> str:
    return printable(views[0].run_id) if len(views) == 1 else f"{len(views)} marked runs"


def view_commands(screen: MainScreen, pick: Callable[[str], None]) -> Iterator[SystemCommand]:
    """Panels and runs to go to.

    Args:
        screen: The main screen.
        pick: Chooses a run.
    """
    yield SystemCommand("Full width", "Hide or show the list of runs", screen.action_full_width)
    yield SystemCommand("Mark", "Mark the chosen run, or unmark it", screen.action_mark)
    for panel in screen.panels:
        yield SystemCommand(panel.TITLE, "Open this panel", partial(screen.action_panel, panel.PANEL))
    for view in screen.scene.views if screen.scene is not None else ():
        yield SystemCommand(printable(f"Run {view.run_id}"), view.state, partial(pick, view.run_id))

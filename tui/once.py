"""A picture of the state as text, for `engine watch --once`."""

from __future__ import annotations

import sys
import textwrap
import time

from rich.console import Console
from rich.text import Text

from engine.errors import printable
from engine.standing import Board
from tui.arranging import Arrangement
from tui.curves import loss_plot
from tui.feed import Feed, Fleet, FleetChange, RunChange
from tui.gauges import Gauges
from tui.look import Look
from tui.overseer import BoardChange, GaugesChange
from tui.plot import draw
from tui.questions import reasons_for
from tui.scene import Scene
from tui.target import Target
from tui.theme import DARK, inks
from tui.view import RunView
from tui.widgets.gauge_line import done_piece, gauge_groups
from tui.widgets.inked import Piece, width_of
from tui.widgets.queue import run_lines

_WIDEST = 110
_LIST_WIDTH = 72
_CHART_ROWS = 12
_GAP = "   "
# Narrower than this nothing can be read, and lines run on.
_LEAST_ROOM = 20


def print_once(target: Target) -> None:
    """Print how the queue and the machine do, every run by its turn, and the loss of the one that matters most."""
    console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    width = min(_WIDEST, console.width)
    scene = _read(target)
    if not scene.views:
        folder = printable(str(target.runs_dir))
        found = f"nothing in {folder} yet" if target.runs_dir.exists() else f"there is no folder {folder} yet"
        console.print(Text(f"{found}; try: engine run recipes/*.toml"))
        return
    head = _own_lines(scene, width) if target.only else _state_lines(scene, width)
    for line in head:
        console.print(_text(line), soft_wrap=True)
    if head:
        console.print()
    for view in Arrangement().apply(scene.views, scene.board):
        for line in _run_lines(view, scene, width):
            if line:
                console.print(_text(line), soft_wrap=True)
        console.print()
    drawn = [view for view in scene.views if view.steps.length]
    chosen = next((view for view in drawn if view.is_active), drawn[-1] if drawn else None)
    if chosen is not None:
        console.print(Text(f"Loss of {printable(chosen.run_id)}", style="bold"))
        canvas = draw(loss_plot(chosen, Look(), marks=False), width, _CHART_ROWS)
        for row in range(_CHART_ROWS):
            console.print(_text(canvas.runs(row)), soft_wrap=True)


def _state_lines(scene: Scene, width: int) -> list[list[Piece]]:
    lines = _told("", scene.fleet.trouble, "warning", width)
    line: list[Piece] = []
    for group in gauge_groups(scene, "`engine run`"):
        if line and width_of(line) + len(_GAP) + width_of(group) > width:
            lines.append(line)
            line = []
        line += [*([(_GAP, "")] if line else []), *group]
    lines.append(line)
    if scene.board.paused is not None:
        words = f"the queue is paused ({scene.board.paused}); `engine unpause` goes on"
        lines += _told("", words, "warning", width)
    return lines


def _own_lines(scene: Scene, width: int) -> list[list[Piece]]:
    """Above a single run: nothing of its neighbours, nor of the machine, which another one may have trained it."""
    done = done_piece(scene)
    return [*_told("", scene.fleet.trouble, "warning", width), *([done] if done else [])]


def _told(head: str, text: str, ink: str, width: int) -> list[list[Piece]]:
    """Words on as many lines as they need, the later ones below the first word."""
    parts = textwrap.wrap(printable(text), max(_LEAST_ROOM, width - len(head)))
    return [[(head if index == 0 else " " * len(head), "accent"), (part, ink)] for index, part in enumerate(parts)]


def _run_lines(view: RunView, scene: Scene, width: int) -> list[list[Piece]]:
    """A run as the list of runs shows it, and for one that failed or is held all of why, and what to do about it."""
    lines = run_lines(view, min(width, _LIST_WIDTH), scene.now)
    if view.state in ("failed", "held"):
        if view.state == "failed":
            lines = [*lines[:2], *_told("  ", view.reason, "muted", width)]
        fixes = [reason.fix for reason in reasons_for(view, scene) if reason.fix][:1]
        lines += [line for fix in fixes for line in _told("  → ", fix, "text", width)]
    return lines


def _read(target: Target) -> Scene:
    feed, fleet, views = Feed(target.runs_dir, target.only), Fleet(), dict[str, RunView]()
    board, gauges = Board(), Gauges()
    while not feed.is_read:
        for change in feed.poll():
            match change:
                case FleetChange():
                    fleet = change.fleet
                case RunChange():
                    views[change.view.run_id] = change.view
                case BoardChange():
                    board = change.board
                case GaugesChange():
                    gauges = change.gauges
    known = tuple(views[run] for run in fleet.run_ids if run in views)
    return Scene(fleet, known, None, (), time.time(), board=board, gauges=gauges)


def _text(pieces: list[Piece]) -> Text:
    palette = inks(DARK)
    text = Text(no_wrap=True)
    for part, ink in pieces:
        name = ink.removesuffix("!")
        # Plain text stays in the terminal's own colour: it may be a light one.
        colour = "" if name in {"text", "strong", ""} else palette.get(name, "")
        text.append(part, f"{'bold ' if ink == 'strong' or ink != name else ''}{colour}".strip())
    return text

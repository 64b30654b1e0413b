"""A picture of the state as text, for `engine watch --once`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from engine.errors import printable
from tui.curves import loss_plot
from tui.feed import Feed, Fleet, FleetChange, RunChange
from tui.look import Look
from tui.plot import draw
from tui.theme import DARK, inks
from tui.view import RunView
from tui.widgets.inked import Piece
from tui.widgets.queue import run_lines

_WIDEST = 110
_CHART_ROWS = 12


def print_once(runs_dir: Path) -> None:
    """Print every run, and the loss of the one that matters most."""
    console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    width = min(_WIDEST, console.width)
    fleet, views = _read(runs_dir)
    if not views:
        console.print(Text(f"nothing in {printable(str(runs_dir))} yet; try: engine run recipes/*.toml"))
        return
    if fleet.trouble:
        console.print(Text(printable(fleet.trouble), style="yellow"), soft_wrap=True)
    for view in views:
        for line in run_lines(view, min(width, 72), time.time()):
            if line:
                console.print(_text(line), soft_wrap=True)
        console.print()
    drawn = [view for view in views if view.steps.length]
    chosen = next((view for view in drawn if view.is_active), drawn[-1] if drawn else None)
    if chosen is not None:
        console.print(Text(f"Loss of {printable(chosen.run_id)}", style="bold"))
        canvas = draw(loss_plot(chosen, Look(), marks=False), width, _CHART_ROWS)
        for row in range(_CHART_ROWS):
            console.print(_text(canvas.runs(row)), soft_wrap=True)


def _read(runs_dir: Path) -> tuple[Fleet, list[RunView]]:
    feed, fleet, views = Feed(runs_dir), Fleet(), dict[str, RunView]()
    while not feed.is_read:
        for change in feed.poll():
            match change:
                case FleetChange():
                    fleet = change.fleet
                case RunChange():
                    views[change.view.run_id] = change.view
    return fleet, [views[run] for run in fleet.run_ids if run in views]


def _text(pieces: list[Piece]) -> Text:
    palette = inks(DARK)
    text = Text(no_wrap=True)
    for part, ink in pieces:
        name = ink.removesuffix("!")
        # Plain text stays in the terminal's own colour: it may be a light one.
        colour = "" if name in {"text", "strong", ""} else palette.get(name, "")
        text.append(part, f"{'bold ' if ink == 'strong' or ink != name else ''}{colour}".strip())
    return text

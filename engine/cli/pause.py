"""`engine pause`: start nothing new."""

from __future__ import annotations

from pathlib import Path

import click

from engine import control
from engine.cli.choosing import conclude, opened
from engine.cli.options import runs_option
from engine.cli.printing import console


@click.command("pause")
@click.option("--stop", "put_back", is_flag=True, help="Also save the runs at work and put them back into the queue.")
@click.option("--reason", default="paused by hand", show_default=True, help="What `engine queue` tells others.")
@runs_option
def command(runs_dir: Path, reason: str, *, put_back: bool) -> None:
    """Pause the whole queue: nothing new is started until `engine unpause`.

    A run at work goes on to its end unless --stop is given. Exit code 0.
    """
    with opened(runs_dir) as queue:
        changes = control.pause(queue, reason, put_back=put_back)
        console().print("the queue is paused; `engine unpause` goes on")
        conclude(changes)

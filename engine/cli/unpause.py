"""`engine unpause`: start runs again."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.choosing import opened, tell_who_works
from engine.cli.options import runs_option
from engine.cli.printing import console


@click.command("unpause")
@runs_option
def command(runs_dir: Path) -> None:
    """Start runs again after `engine pause`.

    Exit code 0, also when the queue wasn't paused.
    """
    with opened(runs_dir) as queue:
        was_paused = queue.is_paused()
        queue.unpause()
        console().print("the queue goes on" if was_paused else "the queue wasn't paused")
        if queue.rows_in("queued"):
            tell_who_works(runs_dir)

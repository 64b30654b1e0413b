"""`engine retry`: queue failed runs again."""

from __future__ import annotations

from pathlib import Path

import click

from engine import control
from engine.cli.choosing import RUNS_HELP, chosen, conclude, opened, runs_argument
from engine.cli.options import runs_option


@click.command("retry", epilog=RUNS_HELP)
@runs_argument
@runs_option
def command(runs: tuple[str, ...], runs_dir: Path) -> None:
    """Queue failed or cancelled RUNS again; they go on from their last checkpoints.

    Exit code 0 when all were queued, 1 when something was refused.
    """
    with opened(runs_dir) as queue:
        changes = control.retry(queue, chosen(queue, runs))
    conclude(changes, runs_dir)

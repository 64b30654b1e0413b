"""`engine cancel`: take runs out of the running."""

from __future__ import annotations

from pathlib import Path

import click

from engine import control
from engine.cli.choosing import RUNS_HELP, chosen, conclude, opened, runs_argument
from engine.cli.options import runs_option


@click.command("cancel", epilog=RUNS_HELP)
@runs_argument
@runs_option
def command(runs: tuple[str, ...], runs_dir: Path) -> None:
    """Cancel RUNS that wait or are at work; those at work save first.

    Nothing is deleted, and `engine retry` queues them again. Exit code 0 when all are cancelled or asked
    to stop, 1 when something was refused.
    """
    with opened(runs_dir) as queue:
        conclude(control.cancel(queue, chosen(queue, runs)))

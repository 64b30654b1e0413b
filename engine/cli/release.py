"""`engine release`: let held, parked and postponed runs go on."""

from __future__ import annotations

from pathlib import Path

import click

from engine import control
from engine.cli.choosing import RUNS_HELP, chosen, conclude, opened, runs_argument
from engine.cli.options import runs_option


@click.command("release", epilog=RUNS_HELP)
@runs_argument
@runs_option
def command(runs: tuple[str, ...], runs_dir: Path) -> None:
    """Let held RUNS go on, and parked or postponed ones start at once.

    For a run that was asked to stop after its epoch it takes that back. Exit code 0 when all were
    released, 1 when something was refused.
    """
    with opened(runs_dir) as queue:
        conclude(control.release(queue, chosen(queue, runs)), runs_dir)

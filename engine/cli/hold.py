"""`engine hold`: keep queued runs from being started."""

from __future__ import annotations

from pathlib import Path

import click

from engine import control
from engine.cli.choosing import RUNS_HELP, chosen, conclude, opened, runs_argument
from engine.cli.options import runs_option


@click.command("hold", epilog=RUNS_HELP)
@runs_argument
@runs_option
def command(runs: tuple[str, ...], runs_dir: Path) -> None:
    """Keep queued RUNS from being started until `engine release`.

    Exit code 0 when all are held, 1 when something was refused.
    """
    with opened(runs_dir) as queue:
        conclude(control.hold(queue, chosen(queue, runs)))

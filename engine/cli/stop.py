"""`engine stop`: have runs at work save and end."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from engine import control
from engine.cli.choosing import RUNS_HELP, chosen, conclude, opened, runs_argument
from engine.cli.options import runs_option
from engine.runqueue import Asked


@click.command("stop", epilog=RUNS_HELP)
@runs_argument
@click.option("--now", "how", flag_value="stop", default="stop", help="Save and stop at once; so it is by default.")
@click.option("--after-epoch", "how", flag_value="stop after epoch", help="Stop once the epoch at work is measured.")
@click.option("--kill", "how", flag_value="kill", help="Don't save; it goes on from its last checkpoint.")
@runs_option
def command(runs: tuple[str, ...], runs_dir: Path, how: str) -> None:
    """Have RUNS that are at work save and stop; the queue goes on with the next.

    They are held then: `engine release` lets them go on where they were. To stop the whole queue use
    `engine pause --stop`, or Ctrl-C where `engine run` was typed. Exit code 0 when all were asked, 1 when
    something was refused.
    """
    with opened(runs_dir) as queue:
        conclude(control.stop(queue, chosen(queue, runs), cast(Asked, how)))

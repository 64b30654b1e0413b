"""`engine add`: queue recipes without training them yet."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine import control
from engine.cli.check import recipes_argument
from engine.cli.choosing import tell_who_works
from engine.cli.options import runs_option, set_option
from engine.cli.printing import console
from engine.cli.rehearsing import admit, print_forecasts
from engine.cli.run import checked, enqueue
from engine.runqueue import RunQueue


@click.command("add")
@recipes_argument
@set_option
@click.option("--skip-bad", is_flag=True, help="Queue the recipes that are right and leave the others out.")
@click.option("--no-rehearsal", is_flag=True, help="Queue without trying each recipe's first steps before.")
@click.option("--first", is_flag=True, help="Put them before all others that wait.")
@click.option("--hold", is_flag=True, help="Keep them from being started until `engine release`.")
@runs_option
def command(
    recipes: tuple[Path, ...], overrides: tuple[str, ...], runs_dir: Path,
    *, skip_bad: bool, no_rehearsal: bool, first: bool, hold: bool,
) -> None:  # fmt: skip
    """Check RECIPES, rehearse them and queue them; whoever is at work on the runs folder takes them up.

    The same as `engine run`, but for the training. Exit code 0 when all were queued, 1 when something was
    refused.
    """
    loaded, refused = checked(recipes, overrides, runs_dir, skip_bad=skip_bad)
    admitted = admit(loaded, runs_dir, rehearsal=not no_rehearsal, skip_bad=skip_bad)
    queue = RunQueue(runs_dir, on_rebuild=console().print)
    runs = enqueue(queue, admitted, held=hold)
    if first:
        control.move(queue, [queue.row(run) for run in runs], "first")
    print_forecasts(runs, runs_dir)
    if runs and not hold:
        tell_who_works(runs_dir)
    sys.exit(1 if refused or admitted.refused else 0)

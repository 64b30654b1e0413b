"""`engine retry`: queue failed runs again."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.options import runs_option
from engine.cli.printing import console
from engine.rundir import find_run_dir
from engine.runqueue import RunQueue


@click.command("retry")
@click.argument("runs", nargs=-1, required=True)
@runs_option
def command(runs: tuple[str, ...], runs_dir: Path) -> None:
    """Queue failed RUNS again; they go on from their last checkpoints.

    Each of RUNS is an id, a number or a recipe's name. `engine run` then executes them.
    """
    run_ids = [find_run_dir(runs_dir, run).run_id for run in runs]
    queue = RunQueue(runs_dir)
    for run_id in run_ids:
        queue.retry(run_id)
        console().print(f"{run_id} is queued again; `engine run` goes on with it", soft_wrap=True)

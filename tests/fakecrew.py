"""`engine run` with workers that need no torch: `python -m tests.fakecrew RUNS_DIR [options of engine resume] [NAMES]`.

Queues a run of each name, unless it is queued already, and works the queue off as the command does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine import supervisor
from engine.cli.options import runs_option
from engine.cli.work import Manner, manner_options, work_off
from engine.executors.local import LocalExecutor
from engine.runqueue import NewRun, RunQueue


@click.command()
@click.argument("names", nargs=-1)
@click.option("--queue-only", is_flag=True)
@manner_options
@runs_option
def command(
    names: tuple[str, ...], runs_dir: Path, devices: str | None, parallel: int | None, until: str,
    *, queue_only: bool, plain: bool, detach: bool,
) -> None:  # fmt: skip
    queue = RunQueue(runs_dir)
    queue.enqueue([NewRun(name, name, name, lambda run_dir: run_dir.resolved.write_text("{}")) for name in names])
    queue.close()
    if queue_only:
        return
    command = [sys.executable, "-m", "tests.fakeworker"]
    executor = LocalExecutor(command, standby_command=[*command, "--standby"])
    supervisor._LOOK_AHEAD_AFTER_S = 1.0  # its workers are quick to begin
    manner = Manner(runs_dir, devices, parallel, plain=plain, detach=detach, until=until)
    sys.exit(work_off(manner, names_to_runs(runs_dir, names), executor=executor))


def names_to_runs(runs_dir: Path, names: tuple[str, ...]) -> list[str]:
    queue = RunQueue(runs_dir)
    try:
        return [row.run for row in queue.rows() if row.run.partition("-")[2] in names]
    finally:
        queue.close()


if __name__ == "__main__":
    command()

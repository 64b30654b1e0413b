"""`engine resume`: go on with what is queued."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.cli.options import runs_option
from engine.cli.work import Manner, manner_options, work_off


@click.command("resume")
@manner_options
@click.option("--into-log", is_flag=True, hidden=True)
@click.option("--for", "waited_for", multiple=True, hidden=True)
@click.option("--refused", is_flag=True, hidden=True)
@runs_option
def command(
    runs_dir: Path, devices: str | None, parallel: int | None, until: str,
    waited_for: tuple[str, ...], *, plain: bool, detach: bool, into_log: bool, refused: bool,
) -> None:  # fmt: skip
    """Go on with what is queued, each interrupted run from its last checkpoint.

    The same as `engine run` without recipes. After a crash or a power cut this is all there is to do.

    Exit code 0 when every run finished, 1 when something failed, 130 after Ctrl-C.
    """
    manner = Manner(runs_dir, devices, parallel, plain=plain, detach=detach, into_log=into_log, until=until)
    sys.exit(work_off(manner, waited_for, refused=refused))

"""`engine service`: have the queue gone on with after a reboot."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.options import runs_option
from engine.cli.printing import console
from engine.cli.work import Manner, devices_option, parallel_option


@click.group("service")
def command() -> None:
    """Have the queue of a runs folder gone on with when the machine starts.

    Writes a systemd unit of your own (no root needed). It runs `engine resume`, which ends when nothing
    is queued; `engine run --detach` and it don't get in each other's way.
    """


@command.command("install")
@parallel_option
@devices_option
@runs_option
def install(runs_dir: Path, devices: str | None, parallel: int | None) -> None:
    """Write the unit and enable it."""
    from engine import service

    manner = Manner(runs_dir, devices, parallel)
    _ = manner.places  # a wrong device is told now, not at the next start
    _tell(service.install(service.Service(runs_dir.resolve(), tuple(manner.options))))


@command.command("remove")
@runs_option
def remove(runs_dir: Path) -> None:
    """Disable the unit and delete it; runs at work save and stop."""
    from engine import service

    _tell(service.remove(service.Service(runs_dir.resolve())))


@command.command("status")
@runs_option
def status(runs_dir: Path) -> None:
    """Tell whether there is a unit, and whether it starts without you."""
    from engine import service

    _tell(service.status(service.Service(runs_dir.resolve())))


def _tell(lines: list[str]) -> None:
    for line in lines:
        console().print(line, soft_wrap=True)

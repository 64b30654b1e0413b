"""`engine logs`: what a run's worker wrote."""

from __future__ import annotations

import codecs
import time
from pathlib import Path

import click

from engine.cli.options import runs_option
from engine.errors import QueueError, printable
from engine.rundir import find_run_dir, is_locked

_CHUNK_BYTES = 1_000_000
_FOLLOW_S = 0.5


@click.command("logs")
@click.argument("run")
@click.option("-n", "--lines", default=0, type=click.IntRange(0), help="Only the last N lines; 0 prints all.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing while the worker lives.")
@runs_option
def command(run: str, lines: int, runs_dir: Path, *, follow: bool) -> None:
    """Print what the worker of RUN wrote; RUN is an id, a number or a recipe's name."""
    run_dir = find_run_dir(runs_dir, run)
    if not run_dir.worker_log.exists():
        raise QueueError.of("Q105", run_dir.run_id, "the run has no log yet", "wait until it has started")
    with run_dir.worker_log.open("rb") as file:
        if lines > 0:
            file.seek(_start_of_last_lines(file.read(), lines))
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # a letter may lie across two chunks
        while True:
            while chunk := file.read(_CHUNK_BYTES):
                text = decoder.decode(chunk)
                click.echo("".join(line if line in "\n\t" else printable(line) for line in text), nl=False)
            if not follow or not is_locked(run_dir.worker_lock):
                return
            time.sleep(_FOLLOW_S)


def _start_of_last_lines(content: bytes, lines: int) -> int:
    position = len(content.rstrip(b"\n"))
    for _ in range(lines):
        position = content.rfind(b"\n", 0, position)
        if position < 0:
            return 0
    return position + 1

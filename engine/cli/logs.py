"""`engine logs`: what a run's worker wrote."""

from __future__ import annotations

import codecs
import os
import time
from pathlib import Path
from typing import BinaryIO

import click

from engine.cli.options import runs_option
from engine.errors import QueueError, printable
from engine.rundir import RunDir, find_run_dir, is_locked

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
    if lines == 0:
        _print_earlier_parts(run_dir)
    file: BinaryIO = run_dir.worker_log.open("rb")
    try:
        if lines > 0:
            file.seek(_start_of_last_lines(file.read(), lines))
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # a letter may lie across two chunks
        while True:
            _print_rest(file, decoder)
            if not follow or not is_locked(run_dir.worker_lock):
                return
            if (fresh := _turned_over(run_dir, file)) is not None:
                _print_rest(file, decoder)
                file.close()
                file = fresh
                continue
            time.sleep(_FOLLOW_S)
    finally:
        file.close()


def _print_rest(file: BinaryIO, decoder: codecs.IncrementalDecoder) -> None:
    while chunk := file.read(_CHUNK_BYTES):
        text = decoder.decode(chunk)
        click.echo("".join(char if char in "\n\t" else printable(char) for char in text), nl=False)


def _print_earlier_parts(run_dir: RunDir) -> None:
    """The beginning of a log that grew too long to be kept whole, and what came before its end."""
    parts = [part for part in (run_dir.worker_log_first, run_dir.worker_log_before) if part.exists()]
    for part in parts:
        with part.open("rb") as file:
            _print_rest(file, codecs.getincrementaldecoder("utf-8")(errors="replace"))
        if part == run_dir.worker_log_first and len(parts) > 1:
            click.echo("[... some of the log may not have been kept ...]")


def _turned_over(run_dir: RunDir, file: BinaryIO) -> BinaryIO | None:
    """The log's new part, when the one being read is full and was put aside."""
    try:
        if os.fstat(file.fileno()).st_ino != run_dir.worker_log.stat().st_ino:
            return run_dir.worker_log.open("rb")
    except FileNotFoundError:
        pass
    return None


def _start_of_last_lines(content: bytes, lines: int) -> int:
    position = len(content.rstrip(b"\n"))
    for _ in range(lines):
        position = content.rfind(b"\n", 0, position)
        if position < 0:
            return 0
    return position + 1

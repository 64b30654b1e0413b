"""`engine logs`: what a run's worker wrote."""

from __future__ import annotations

import codecs
import os
import time
from pathlib import Path
from typing import BinaryIO

import click

from engine.cli.choosing import RUNS_HELP, run_dirs_of, runs_argument
from engine.cli.options import runs_option
from engine.errors import QueueError, printable
from engine.rundir import RunDir, is_locked

_CHUNK_BYTES = 1_000_000
_FOLLOW_S = 0.5


@click.command("logs", epilog=RUNS_HELP)
@runs_argument
@click.option("-n", "--lines", default=0, type=click.IntRange(0), help="Only the last N lines; 0 prints all.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing while the worker lives.")
@runs_option
def command(runs: tuple[str, ...], lines: int, runs_dir: Path, *, follow: bool) -> None:
    """Print what the workers of RUNS wrote; of several, each under its run's id."""
    run_dirs = run_dirs_of(runs, runs_dir)
    if follow and len(run_dirs) > 1:
        raise click.UsageError("--follow goes with a single run")
    silent = [run_dir.run_id for run_dir in run_dirs if not run_dir.worker_log.exists()]
    if len(silent) == len(run_dirs):
        have = "the run has" if len(silent) == 1 else "these runs have"
        raise QueueError.of("Q105", ", ".join(silent), f"{have} no log yet", "wait until it has started")
    for run_dir in run_dirs:
        if len(run_dirs) > 1:
            click.echo(f"==> {run_dir.run_id}{' has no log yet' if run_dir.run_id in silent else ''} <==")
        if run_dir.run_id not in silent:
            _print_log(run_dir, lines, follow=follow)


def _print_log(run_dir: RunDir, lines: int, *, follow: bool) -> None:
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

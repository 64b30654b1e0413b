"""`engine queue`: what is at work, what waits, why, and when it should be done."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from engine.cli.choosing import in_folder, read_board_or_fail
from engine.cli.options import duration, runs_option
from engine.cli.printing import console
from engine.cli.status import STATE_LOOKS, epochs_begun, fitted
from engine.errors import printable
from engine.forecast import clock_words
from engine.rundir import SUPERVISOR_LOCK, lock_holder
from engine.runqueue import ACTIVE, OVER
from engine.standing import Board, Standing

# Columns that a row takes beside the run's name and the reason.
_BESIDE = 31
_LEAST_WHY = 24


@click.command("queue")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
@runs_option
def command(runs_dir: Path, *, as_json: bool) -> None:
    """Show what is at work and what waits: its turn, why it waits, and when it should be done.

    Runs that are over are counted; `engine status` lists them. `engine explain RUN` tells more of one.
    Exit code 0, or 1 when the queue can't be read.
    """
    now = time.time()
    board, _ = read_board_or_fail(runs_dir, now)
    if as_json:
        click.echo(json.dumps(board_values(board), indent=2))
        return
    _print(board, runs_dir, now)


def board_values(board: Board) -> dict[str, object]:
    """The queue as `engine queue --json` tells it."""
    return {
        "paused": board.paused, "until": board.until, "supervised": board.is_supervised, "counts": dict(board.counts),
        "queue_done_at": board.queue_done_at, "runs": [_values(board, standing) for standing in board.standings],
    }


def _values(board: Board, standing: Standing) -> dict[str, object]:
    row = standing.row
    return {
        "run": row.run, "number": row.number, "state": row.state, "turn": standing.turn, "priority": row.priority,
        "attempt": row.attempt, "asked": row.asked, "device": row.device, "reason": row.reason, "cause": row.cause,
        "why": [{"words": reason.words, "fix": reason.fix} for reason in standing.why],
        "not_before": row.not_before, "fraction": round(board.progress[row.run].fraction, 4),
        "left_s": None if standing.left_s is None else round(standing.left_s, 1), "done_at": standing.done_at,
        "at_the_latest": standing.at_the_latest,
    }


def _print(board: Board, runs_dir: Path, now: float) -> None:
    out = console()
    if not board.counts:
        out.print(f"no runs in {runs_dir} yet; `engine add RECIPE` queues one", soft_wrap=True)
        return
    if board.standings:
        out.print(queue_table(board, now, width=out.width))
    else:
        out.print("nothing is queued")
    for line in _foot(board, runs_dir, now):
        out.print(Text(printable(line), style="dim"), soft_wrap=True)


def queue_table(board: Board, now: float, *, width: int) -> Table:
    """The unfinished runs as a table of at most so many columns; reasons are folded."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    longest = max(len(standing.row.run) for standing in board.standings)
    room = max(8, min(longest, width - _BESIDE - _LEAST_WHY))
    for heading in ("", "run", "state", "left", "done", ""):
        right = heading in ("left", "done")
        table.add_column(heading, no_wrap=bool(heading), overflow="fold", justify="right" if right else "left")
    for standing in board.standings:
        row = standing.row
        symbol, style = STATE_LOOKS[row.state]
        done = "-" if standing.done_at is None else clock_words(standing.done_at, now)
        table.add_row(
            Text(symbol, style), Text(fitted(row.run, room)), Text(row.state, style), Text(duration(standing.left_s)),
            Text(f"≤{done}" if standing.at_the_latest else done), Text(printable(_first_words(board, standing))),
        )
    return table


def _first_words(board: Board, standing: Standing) -> str:
    """What to say of a run in a line of the table."""
    words = [reason.words for reason in standing.why if not reason.is_general][:1]
    if standing.row.state in ACTIVE:
        row = standing.row
        words = [f"epoch {epochs_begun(board.progress[row.run])}", *words, *filter(None, [row.device])]
    return ", ".join(words)


def _foot(board: Board, runs_dir: Path, now: float) -> list[str]:
    over = [f"{board.counts[state]:,} {state}" for state in OVER if board.counts.get(state)]
    lines = [f"over: {', '.join(over)}; `{in_folder('engine status', runs_dir)}` lists them"] if over else []
    if board.paused is not None:
        lines.append(f"the queue is paused ({board.paused}); `{in_folder('engine unpause', runs_dir)}` goes on")
    process = lock_holder(runs_dir / SUPERVISOR_LOCK) if board.is_supervised else None
    if process is not None:
        lines.append(f"process {process} is at work on the queue; `kill {process}` has it save and stop")
    if not board.is_supervised and any(standing.row.state != "held" for standing in board.standings):
        lines.append(f"nobody is at work on the queue; `{in_folder('engine run', runs_dir)}` starts it")
    if board.until is not None:
        lines.append(f"work ends {clock_words(board.until, now)}")
    in_time = board.until is None or (board.queue_done_at or 0) <= board.until
    if board.is_supervised and board.paused is None and board.queue_done_at is not None and in_time:
        lines.append(f"everything queued should be done {clock_words(board.queue_done_at, now)}")
    return lines

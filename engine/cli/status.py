"""`engine status`: every run and where it stands."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from engine.cli.options import duration, figure, runs_option
from engine.cli.printing import console
from engine.errors import QueueError, printable, told_apart
from engine.forecast import clock_words
from engine.progress import RunProgress
from engine.queuereader import read_queue, settle_orphans
from engine.rundir import QUEUE_FILE
from engine.runqueue import ACTIVE, QueueRow
from engine.standing import Board, Standing, progress_of, read_queue_board

_WIDE = 100
# Columns that the rest of a row takes.
_BESIDE_NAME, _BESIDE_NAME_NARROW = 80, 50
# Narrower than this a wrapped reason can't be read.
_LEAST_REASON = 20
_BUSY_TIMEOUT_S = 10.0

# A word and a shape for every state: never colour alone.
STATE_LOOKS = {
    "queued": ("○", "cyan"), "held": ("◌", "magenta"), "running": ("▶", "bold green"), "stopping": ("◼", "yellow"),
    "finished": ("✔", "green"), "failed": ("✘", "bold red"), "cancelled": ("–", "dim"),
}


@click.command("status")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
@runs_option
def command(folder: Path | None, runs_dir: Path, *, as_json: bool) -> None:
    """Show every run and where it stands.

    DIR is a runs folder; the same as --runs DIR.
    """
    runs_dir = runs_dir if folder is None else folder
    rows = _rows(runs_dir)
    progresses = [progress_of(row, runs_dir) for row in rows]
    now = time.time()
    board, _ = read_queue_board(runs_dir, now, _BUSY_TIMEOUT_S)
    standings = {standing.row.run: standing for standing in board.standings}
    if as_json:
        found = [
            status_values(row, progress, standings.get(row.run))
            for row, progress in zip(rows, progresses, strict=True)
        ]
        click.echo(json.dumps(found, indent=2))
        return
    out = console()
    if not rows:
        out.print(f"no runs in {runs_dir} yet; start with `engine init PHOTOS`, or `engine run RECIPE`")
        return
    out.print(status_table(rows, progresses, standings, now, width=out.width))
    for row in rows:
        if row.reason:
            out.print(reason_lines(row, out.width if out.is_terminal else None), soft_wrap=True)
    line = queue_line(board, now)
    if line:
        out.print(Text(line, style="dim"))


def _rows(runs_dir: Path) -> list[QueueRow]:
    reading = read_queue(runs_dir, timeout_s=_BUSY_TIMEOUT_S)
    if reading.trouble:
        raise QueueError.of(
            "Q106", str(runs_dir / QUEUE_FILE), reading.trouble,
            "`engine run` sets a damaged queue aside and rebuilds it from the run folders; `engine watch` shows those",
        )
    return list(settle_orphans(reading.rows, runs_dir).values())


def remaining_s(row: QueueRow, progress: RunProgress) -> float | None:
    """Seconds until a run should end; None unless it is being worked on."""
    return progress.eta_s if row.state in ACTIVE else None


def done_words(standing: Standing | None, now: float) -> str:
    """When a run should be done, "≤" before it where it may be sooner; "-" where that can't be told."""
    if standing is None or standing.done_at is None:
        return "-"
    return f"{'≤' if standing.at_the_latest else ''}{clock_words(standing.done_at, now)}"


def queue_line(board: Board, now: float) -> str:
    """When the queue should be done, or how long it will take once somebody works on it; "" where unknown."""
    if board.paused is not None:
        return f"the queue is paused ({board.paused}); `engine unpause` goes on"
    if board.queue_done_at is None:
        return ""
    if board.until is not None and board.queue_done_at > board.until:
        return f"work ends {clock_words(board.until, now)}; what isn't done by then goes on another day"
    latest = " at the latest" if any(standing.at_the_latest for standing in board.standings) else ""
    if not board.is_supervised:
        return f"nobody is at work; what is queued takes about {duration(board.queue_done_at - now)}{latest}"
    return f"queue done about {clock_words(board.queue_done_at, now)}{latest}"


def elapsed_s(row: QueueRow, progress: RunProgress) -> float:
    """Seconds worked on a run, those since its latest event included while it runs."""
    if row.state == "running" and progress.last_time is not None and progress.ended is None:
        return progress.elapsed_s + max(0.0, time.time() - progress.last_time)
    return progress.elapsed_s


def status_values(row: QueueRow, progress: RunProgress, standing: Standing | None = None) -> dict[str, object]:
    """A run as `engine status --json` tells it."""
    left_s = None if standing is None else standing.left_s
    return {
        "run": row.run, "number": row.number, "recipe": row.recipe_path,
        "state": row.state, "reason": row.reason, "cause": row.cause, "asked": row.asked,
        "turn": None if standing is None else standing.turn, "priority": row.priority, "attempt": row.attempt,
        "device": row.device, "queued_at": row.queued_at, "started_at": row.started_at, "ended_at": row.ended_at,
        "why": [] if standing is None else [{"words": one.words, "fix": one.fix} for one in standing.why],
        "epoch": progress.epoch, "epochs": progress.num_epochs, "step": progress.step, "steps": progress.num_steps,
        "fraction": round(progress.fraction, 4), "loss": progress.loss, "val_loss": progress.val_loss,
        "lr": progress.lr, "step_s": progress.step_s, "ap": progress.ap, "ap50": progress.ap50,
        "phase": progress.phase if row.state == "running" else "",
        "best_ap": progress.best_ap, "best_ap50": progress.best_ap50, "best_epoch": progress.best_epoch,
        "elapsed_s": round(elapsed_s(row, progress), 1),
        "eta_s": None if (eta := remaining_s(row, progress)) is None else round(eta, 1),
        "left_s": None if left_s is None else round(left_s, 1),
        "done_at": None if standing is None or standing.done_at is None else round(standing.done_at, 1),
        "at_the_latest": standing is not None and standing.at_the_latest,
    }


def reason_lines(row: QueueRow, width: int | None = None) -> Text:
    """Why a run is as it is, with its symbol and number, and what to do about it; what is too long goes on below.

    Args:
        row: The run.
        width: Columns there are; None for all of it in one line, as scripts and logs want it.
    """
    head = f" {row.number} "
    room = sys.maxsize if width is None else max(_LEAST_REASON, width - len(head) - 1)
    found, fix = told_apart(row.reason)
    lines = textwrap.wrap(printable(found), room) or [""]
    if fix and width is None:
        lines[-1] += f" → {printable(fix)}"
    elif fix:
        lines += textwrap.wrap(f"→ {printable(fix)}", room, subsequent_indent="  ")
    return Text.assemble(STATE_LOOKS[row.state], head, ("\n" + " " * (len(head) + 1)).join(lines))


def epochs_begun(progress: RunProgress) -> str:
    """Epochs begun of all; "-" before the run has started."""
    return f"{progress.epoch}/{progress.num_epochs}" if progress.num_epochs else "-"


def fitted(name: str, room: int) -> str:
    """A run's name, safe to print, cut with an ellipsis to so many columns (8 at least)."""
    name = printable(name)
    room = max(8, room)
    return name if len(name) <= room else name[: room - 1] + "…"


def status_table(
    rows: list[QueueRow], progresses: list[RunProgress], standings: Mapping[str, Standing], now: float, *, width: int
) -> Table:
    """The runs as a table of at most so many columns; a narrow one leaves out the loss, AP50 and when each is done."""
    narrow = width < _WIDE
    room = width - (_BESIDE_NAME_NARROW if narrow else _BESIDE_NAME)
    table = Table(box=None, pad_edge=False, header_style="bold")
    left, right = ("", "run", "state"), ("epoch", "loss", "best AP", "AP50", "elapsed", "left", "done")
    for heading in left:
        table.add_column(heading, no_wrap=True, overflow="ellipsis", min_width=None if heading == "run" else 1)
    shown = [heading for heading in right if not (narrow and heading in ("loss", "AP50", "done"))]
    for heading in shown:
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    for row, progress in zip(rows, progresses, strict=True):
        symbol, style = STATE_LOOKS[row.state]
        standing = standings.get(row.run)
        cells = {
            "epoch": epochs_begun(progress), "loss": figure(progress.loss), "best AP": figure(progress.best_ap),
            "AP50": figure(progress.best_ap50), "elapsed": duration(elapsed_s(row, progress) or None),
            "left": duration(None if standing is None else standing.left_s), "done": done_words(standing, now),
        }
        table.add_row(
            Text(symbol, style), Text(fitted(row.run, room)), Text(row.state, style),
            *(cells[heading] for heading in shown),
        )
    return table

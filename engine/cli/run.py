"""`engine run`: check recipes, queue them, execute the queue."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType

import click

from engine.cli.check import examine, print_reports
from engine.cli.live import LiveTable, PlainLines, Show
from engine.cli.options import count, runs_option, set_option
from engine.cli.printing import console
from engine.cli.rehearsing import Admitted, admit, print_forecasts
from engine.forecast import Forecast, forecast_bytes
from engine.recipe.load import LoadedRecipe, recipe_hash, resolved_json
from engine.rundir import FileLock, RunDir, write_bytes_atomic
from engine.runqueue import NewRun, QueueRow, RunQueue
from engine.supervisor import Observer, StopRequest, supervise, supervisor_lock

# The dashboard looks whether a supervisor lives, and holds its lock for the instant of looking.
_LOCK_PATIENCE_S = 0.5


@click.command("run")
@click.argument("recipes", nargs=-1, type=click.Path(path_type=Path))
@set_option
@click.option("--skip-bad", is_flag=True, help="Queue the recipes that are right and leave the others out.")
@click.option("--no-rehearsal", is_flag=True, help="Queue without trying each recipe's first steps before.")
@click.option("--plain", is_flag=True, help="Print plain lines on a terminal too.")
@runs_option
def command(
    recipes: tuple[Path, ...], overrides: tuple[str, ...], runs_dir: Path,
    *, skip_bad: bool, no_rehearsal: bool, plain: bool,
) -> None:  # fmt: skip
    """Check RECIPES, rehearse them, queue them and train one after another.

    The rehearsal takes a few real steps with each recipe's largest and most crowded images: what would
    fail at night fails now, and how long everything will take is told. Without RECIPES it goes on with
    what is queued. Where another `engine run` is at work on the same runs folder, the recipes join its
    queue. Ctrl-C saves and stops; a second one stops at once.

    Exit code 0 when every run finished, 1 when something failed or was refused, 130 after Ctrl-C.
    """
    refused, admitted = False, Admitted([])
    if recipes:
        loaded, refused = _checked(recipes, overrides, runs_dir, skip_bad=skip_bad)
        admitted = admit(loaded, runs_dir, rehearsal=not no_rehearsal, skip_bad=skip_bad)
        refused |= admitted.refused
    out = console()
    queue = RunQueue(runs_dir, on_rebuild=out.print)
    waited_for = _enqueue(queue, admitted)
    print_forecasts(waited_for or [row.run for row in queue.rows()], runs_dir)
    lock = supervisor_lock(runs_dir)
    if not lock.acquire(_LOCK_PATIENCE_S):
        sys.exit(_hand_over(queue, refused=refused))
    stop = StopRequest()
    on_terminal = sys.stdout.isatty() and not plain
    show: Show = LiveTable(out, queue) if on_terminal else PlainLines(out, runs_dir)
    executed: list[QueueRow] = []
    with _ctrl_c(stop):
        _supervise(queue, lock, stop, show, executed)
    sys.exit(_conclude(queue, executed, waited_for, stop, refused=refused))


def _checked(
    recipes: tuple[Path, ...], overrides: tuple[str, ...], runs_dir: Path, *, skip_bad: bool
) -> tuple[list[LoadedRecipe], bool]:
    """The recipes that the check finds nothing wrong with, and whether it refused others; ends the program if so."""
    reports = examine(recipes, overrides, runs_dir)
    refused = not all(report.ok for report in reports)
    if refused or any(report.problems for report in reports):
        for_ok = ", but not queued beside the others; --skip-bad would" if refused and not skip_bad else ""
        consequence = ", not queued" if skip_bad else ", nothing queued"
        print_reports(reports, consequence=consequence, for_ok=for_ok, stderr=True)
    if refused and not skip_bad:
        sys.exit(1)
    return [recipe for report in reports if report.ok for recipe in report.recipes], refused


def _hand_over(queue: RunQueue, *, refused: bool) -> int:
    """Say what becomes of the runs where another process holds the queue; returns the exit code."""
    out = console()
    if any(row.state == "stopping" for row in queue.rows()):
        out.print("another `engine run` is saving and stopping; run `engine run` again when it has, to go on")
        return 1
    out.print("another `engine run` is at work on this folder; it takes these runs up. `engine watch` shows it.")
    return 1 if refused else 0


def _enqueue(queue: RunQueue, admitted: Admitted) -> list[str]:
    out = console()
    runs = []
    new_runs = [_new_run(loaded, admitted.forecasts.get(recipe_hash(loaded.recipe))) for loaded in admitted.recipes]
    for row, is_new in queue.enqueue(new_runs):
        runs.append(row.run)
        if is_new:
            out.print(f"queued {row.run}")
        else:
            out.print(f"{row.run} is the same recipe and {row.state} already; not queued again")
    return runs


def _new_run(loaded: LoadedRecipe, forecast: Forecast | None) -> NewRun:
    def create(run_dir: RunDir) -> None:
        write_bytes_atomic(run_dir.recipe, loaded.text.encode())
        write_bytes_atomic(run_dir.resolved, resolved_json(loaded.recipe))
        if forecast is not None:
            write_bytes_atomic(run_dir.forecast, forecast_bytes(forecast))

    queue = loaded.recipe.queue
    return NewRun(
        loaded.recipe.name, str(loaded.path.resolve()), recipe_hash(loaded.recipe), create, priority=queue.priority,
        retries=queue.retries, not_before=next_time(queue.not_before, datetime.now().astimezone()),
        max_hours=queue.max_hours,
    )


def next_time(words: str | None, now: datetime) -> float | None:
    """When a recipe's `not_before` is, in seconds since 1970.

    Args:
        words: "22:30" (the next time the clock shows that), "2026-11-24T22:30", or None.
        now: The time now, with its time zone.
    """
    if words is None:
        return None
    if "T" in words:
        return datetime.fromisoformat(words).astimezone(now.tzinfo).timestamp()
    hour, minute = (int(part) for part in words.split(":"))
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (today if today >= now else today + timedelta(days=1)).timestamp()


def _supervise(
    queue: RunQueue, lock: FileLock, stop: StopRequest, show: Show, executed: list[QueueRow]
) -> None:
    from engine.executors.local import LocalExecutor

    told = 0

    def on_tick() -> None:
        nonlocal told
        if stop.level > told:
            told = stop.level
            show.note("saving, then stopping; Ctrl-C again stops at once" if told == 1 else "stopping at once")
        show.tick()

    def on_end(row: QueueRow) -> None:
        executed.append(row)
        show.end(row)

    observer = Observer(on_start=show.start, on_tick=on_tick, on_end=on_end, on_note=show.note)
    try:
        supervise(queue, LocalExecutor(), lock, stop, observer)
    finally:
        show.close()


@contextmanager
def _ctrl_c(stop: StopRequest) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a request to save and stop, a second one into one to stop at once."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.raise_level()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _conclude(
    queue: RunQueue, executed: list[QueueRow], waited_for: list[str], stop: StopRequest, *, refused: bool
) -> int:
    out = console()
    runs = dict.fromkeys([*waited_for, *(row.run for row in executed)])
    rows = [queue.row(run) for run in runs]
    states = [row.state for row in rows]
    summary = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    out.print(f"{count(len(rows), 'run')}: {summary}" if rows else "nothing was queued")
    for row in rows:
        if row.state == "failed":
            out.print(f"  {row.run} failed: {row.reason}", soft_wrap=True)
            out.print(f"  `engine retry {row.number}` tries it again from its last checkpoint", soft_wrap=True)
    if stop.level:
        folder = "" if queue.runs_dir == Path("runs") else f" --runs {queue.runs_dir}"
        out.print(f"stopped; `engine run{folder}` goes on where it was")
        return 130
    return 0 if not refused and all(state == "finished" for state in states) else 1

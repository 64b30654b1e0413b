"""`engine run`: check recipes, queue them, execute the queue."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path

import click

from engine.cli.check import examine, print_reports
from engine.cli.options import runs_option, set_option
from engine.cli.printing import console
from engine.cli.rehearsing import Admitted, admit, print_forecasts
from engine.cli.work import Manner, manner_options, work_off
from engine.forecast import Forecast, forecast_bytes
from engine.recipe.load import LoadedRecipe, recipe_hash, resolved_json
from engine.rundir import RunDir, write_bytes_atomic
from engine.runqueue import NewRun, RunQueue


@click.command("run")
@click.argument("recipes", nargs=-1, type=click.Path(path_type=Path))
@set_option
@click.option("--skip-bad", is_flag=True, help="Queue the recipes that are right and leave the others out.")
@click.option("--no-rehearsal", is_flag=True, help="Queue without trying each recipe's first steps before.")
@manner_options
@runs_option
def command(
    recipes: tuple[Path, ...], overrides: tuple[str, ...], runs_dir: Path, devices: str | None, parallel: int | None,
    *, skip_bad: bool, no_rehearsal: bool, plain: bool, detach: bool,
) -> None:  # fmt: skip
    """Check RECIPES, rehearse them, queue them and train one after another.

    The rehearsal takes a few real steps with each recipe's largest and most crowded images: what would
    fail at night fails now, and how long everything will take is told. Without RECIPES it goes on with
    what is queued. Where another `engine run` is at work on the same runs folder, the recipes join its
    queue. Ctrl-C saves and stops; a second one stops at once. When the terminal is closed it goes on
    without it, and what it prints goes to supervisor.log in the runs folder.

    Exit code 0 when every run finished, 1 when something failed or was refused, 130 after Ctrl-C.
    """
    manner = Manner(runs_dir, devices, parallel, plain=plain, detach=detach)
    _ = manner.places  # a wrong device is told before everything else
    refused, admitted = False, Admitted([])
    if recipes:
        loaded, refused = _checked(recipes, overrides, runs_dir, skip_bad=skip_bad)
        admitted = admit(loaded, runs_dir, rehearsal=not no_rehearsal, skip_bad=skip_bad)
        refused |= admitted.refused
    out = console()
    queue = RunQueue(runs_dir, on_rebuild=out.print)
    waited_for = _enqueue(queue, admitted)
    print_forecasts(waited_for or [row.run for row in queue.rows()], runs_dir)
    queue.close()
    sys.exit(work_off(manner, waited_for, refused=refused))


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

"""`engine run`: check recipes, queue them, execute the queue."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.adding import new_run
from engine.cli.check import examine, print_reports
from engine.cli.options import runs_option, set_option
from engine.cli.printing import console
from engine.cli.rehearsing import Admitted, admit, print_forecasts
from engine.cli.work import NEVER, Manner, manner_options, work_off
from engine.recipe.load import LoadedRecipe, recipe_hash
from engine.runqueue import RunQueue


@click.command("run")
@click.argument("recipes", nargs=-1, type=click.Path(path_type=Path))
@set_option
@click.option("--skip-bad", is_flag=True, help="Queue the recipes that are right and leave the others out.")
@click.option("--no-rehearsal", is_flag=True, help="Queue without trying each recipe's first steps before.")
@manner_options
@runs_option
def command(
    recipes: tuple[Path, ...], overrides: tuple[str, ...], runs_dir: Path, devices: str | None, parallel: int | None,
    until: str, *, skip_bad: bool, no_rehearsal: bool, plain: bool, detach: bool,
) -> None:  # fmt: skip
    """Check RECIPES, rehearse them, queue them and train one after another.

    The rehearsal takes a few real steps with each recipe's largest and most crowded images: what would
    fail at night fails now, and how long everything will take is told. Without RECIPES it goes on with
    what is queued. Where another `engine run` is at work on the same runs folder, the recipes join its
    queue. Ctrl-C saves and stops; a second one stops at once. When the terminal is closed it goes on
    without it, and what it prints goes to supervisor.log in the runs folder.

    Exit code 0 when every run finished, 1 when something failed or was refused, 130 after Ctrl-C. When
    --until has come it is 0 unless something failed; the rest waits for the next `engine run`.
    """
    manner = Manner(runs_dir, devices, parallel, plain=plain, detach=detach, until=until or NEVER)
    _ = manner.places, manner.settings  # what is wrong with them is told before everything else
    refused, admitted = False, Admitted([])
    if recipes:
        loaded, refused = checked(recipes, overrides, runs_dir, skip_bad=skip_bad)
        admitted = admit(loaded, runs_dir, rehearsal=not no_rehearsal, skip_bad=skip_bad)
        refused |= admitted.refused
    out = console()
    queue = RunQueue(runs_dir, on_rebuild=out.print)
    waited_for = enqueue(queue, admitted)
    print_forecasts(waited_for or [row.run for row in queue.rows()], runs_dir)
    queue.close()
    sys.exit(work_off(manner, waited_for, refused=refused))


def checked(
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


def enqueue(queue: RunQueue, admitted: Admitted, *, held: bool = False) -> list[str]:
    """Queue the recipes that were let through, and say so; returns their runs, old ones of the same recipe included."""
    out = console()
    runs = []
    new_runs = [
        new_run(loaded, admitted.forecasts.get(recipe_hash(loaded.recipe)), held=held) for loaded in admitted.recipes
    ]
    for row, is_new in queue.enqueue(new_runs):
        runs.append(row.run)
        if is_new:
            out.print(f"queued {row.run}")
        else:
            out.print(f"{row.run} is the same recipe and {row.state} already; not queued again")
    return runs

"""`engine add`: queue recipes without training them yet."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine import control
from engine.adding import new_run
from engine.cli.check import examine, print_reports, recipes_argument
from engine.cli.choosing import tell_who_works
from engine.cli.options import runs_option, set_option
from engine.cli.printing import console
from engine.errors import printable
from engine.runqueue import RunQueue


@click.command("add")
@recipes_argument
@set_option
@click.option("--skip-bad", is_flag=True, help="Queue the recipes that are right and leave the others out.")
@click.option("--first", is_flag=True, help="Put them before all others that wait.")
@click.option("--hold", is_flag=True, help="Keep them from being started until `engine release`.")
@runs_option
def command(
    recipes: tuple[Path, ...], overrides: tuple[str, ...], runs_dir: Path, *, skip_bad: bool, first: bool, hold: bool
) -> None:
    """Check RECIPES and queue them; whoever is at work on the runs folder takes them up.

    Exit code 0 when all were queued, 1 when something was refused.
    """
    reports = examine(recipes, overrides, runs_dir)
    refused = not all(report.ok for report in reports)
    if refused or any(report.problems for report in reports):
        for_ok = ", but not queued beside the others; --skip-bad would" if refused and not skip_bad else ""
        consequence = ", not queued" if skip_bad else ", nothing queued"
        print_reports(reports, consequence=consequence, for_ok=for_ok, stderr=True)
    if refused and not skip_bad:
        sys.exit(1)
    out = console()
    queue = RunQueue(runs_dir, on_rebuild=out.print)
    loaded = [recipe for report in reports if report.ok for recipe in report.recipes]
    queued = queue.enqueue([new_run(recipe, held=hold) for recipe in loaded])
    for row, is_new in queued:
        already = f"{row.run} is the same recipe and {row.state} already; not queued again"
        out.print(printable(f"queued {row.run}" if is_new else already), soft_wrap=True)
    fresh = [row for row, is_new in queued if is_new]
    if first:
        control.move(queue, fresh, "first")
    if fresh and not hold:
        tell_who_works(runs_dir)
    sys.exit(1 if refused else 0)

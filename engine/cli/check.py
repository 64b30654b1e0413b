"""`engine check`: everything wrong with recipes and their datasets, at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from engine.cli.options import count, set_option
from engine.cli.printing import console, print_problems, shown_path
from engine.preflight import Report, preflight

recipes_argument = click.argument("recipes", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.command("check")
@recipes_argument
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(recipes: tuple[Path, ...], overrides: tuple[str, ...], *, as_json: bool) -> None:
    """Find everything wrong with RECIPES and their datasets.

    Exit code 1 when there is an error.
    """
    reports = examine(recipes, overrides)
    if as_json:
        found = [
            {"recipe": str(report.path), "ok": report.ok, "runs": [loaded.recipe.name for loaded in report.recipes],
             "problems": [problem.as_dict() for problem in report.problems]}
            for report in reports
        ]
        click.echo(json.dumps(found, indent=2))
    else:
        print_reports(reports)
    sys.exit(0 if all(report.ok for report in reports) else 1)


def examine(recipes: Sequence[Path], overrides: Sequence[str]) -> list[Report]:
    """Run the preflight with a progress bar on a terminal."""
    from tqdm import tqdm

    with tqdm(total=0, unit=" images", leave=False, disable=not sys.stderr.isatty()) as bar:

        def show(name: str, done: int, total: int) -> None:
            bar.set_description(f"checking {name}", refresh=False)
            bar.total = total
            bar.n = done
            bar.refresh()

        return preflight(recipes, overrides=overrides, on_progress=show)


def print_reports(reports: Sequence[Report], *, consequence: str = "", stderr: bool = False) -> None:
    """Print every recipe's verdict; problems that recipes share are printed once."""
    out = console(stderr=stderr)
    told: set[object] = set()
    for report in reports:
        fresh = [problem for problem in report.problems if problem not in told]
        told.update(report.problems)
        ending = "" if report.ok else consequence
        out.print(f"{shown_path(str(report.path))}: {_verdict(report)}{ending}", soft_wrap=True)
        if len(fresh) < len(report.problems):
            out.print(f"  {count(len(report.problems) - len(fresh), 'finding')} as above")
        print_problems(fresh, stderr=stderr)


def _verdict(report: Report) -> str:
    numbers = {
        severity: sum(problem.severity == severity for problem in report.problems)
        for severity in ("error", "warning", "note")
    }
    words = [count(number, severity) for severity, number in numbers.items() if number]
    if report.ok and report.audit is not None:
        splits = ", ".join(
            f"{name} {count(summary.num_images, 'image')} with {count(summary.num_boxes, 'object')}"
            for name, summary in report.audit.summary.items()
        )
        return f"ok, {count(len(report.recipes), 'run')}; {splits}" + (f"; {', '.join(words)}" if words else "")
    return ", ".join(words)

"""`engine check`: everything wrong with recipes and their datasets, at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.annotations import Audit, group
from engine.cli.options import count, runs_option, set_option
from engine.cli.printing import console, print_problems, progress_bar, shown_path
from engine.errors import EngineError
from engine.machine import engine_cache_dir
from engine.preflight import Report, preflight

if TYPE_CHECKING:
    from rich.table import Table

recipes_argument = click.argument("recipes", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.command("check")
@recipes_argument
@set_option
@click.option("--table", "with_table", is_flag=True, help="Show what each split holds: images, sizes, objects a class.")
@click.option("--plot", "plot_path", metavar="OUT.PNG", type=click.Path(path_type=Path, dir_okay=False),
              help="Draw the dataset: classes, box sizes, labelled samples.")
@click.option("--fix", "fix_dir", metavar="DIR", type=click.Path(path_type=Path),
              help="Write a corrected copy of the dataset into a new folder; the exit code then tells of the copy.")
@click.option("--all", "ungrouped", is_flag=True, help="Tell findings of one kind one by one.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings, one by one, as JSON.")
@runs_option
def command(
    recipes: tuple[Path, ...], overrides: tuple[str, ...], plot_path: Path | None, fix_dir: Path | None,
    runs_dir: Path,
    *, with_table: bool, ungrouped: bool, as_json: bool,
) -> None:  # fmt: skip
    """Find everything wrong with RECIPES and their datasets, and what this machine lacks for them.

    Exit code 1 when there is an error.
    """
    reports = examine(recipes, overrides, runs_dir)
    if as_json:
        click.echo(json.dumps([_as_dict(report) for report in reports], indent=2))
    else:
        print_reports(reports, ungrouped=ungrouped)
        if with_table:
            print_tables(reports)
    if plot_path is not None:
        _plot(reports, plot_path)
    if fix_dir is None:
        ok = all(report.ok for report in reports)
        if not as_json and any(_could_be_fixed(report) for report in reports):
            console(stderr=True).print("a corrected copy of a dataset: engine check RECIPE --fix DIR", style="dim")
    else:
        from engine.cli.fix import write_fixed

        ok = write_fixed(reports, fix_dir, stderr=as_json)
    sys.exit(0 if ok else 1)


def _could_be_fixed(report: Report) -> bool:
    # D100 is a path that leads nowhere: there is nothing to copy.
    codes = {problem.code for problem in report.problems if problem.severity == "error"}
    return any(code.startswith("D1") and code != "D100" for code in codes)


def examine(recipes: Sequence[Path], overrides: Sequence[str], runs_dir: Path | None = None) -> list[Report]:
    """Run the preflight with a progress bar on a terminal."""
    with progress_bar() as tell:
        return preflight(
            recipes, overrides=overrides, runs_dir=runs_dir, cache_dir=engine_cache_dir(),
            on_progress=lambda name, done, total: tell(done, total, f"checking {name}"),
        )


def _as_dict(report: Report) -> dict[str, object]:
    summary = {} if report.audit is None else report.audit.summary
    return {
        "recipe": str(report.path),
        "ok": report.ok,
        "runs": [loaded.recipe.name for loaded in report.recipes],
        "dataset": {split: asdict(counts) for split, counts in summary.items()},
        "problems": [problem.as_dict() for problem in report.problems],
    }


# --- the verdict ---


def print_reports(
    reports: Sequence[Report], *, consequence: str = "", for_ok: str = "", stderr: bool = False, ungrouped: bool = False
) -> None:
    """Print every recipe's verdict; problems that recipes share are printed once, those of one kind as one."""
    out = console(stderr=stderr)
    told: set[object] = set()
    for report in reports:
        fresh = [problem for problem in report.problems if problem not in told]
        told.update(report.problems)
        ending = for_ok if report.ok else consequence
        out.print(f"{shown_path(str(report.path))}: {_verdict(report)}{ending}", soft_wrap=True)
        if len(fresh) < len(report.problems):
            out.print(f"  {count(len(report.problems) - len(fresh), 'finding')} as above")
        print_problems(fresh if ungrouped else group(fresh), stderr=stderr)


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


# --- the datasets ---


def _datasets(reports: Sequence[Report]) -> dict[int, tuple[Audit, tuple[str, ...], str]]:
    """The datasets that were read, each once: what was found, the class names, the first recipe's name."""
    found: dict[int, tuple[Audit, tuple[str, ...], str]] = {}
    for report in reports:
        if report.audit is not None:
            recipe = report.recipes[-1].recipe
            found.setdefault(id(report.audit), (report.audit, recipe.classes.names, report.path.name))
    return found


def print_tables(reports: Sequence[Report]) -> None:
    """Print what each dataset holds, as a table."""
    for audit, _, name in _datasets(reports).values():
        console().print(dataset_table(audit, title=f"usable images and objects of {name}"))


def dataset_table(audit: Audit, title: str) -> Table:
    """What a dataset holds, split by split: images, sizes, objects of each class and images that show it."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from engine.errors import printable

    summaries = audit.summary
    table = Table(box=box.SIMPLE_HEAD, title=Text(printable(title)), title_justify="left", title_style="bold")
    table.add_column("")
    for split in summaries:
        table.add_column(split, justify="right")
    rows = {
        "images": [f"{counts.num_images}" for counts in summaries.values()],
        "without objects": [f"{counts.num_negatives}" for counts in summaries.values()],
        "image size, px": [_sizes(counts.smallest, counts.largest) for counts in summaries.values()],
        "objects": [f"{counts.num_boxes}" for counts in summaries.values()],
        "marked difficult": [f"{counts.num_difficult}" for counts in summaries.values()],
    }
    if not any(counts.num_difficult for counts in summaries.values()):
        del rows["marked difficult"]
    for label, cells in rows.items():
        table.add_row(label, *cells, end_section=label == list(rows)[-1])
    for name in next(iter(summaries.values())).boxes_per_class if summaries else ():
        cells = [f"{c.boxes_per_class[name]} in {c.images_per_class[name]} images" for c in summaries.values()]
        table.add_row(Text(printable(name)), *cells)
    return table


def _sizes(smallest: tuple[int, int], largest: tuple[int, int]) -> str:
    if largest == (0, 0):
        return "-"
    one, other = (f"{width} x {height}" for width, height in (smallest, largest))
    return one if one == other else f"{one} to {other}"


def _plot(reports: Sequence[Report], path: Path) -> None:
    datasets = list(_datasets(reports).values())
    if len(datasets) != 1:
        found = "no dataset could be read" if not datasets else f"the recipes have {len(datasets)} datasets"
        raise EngineError.of("E107", str(path), f"nothing was drawn: {found}", "name one recipe that can be read")
    from engine.report.dataset import draw_dataset

    audit, names, recipe = datasets[0]
    try:
        draw_dataset(audit, names, path, title=recipe.removesuffix(".toml"))
    except (OSError, ValueError) as error:
        raise EngineError.of("E101", str(path), f"can't be written: {error}", "name a .png file") from error
    console(stderr=True).print(f"drew {shown_path(str(path))}", soft_wrap=True)

"""`engine init`: write a recipe for a folder of labelled images."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.check import examine, print_reports
from engine.cli.printing import console, progress_bar, shown_path
from engine.machine import engine_cache_dir


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", "path", metavar="RECIPE", type=click.Path(path_type=Path, dir_okay=False),
              help="The recipe to write. Left out: recipes/<folder>.toml, or <folder>.toml here.")
def command(folder: Path, path: Path | None) -> None:  # fmt: skip
    """Look at FOLDER, find out how its images are labelled, and write a recipe for it.

    Finds Pascal VOC, COCO and YOLO annotations, the splits, the classes, and what is dirty. Never
    overwrites a file. What `engine check` says of the new recipe is printed.
    """
    from engine.scaffold import scaffold

    with progress_bar() as tell:
        plan = scaffold(folder, path, cache_dir=engine_cache_dir(), on_progress=tell)
    out = console()
    out.print(f"wrote {shown_path(str(plan.path))}", soft_wrap=True)
    reports = examine([plan.path], ())
    print_reports(reports)
    recipe = shown_path(str(plan.path))
    if all(report.ok for report in reports):
        out.print(f"next: engine run {recipe}", soft_wrap=True)
    else:
        out.print(f"next: see what {recipe} suggests, then engine check {recipe}", soft_wrap=True)

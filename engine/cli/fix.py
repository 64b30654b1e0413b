"""`engine check --fix DIR`: write a corrected copy of the recipes' dataset and say what changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.options import count
from engine.cli.printing import console, print_problems, progress_bar, shown_path
from engine.machine import engine_cache_dir
from engine.preflight import Report

if TYPE_CHECKING:
    from engine.annotations.fix import Fixed


def write_fixed(reports: Sequence[Report], out_dir: Path, *, stderr: bool = False) -> bool:
    """Write the corrected copy, print what changed and what a recipe should say; check the copy.

    Returns:
        Whether the copy has no errors.
    """
    from engine.annotations import audit, group
    from engine.annotations.fix import fix
    from engine.annotations.lines import one_dataset
    from engine.errors import has_errors

    dataset, classes = one_dataset(loaded.recipe for report in reports for loaded in report.recipes)
    with progress_bar("correcting") as tell:
        fixed = fix(dataset, classes, out_dir=out_dir, on_progress=tell)
    with progress_bar("checking the copy") as tell:
        found = audit(fixed.dataset, fixed.classes, cache_dir=engine_cache_dir(), on_progress=tell)
    _print_changes(fixed, out_dir, stderr=stderr)
    _print_lines(fixed, reports[0].path.parent, stderr=stderr)
    clean = not has_errors(found.problems)
    verdict = "no error" if clean else "errors that only a person can mend"
    console(stderr=stderr).print(f"With these lines, engine check finds {verdict} in the copy.", soft_wrap=True)
    print_problems(group(p for p in found.problems if p.severity == "error"), stderr=stderr)
    return clean


def _print_changes(fixed: Fixed, out_dir: Path, *, stderr: bool) -> None:
    from engine.annotations.ledger import grouped
    from engine.errors import printable

    out = console(stderr=stderr)
    what = f"{count(fixed.num_images, 'image')} with {count(fixed.num_objects, 'object')}"
    place, changes = shown_path(str(out_dir)), count(len(fixed.changes), "change")
    out.print(f"{place}: corrected copy, {what}; {changes}, each told in {place}/FIXES.md", soft_wrap=True)
    for (title, done), kind in grouped(fixed.changes).items():
        first = str(kind[0].where).replace(kind[0].where.path, shown_path(kind[0].where.path), 1)
        out.print(f"  {title}, {count(len(kind), 'time')}: {printable(done)}", soft_wrap=True)
        out.print(f"    {'at' if len(kind) == 1 else 'first at'} {first}", style="dim", soft_wrap=True)


def _print_lines(fixed: Fixed, folder: Path, *, stderr: bool) -> None:
    from engine.annotations.lines import classes_lines, dataset_lines

    out = console(stderr=stderr)
    out.print(f"For a recipe in {shown_path(str(folder))}:", soft_wrap=True)
    out.print(dataset_lines(fixed.dataset, folder), soft_wrap=True, end="")
    if fixed.unknown:
        out.print(classes_lines(fixed.classes, fixed.unknown), soft_wrap=True, end="")

"""`engine diff`: what differs between two recipes or runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.options import runs_option
from engine.cli.printing import console

if TYPE_CHECKING:
    from engine.recipe.schema import Recipe


@click.command(short_help="Show what differs between two recipes or runs.")
@click.argument("left")
@click.argument("right")
@runs_option
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def command(left: str, right: str, runs_dir: Path, *, as_json: bool) -> None:
    """Show the keys in which LEFT and RIGHT differ; each is a recipe file or a run (id, number, name or folder)."""
    from engine.recipe.difference import differences

    found = differences(_recipe(left, runs_dir), _recipe(right, runs_dir))
    if as_json:
        rows = [{"key": one.key, "left": one.left, "right": one.right} for one in found]
        content = {"left": left, "right": right, "differences": rows}
        sys.stdout.write(json.dumps(content, indent=2) + "\n")
        return
    if not found:
        console().print("no differences")
        return
    from rich.table import Table
    from rich.text import Text

    from engine.errors import printable

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("key", left, right):
        table.add_column(Text(printable(title)), overflow="fold")
    for one in found:
        table.add_row(*(Text(printable(text)) for text in (one.key, one.left_text, one.right_text)))
    console().print(table)


def _recipe(name: str, runs_dir: Path) -> Recipe:
    from engine.errors import RecipeError
    from engine.recipe.load import load_recipes, read_resolved
    from engine.rundir import find_run_dir

    path = Path(name)
    if not path.is_file() and path.suffix != ".toml":
        return read_resolved(find_run_dir(runs_dir, name).resolved)
    recipes = load_recipes(path)
    if len(recipes) > 1:
        raise RecipeError.of(
            "R405", str(path), f"this recipe is a sweep of {len(recipes)} runs",
            "compare the folders of two of its runs",
        )
    return recipes[0].recipe

"""`engine explain`: the resolved recipe, all about one key, or why a run waits or failed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.choosing import complete_runs
from engine.cli.options import runs_option
from engine.cli.printing import console

if TYPE_CHECKING:
    from engine.recipe.explain import Explanation


@click.command(short_help="Show what a recipe means, or why a run waits or failed.")
@click.argument("recipe", metavar="RECIPE|RUN", type=click.Path(path_type=Path), shell_complete=complete_runs)
@click.argument("key", required=False)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of the recipe.")
@runs_option
def command(recipe: Path, key: str | None, overrides: tuple[str, ...], runs_dir: Path) -> None:
    """Show what RECIPE means: defaults filled in, and the file and line of each value.

    With KEY, such as optimizer.lr: its value, meaning, accepted values and default. Of a RUN (its number,
    id or recipe's name) it tells why it waits, failed or is held, and what to do about it.
    """
    from engine.recipe.explain import explain_key, resolved_lines
    from engine.recipe.load import load_recipes

    if key is None and not overrides and recipe.suffix != ".toml" and not recipe.is_file():
        _print_run(str(recipe), runs_dir)
        return
    recipes = load_recipes(recipe, overrides=overrides)
    if key is not None:
        _print_key(explain_key(recipes, key))
        return
    if len(recipes) > 1:
        names = ", ".join(loaded.recipe.name for loaded in recipes)
        _print(f"# {len(recipes)} runs: {names}", style="dim")
    lines = resolved_lines(recipes)
    # Long values, mostly paths, don't push every remark to the right.
    width = max((len(line.text) for line in lines if len(line.text) <= 50), default=0)
    for line in lines:
        _print(line.text, remark=f"  # {line.remark}" if line.remark else "", width=width)


def _print_run(name: str, runs_dir: Path) -> None:
    import time

    from engine.advice import read_advice
    from engine.cli.choosing import read_board_or_fail
    from engine.rundir import RunDir
    from engine.selection import select
    from engine.standing import explain_run, progress_of

    board, rows = read_board_or_fail(runs_dir, time.time())
    for row in select(rows, [name], runs_dir=str(runs_dir)):
        _print(f"{row.run}  {row.state}", style="bold")
        for reason in explain_run(row, board, progress_of(row, runs_dir)):
            _print(f"  {reason.words}")
            if reason.fix:
                _print(f"    {reason.fix}", style="dim")
        advice = read_advice(RunDir(runs_dir / row.run))
        if advice is not None:
            _print(f"  {advice.words}")
            if advice.fix:
                _print(f"    {advice.fix}", style="dim")


def _print(text: str, *, remark: str = "", width: int = 0, style: str = "") -> None:
    from rich.text import Text

    from engine.errors import printable

    line = Text(printable(text).ljust(width) if remark else printable(text), style=style)
    line.append(printable(remark), style="dim")
    console().print(line, soft_wrap=True)


def _print_key(told: Explanation) -> None:
    _print(f"{told.key} = {told.value}" if told.value else f"[{told.key}]", style="bold")
    rows = [
        ("meaning", told.meaning),
        ("keys", ", ".join(told.keys)),
        ("accepts", "" if told.keys else told.accepts),
        ("default", told.default),
        ("from", told.source),
        *(("instead of", f"{value} from {source}") for source, value in reversed(told.replaced)),
    ]
    for label, text in rows:
        if text:
            _print(f"  {label:<11}{text}")

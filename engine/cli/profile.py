"""`engine profile`: where a training step's time goes, and what would help."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.options import set_option
from engine.cli.printing import console, print_problems
from engine.errors import EngineError, Where, has_errors

if TYPE_CHECKING:
    from engine.profile import Profile
    from engine.recipe.schema import Recipe

# What "auto" stands for here: the rehearsal, which finds it out, isn't made.
_AUTO_BATCH_SIZE = 4


@click.command("profile")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--steps", "num_steps", default=8, show_default=True, type=click.IntRange(1, 10_000),
              help="Steps to measure, after three that warm up.")
@click.option("--device", help="Another device than the recipe's hardware.device, such as cpu or cuda:1.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@set_option
def command(
    recipe: Path, num_steps: int, device: str | None, overrides: tuple[str, ...], *, as_json: bool
) -> None:  # fmt: skip
    """Measure where a training step of RECIPE spends its time, and say what would help.

    Takes real steps with the dataset's photos (the weights stay as they are) and a sample of the evaluation, and writes
    one checkpoint to a temporary folder. Nothing is queued, and nothing is left in the runs folder.
    """
    from engine.profiling import profile_recipe

    options = overrides if device is None else (*overrides, f"hardware.device={device}")
    wanted, notes = _checked(recipe, options)
    with console(stderr=True).status("profiling", spinner="line") as status:
        answer = profile_recipe(wanted, num_steps, lambda words: status.update(f"profiling: {words}"))
    print_problems([
        problem if problem.where.path else replace(problem, where=Where(str(recipe))) for problem in answer.problems
    ])
    if answer.profile is None:
        sys.exit(1)
    _show(answer.profile, notes, as_json=as_json)


def _checked(path: Path, overrides: tuple[str, ...]) -> tuple[Recipe, list[str]]:
    """The recipe, or the first run of a sweep, and what to know about that.

    Raises:
        EngineError: It has errors.
    """
    from engine.preflight import preflight

    [report] = preflight([path], overrides=overrides)
    errors = [problem for problem in report.problems if problem.severity == "error"]
    if has_errors(errors):
        raise EngineError(errors)
    recipe, notes = report.recipes[0].recipe, []
    if len(report.recipes) > 1:
        notes.append(f"the first of the sweep's {len(report.recipes)} runs; --set chooses another")
    if recipe.training.batch_size == "auto":
        training = recipe.training.model_copy(update={"batch_size": _AUTO_BATCH_SIZE})
        recipe = recipe.model_copy(update={"training": training})
        words = f'batch_size = "auto": measured with {_AUTO_BATCH_SIZE}; --set training.batch_size=N takes another'
        notes.append(words)
    return recipe, notes


def _show(profile: Profile, notes: list[str], *, as_json: bool) -> None:
    import msgspec

    profile = msgspec.structs.replace(profile, notes=(*notes, *profile.notes))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(profile), indent=2).decode())
        return
    from engine.cli.profile_table import print_profile

    print_profile(profile)

"""Recipes from files: read, merge, check, all problems of a file at once.

`load_recipes` is the way in; `resolved_json` and `read_resolved` are the form kept in a run's folder.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from engine.errors import Problem, RecipeError, Where
from engine.recipe.draft import Draft, Source, merge
from engine.recipe.faults import capped, translate, value_at
from engine.recipe.inherit import Family
from engine.recipe.keys import all_keys
from engine.recipe.overrides import override_draft
from engine.recipe.schema import Recipe
from engine.recipe.sweep import expand
from engine.recipe.tomlfile import read_toml
from engine.recipe.values import dotted

_RESOLVED_VERSION = 1
# What can't be judged while a parent is missing: keys that it may hold, values that it may change.
_HALF_BLIND = ("R204", "R205")


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """One training run as asked for.

    Attributes:
        recipe: What was meant: defaults filled in, paths absolute.
        path: The recipe file.
        text: The recipe file, to the letter.
        sources: Dotted key to where its value came from, for every key of the schema.
    """

    recipe: Recipe
    path: Path
    text: str
    sources: Mapping[str, Source]


def load_recipes(path: Path, *, overrides: Sequence[str] = ()) -> list[LoadedRecipe]:
    """Read a recipe file.

    Args:
        path: The file.
        overrides: Values of `--set`, each "key=value".

    Returns:
        One recipe, or one for each combination of a sweep.

    Raises:
        RecipeError: With every problem of the file at once.
    """
    file = read_toml(path)
    family = Family()
    options, problems = override_draft(overrides)
    merged = merge(family.merged(file), options)
    merged.path = str(path)
    drafts, found = expand(merged, options)
    problems += family.problems + found
    recipes: list[tuple[Recipe, Draft]] = []
    for draft in drafts:
        recipe, found = validated(drop_unset(draft))
        problems += found if family.is_whole else [problem for problem in found if problem.code not in _HALF_BLIND]
        if recipe is not None:
            recipes.append((recipe, draft))
    if problems:
        raise RecipeError(capped(sorted(dict.fromkeys(problems), key=_by_line), merged))
    return [LoadedRecipe(recipe, path, file.text, dict(_sources(draft))) for recipe, draft in recipes]


def _by_line(problem: Problem) -> tuple[str, float, int]:
    """In the order of the file; problems without a line, such as missing keys, last."""
    return problem.where.path, problem.where.line or float("inf"), problem.where.column or 0


def drop_unset(draft: Draft) -> Draft:
    """Take out optional keys that are `false`: TOML has no null, and an inherited value may be unwanted."""
    unset = [key.path for key in all_keys() if key.is_optional and value_at(draft.data, key.path) is False]
    if not unset:
        return draft
    data = copy.deepcopy(draft.data)  # the runs of a sweep share their tables
    for path in unset:
        del value_at(data, path[:-1])[path[-1]]
    return replace(draft, data=data)


def validated(draft: Draft) -> tuple[Recipe | None, list[Problem]]:
    """Check a draft against the schema."""
    try:
        return Recipe.model_validate(draft.data), []
    except ValidationError as error:
        return None, translate(error.errors(include_url=False, include_input=False), draft)


def _sources(draft: Draft) -> Iterator[tuple[str, Source]]:
    for key in all_keys():
        yield dotted(key.path), draft.sources.get(key.path, Source("default"))
    for path, source in draft.sources.items():
        if path[0] in ("extends", "sweep"):
            continue
        yield dotted(path), source


# --- the resolved form ---


def resolved_json(recipe: Recipe) -> bytes:
    """A recipe as JSON: the same bytes for the same recipe, whatever files it came from."""
    content = {"version": _RESOLVED_VERSION, "recipe": recipe.model_dump(mode="python")}
    return (json.dumps(content, sort_keys=True, indent=1, allow_nan=False, default=str) + "\n").encode("ascii")


def read_resolved(path: Path) -> Recipe:
    """Read what `resolved_json` wrote.

    Raises:
        RecipeError: The file can't be read, is damaged or of another version of engine.
    """
    fix = "queue the recipe again"
    try:
        content = json.loads(path.read_bytes())
        version = content["version"]
        data = content["recipe"]
    except OSError as error:
        raise RecipeError.of("R601", str(path), f"can't be read: {error.strerror}", fix) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecipeError.of("R601", str(path), "the resolved recipe is damaged", fix) from error
    if version != _RESOLVED_VERSION:
        found = f"the resolved recipe is of format {version!r}, not {_RESOLVED_VERSION}"
        raise RecipeError.of("R602", str(path), found, f"use the engine that wrote it, or {fix}")
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise RecipeError.of(
            "R602", Where(str(path), item=key), "the resolved recipe is of another version of engine",
            f"use the engine that wrote it, or {fix}",
        ) from error


def recipe_hash(recipe: Recipe) -> str:
    """The sha256 of the resolved recipe, in hexadecimal digits."""
    return hashlib.sha256(resolved_json(recipe)).hexdigest()

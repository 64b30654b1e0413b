"""Recipes from files: read, merge, check, all problems of a file at once.

`load_recipes` is the way in; `resolved_json` and `read_resolved` are the form kept in a run's folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.errors import Problem, RecipeError, Where
from engine.recipe.classmap import names_from_ids
from engine.recipe.draft import Draft, Source
from engine.recipe.faults import capped, translate
from engine.recipe.keys import all_keys
from engine.recipe.paths import BadPathError, absolute, path_strings
from engine.recipe.places import KeyPath
from engine.recipe.schema import Recipe
from engine.recipe.tomlfile import read_toml
from engine.recipe.values import dotted

_RESOLVED_VERSION = 1


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
    if overrides:
        raise RecipeError.of("R501", "--set", "--set isn't built yet", "change the recipe instead")
    file = read_toml(path)
    draft = Draft.of_file(str(path), file.data, file.places)
    problems = names_from_ids(draft)
    problems += resolve_paths(draft, path.parent)
    recipe, found = validated(draft)
    problems += found
    if recipe is None or problems:
        raise RecipeError(capped(sorted(problems, key=_by_line), draft))
    return [LoadedRecipe(recipe, path, file.text, dict(_sources(draft)))]


def _by_line(problem: Problem) -> tuple[str, float, int]:
    """In the order of the file; problems without a line, such as missing keys, last."""
    return problem.where.path, problem.where.line or float("inf"), problem.where.column or 0


def resolve_paths(draft: Draft, folder: Path) -> list[Problem]:
    """Make the paths in a draft absolute, in place; returns what is wrong with them."""
    problems: list[Problem] = []
    for key, value in list(path_strings(draft.data)):
        try:
            _put(draft.data, key, absolute(key, value, folder))
        except BadPathError as error:
            problems.append(draft.problem("R207", key, str(error), error.fix))
    return problems


def _put(data: Any, key: KeyPath, value: Any) -> None:
    for part in key[:-1]:
        data = data[part]
    data[key[-1]] = value


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

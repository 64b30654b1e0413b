"""`--set key=value`: values from the command line, laid over the recipe.

The value is TOML; a bare word is taken as text where the key holds text, so that
`--set optimizer.name=adamw` needs no quotes inside quotes. Paths are relative to the current folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli

from engine.errors import Problem, Where
from engine.recipe.classmap import names_from_ids
from engine.recipe.draft import Draft, Source, merge
from engine.recipe.inherit import resolve_paths
from engine.recipe.keys import alternatives, key_at, node_at
from engine.recipe.places import KeyPath, TooDeepError, TooManyError, find_places
from engine.recipe.values import dotted, parse_key, shortened

_OPTION = Source("--set")


class _RefusedError(ValueError):
    """An option that can't be understood; holds what to write instead."""

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(found)
        self.fix = fix


def override_draft(overrides: Sequence[str]) -> tuple[Draft, list[Problem]]:
    """Read the values of `--set`.

    Args:
        overrides: Each "key=value"; a later one wins.

    Returns:
        A draft to lay over the recipe, and what is wrong with the options.
    """
    draft = Draft("", {})
    problems: list[Problem] = []
    for option in overrides:
        try:
            key, value = parse_override(option)
        except _RefusedError as error:
            where = Where(item=f"--set {shortened(option)}")
            problems.append(Problem("R501", where, str(error), error.fix))
            continue
        draft = merge(draft, _draft_of(key, value))
    problems += names_from_ids(draft)
    problems += resolve_paths(draft, Path.cwd())
    return draft, problems


def _draft_of(key: KeyPath, value: Any) -> Draft:
    data: Any = value
    for part in reversed(key):
        data = {part: data}
    return Draft("", data, {key[:length]: _OPTION for length in range(1, len(key) + 1)})


def parse_override(option: str) -> tuple[KeyPath, Any]:
    """Split "optimizer.lr=0.001" into a key path and a value.

    Raises:
        ValueError: It isn't a key and a value.
    """
    left, equals, right = option.partition("=")
    if not equals or not left.strip():
        raise _RefusedError("a key and a value are expected", "write --set optimizer.lr=0.001")
    key = parse_key(left)
    if key is None:
        raise _RefusedError(f'"{shortened(left)}" isn\'t a key', "write --set optimizer.lr=0.001")
    if key[0] == "extends":
        raise _RefusedError("extends can't be set from the command line", "write it in a recipe")
    return key, _value(key, right.strip())


def _value(key: KeyPath, text: str) -> Any:
    if not text:
        raise _RefusedError(f"{dotted(key)} is given no value", f'write a value, or {dotted(key)}=""')
    try:
        content = tomli.loads(f"v = {text}")
        find_places(f"v = {text}")
    except (ValueError, RecursionError, TooDeepError, TooManyError) as error:
        if _holds_text(key) and "\n" not in text:
            return text
        known = key_at(key)
        expected = f"; {known.expected} is expected" if known else ""
        raise _RefusedError(
            f"{shortened(text)} isn't a TOML value{expected}", "put text in quotes, lists in [ ] and tables in { }"
        ) from error
    if set(content) != {"v"}:
        raise _RefusedError("one value is expected", "use --set once for each key")
    return content["v"]


def _holds_text(key: KeyPath) -> bool:
    node = node_at(key)
    # An unknown key is told as such later, whatever its value.
    return node is None or any(form.get("type") == "string" or "enum" in form for form in alternatives(node))

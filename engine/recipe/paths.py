"""Paths in recipes: which values are paths, and how they become absolute.

A path is relative to the folder of the file that it is written in. `~`, `$NAME` and `${NAME}` are
expanded; `$$` is a plain dollar sign. A variable that isn't set is an error, never an empty string.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.recipe.keys import alternatives, node_at, suggestion
from engine.recipe.places import KeyPath
from engine.recipe.schema import WEIGHTS_WORDS
from engine.recipe.values import shortened

_VARIABLE = re.compile(r"\$(?:(\$)|\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_LONGEST = 4096  # PATH_MAX of Linux
WEIGHTS: KeyPath = ("model", "weights")


class BadPathError(ValueError):
    """A path that can't be expanded; the message says why, `fix` what to do."""

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(found)
        self.fix = fix


def path_strings(data: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """The strings in a recipe's data that the schema takes for paths."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from path_strings(value, (*path, name))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from path_strings(value, (*path, index))
    elif isinstance(data, str) and _is_path(path, data):
        yield path, data


def _is_path(path: KeyPath, value: str) -> bool:
    if path == WEIGHTS:
        return value not in WEIGHTS_WORDS
    node = node_at(path)
    return node is not None and any(form.get("format") == "path" for form in alternatives(node))


def absolute(path: KeyPath, value: str, folder: Path) -> str:
    """Expand a path of a recipe and make it absolute.

    Args:
        path: Its key.
        value: As written.
        folder: What it is relative to.

    Raises:
        BadPathError: It is empty, or holds an unset variable or an impossible character.
    """
    if path == WEIGHTS:
        _refuse_word(value)
    if not value.strip():
        raise BadPathError("the path is empty", "name a file or folder, relative to the recipe")
    if len(value) > _LONGEST:
        raise BadPathError(f"the path is longer than {_LONGEST} characters", "shorten it")
    if "\0" in value:
        raise BadPathError("the path holds a zero character", "remove it")
    expanded = Path(_VARIABLE.sub(_variable, value))
    try:
        return str((folder.absolute() / expanded.expanduser()).resolve())
    except (OSError, RuntimeError) as error:
        raise BadPathError(f"the path can't be followed: {error}", "correct the path") from error


def put(data: Any, key: KeyPath, value: Any) -> None:
    """Replace the value at a key path of plain data, in place."""
    for part in key[:-1]:
        data = data[part]
    data[key[-1]] = value


def _variable(match: re.Match[str]) -> str:
    if match[1]:
        return "$"
    name = match[2] if match[2] is not None else match[3]
    value = os.environ.get(name)
    if not value:
        raise BadPathError(
            f'the environment variable "{shortened(name)}" isn\'t set',
            "set it before starting engine, or write the path out",
        )
    return value


def _refuse_word(value: str) -> None:
    """A misspelt word must not pass for a file: "coc" is no weights file."""
    if re.fullmatch(r"[A-Za-z0-9_-]*", value):
        close = suggestion(value, WEIGHTS_WORDS)
        hint = f'did you mean "{close}"?' if close else f'write "./{shortened(value)}" if it is a file'
        found = f'"{shortened(value)}" is neither "coco", "imagenet" nor "none", nor the name of a weights file'
        raise BadPathError(found, hint)

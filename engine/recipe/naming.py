"""Names of a sweep's runs: `desk-lr0.005-seed1`; valid, unique and at most 64 characters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.recipe.places import KeyPath
from engine.recipe.values import toml_value

MAX_LENGTH = 64
# Room for what tells the runs apart when the recipe's own name is long.
_SHORTEST_BASE = 16


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a swept key, chosen for a run.

    Attributes:
        key: The recipe key.
        index: Zero-based index in the list of values.
        value: The value.
        place: Key path of the list in the recipe.
    """

    key: KeyPath
    index: int
    value: Any
    place: KeyPath


def run_names(base: str, choices: Sequence[Sequence[Choice]]) -> list[str]:
    """Name each run of a sweep after what it chose.

    Args:
        base: The recipe's name.
        choices: For each run, its choices, in the recipe's order.

    Returns:
        As many names, all different.
    """
    varying = _varying(choices)
    labels = _labels([choice.key for choice in choices[0]] if choices else [])
    names: list[str] = []
    taken: set[str] = set()
    width = len(str(len(choices)))
    for number, run in enumerate(choices, start=1):
        parts = [f"{labels[choice.key]}{_slug(choice)}" for choice in run if choice.key in varying or len(run) == 1]
        name = _fitted(base, "".join(f"-{part}" for part in parts))
        if name is None or name in taken:
            name = _fitted(base, f"-{number:0{width}d}") or f"run-{number:0{width}d}"
            while name in taken:
                name = f"{name[: MAX_LENGTH - 1]}x"
        taken.add(name)
        names.append(name)
    return names


def _varying(choices: Sequence[Sequence[Choice]]) -> set[KeyPath]:
    """The keys with more than one value; one that is the same everywhere tells nothing apart."""
    indexes: dict[KeyPath, set[int]] = {}
    for run in choices:
        for choice in run:
            indexes.setdefault(choice.key, set()).add(choice.index)
    return {key for key, found in indexes.items() if len(found) > 1}


def _labels(keys: list[KeyPath]) -> dict[KeyPath, str]:
    """The last part of each key; with its section where two keys end alike."""
    last = [str(key[-1]) for key in keys]
    return {
        key: _clean(str(key[-1]) if last.count(str(key[-1])) == 1 else "_".join(str(part) for part in key))
        for key in keys
    }


def _slug(choice: Choice) -> str:
    """A value in a name; lists and tables by their one-based number."""
    value = choice.value
    if isinstance(value, (list, dict)):
        return str(choice.index + 1)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "_" + _clean(value if isinstance(value, str) else toml_value(value))
    return _clean(f"{value:.6g}" if isinstance(value, float) else toml_value(value))


def _clean(text: str) -> str:
    # Of a path, its end tells more than its beginning.
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text.rstrip("/").rsplit("/", 1)[-1])


def _fitted(base: str, ending: str) -> str | None:
    """Base and ending within the limit, the base cut where it must be; None when the ending leaves no room."""
    room = MAX_LENGTH - len(ending)
    return None if room < min(_SHORTEST_BASE, len(base)) else base[:room] + ending

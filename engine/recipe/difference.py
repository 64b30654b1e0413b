"""What differs between two recipes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from engine.recipe.places import KeyPath
from engine.recipe.schema import Recipe
from engine.recipe.values import dotted, toml_value


@dataclass(frozen=True, slots=True)
class Difference:
    """A key with two values; None where one recipe lacks it."""

    key: str
    left: Any
    right: Any

    @property
    def left_text(self) -> str:
        """The left value as TOML."""
        return toml_value(self.left)

    @property
    def right_text(self) -> str:
        """The right value as TOML."""
        return toml_value(self.right)


def differences(left: Recipe, right: Recipe) -> list[Difference]:
    """Every key whose value differs, in the schema's order.

    Lists are compared whole: the order of class names has a meaning.
    """
    left_values, right_values = flattened(left.model_dump(mode="python")), flattened(right.model_dump(mode="python"))
    keys = dict.fromkeys([*left_values, *right_values])
    found = [Difference(key, left_values.get(key), right_values.get(key)) for key in keys]
    return [difference for difference in found if difference.left != difference.right]


def flattened(values: dict[str, Any]) -> dict[str, Any]:
    """The values of nested tables by their dotted keys, as JSON has them; a list is one value."""
    return {dotted(path): value for path, value in _leaves(values, ())}


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, (*path, name))
    else:
        yield path, _plain(value)


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return str(value) if isinstance(value, PurePath) else value


def differing(recipes: Sequence[Recipe]) -> dict[str, list[str]]:
    """The keys in which several recipes aren't all alike, each with every recipe's value as TOML.

    The name, in which recipes always differ, is left out.
    """
    leaves = [dict(_leaves(recipe.model_dump(mode="python"), ())) for recipe in recipes]
    keys = dict.fromkeys(key for values in leaves for key in values if key != ("name",))
    rows = {dotted(key): [values.get(key) for values in leaves] for key in keys}
    return {
        key: [toml_value(value) for value in values]
        for key, values in rows.items()
        if any(value != values[0] for value in values)
    }

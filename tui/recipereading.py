"""Reads a run's recipe from the run's folder.

A recipe of an older or newer version is read as well: values are taken as they stand, never checked. This loads
the recipe's schema, which takes a third of the dashboard's start: import it when a recipe is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tomli

from engine.recipe.difference import flattened
from engine.recipe.keys import all_keys
from engine.recipe.values import dotted, toml_value
from engine.rundir import RunDir, open_regular
from tui.recipes import Origin, RecipeReading, Setting

# The run's own name differs between any two runs and tells nothing.
_NAMELESS = ("name",)
_MOST_BYTES = 4_000_000
# A class map may be written in several forms, with other keys than those it is understood as.
_FREE_FORM = "classes"


def read_recipe(run_dir: RunDir) -> RecipeReading:
    """Read the recipe of a run."""
    try:
        with open_regular(run_dir.resolved) as file:
            values = flattened(dict(json.loads(file.read(_MOST_BYTES))["recipe"]))
    except OSError as error:
        return RecipeReading(trouble=f"its resolved.json can't be read: {error.strerror or error}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return RecipeReading(trouble="its resolved.json is damaged, or of another version of engine")
    written = _written(run_dir)
    defaults = {dotted(key.path): key for key in all_keys()}
    order = {name: index for index, name in enumerate(defaults)}
    settings = []
    for name in sorted(values, key=lambda name: order.get(name, len(order))):
        known = defaults.get(name)
        default = toml_value(known.default) if known and (known.has_default or known.is_optional) else ""
        if name not in _NAMELESS:
            settings.append(_setting(name, values[name], default, written))
    return RecipeReading(tuple(settings))


@dataclass(frozen=True, slots=True)
class _Written:
    """What the recipe file itself says."""

    values: Mapping[str, Any]
    swept: frozenset[str]
    extends: bool


def _written(run_dir: RunDir) -> _Written:
    """The recipe file's own keys; none where it can't be read."""
    try:
        with open_regular(run_dir.recipe) as file:
            data = tomli.loads(file.read(_MOST_BYTES).decode())
        sweep = data.pop("sweep", {})
        swept = set(_flat(sweep)) if isinstance(sweep, dict) else set()
        if "seeds" in swept:
            swept.add("training.seed")
        return _Written(flattened(data), frozenset(swept), _extends(data))
    except (OSError, ValueError, RecursionError, TypeError):
        return _Written({}, frozenset(), extends=False)


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The keys of a sweep, whether written as "optimizer.lr" in quotes or as tables."""
    keys = []
    for name, value in table.items():
        keys += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return keys


def _extends(data: Mapping[str, Any]) -> bool:
    return "extends" in data or any(isinstance(value, dict) and "extends" in value for value in data.values())


def _setting(name: str, value: Any, default: str, written: _Written) -> Setting:
    text = toml_value(value)
    if name in written.swept:
        origin: Origin = "sweep"
    elif name in written.values:
        own = written.values[name]
        # Paths are resolved, and texts may be; of a number it is plain when the command line has changed it.
        changed = isinstance(own, (int, float)) and isinstance(value, (int, float)) and own != value
        origin = "command line" if changed else "recipe"
    elif name.startswith(f"{_FREE_FORM}.") and any(key.startswith(f"{_FREE_FORM}.") for key in written.values):
        origin = "recipe"
    elif text == default or not default:
        origin = "default"
    else:
        origin = "base" if written.extends else "command line"
    return Setting(name, text, default, origin)

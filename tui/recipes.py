"""A run's recipe as it was understood, and what in it was chosen by a person. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Origin = Literal["recipe", "sweep", "base", "command line", "default"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of a recipe.

    Attributes:
        key: Dotted.
        value: As TOML.
        default: As TOML; "" where the schema knows none.
        origin: Where it came from: the run's recipe file, its [sweep], a recipe that this one extends, an option of
            the command line, or the schema.
    """

    key: str
    value: str
    default: str
    origin: Origin

    @property
    def is_chosen(self) -> bool:
        """Whether somebody chose it, and not as the default is."""
        return self.origin != "default" and self.value != self.default


@dataclass(frozen=True, slots=True)
class RecipeReading:
    """A run's recipe.

    Attributes:
        settings: Its values, in the schema's order.
        trouble: Why it can't be read; "" when it can.
    """

    settings: tuple[Setting, ...] = ()
    trouble: str = ""

    @property
    def values(self) -> dict[str, str]:
        """Key to value."""
        return {setting.key: setting.value for setting in self.settings}


def differing(recipes: Sequence[RecipeReading]) -> list[tuple[str, tuple[str, ...]]]:
    """The keys in which recipes differ, each with its value in every one of them; "" where one lacks it."""
    values = [recipe.values for recipe in recipes]
    keys = dict.fromkeys(key for one in values for key in one)
    rows = [(key, tuple(one.get(key, "") for one in values)) for key in keys]
    return [(key, row) for key, row in rows if len(set(row)) > 1]

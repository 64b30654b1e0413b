"""What every section of a recipe shares: strictness, paths, and how a contradiction is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


@dataclass(frozen=True, slots=True)
class Fault:
    """Two values of a section that don't go together.

    Attributes:
        key: Path of the value to blame, from the section; () for the section itself.
        found: What is wrong.
        fix: What to do about it.
    """

    key: tuple[str | int, ...]
    found: str
    fix: str


class ContradictionError(ValueError):
    """Raised by a section's validator with all its faults at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(fault.found for fault in faults))
        self.faults = tuple(faults)


def refuse(faults: Iterable[Fault]) -> None:
    """Raise what contradicts itself, if anything does."""
    found = tuple(faults)
    if found:
        raise ContradictionError(found)


class Section(BaseModel):
    """A table of a recipe: strict, frozen, no unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def _as_path(value: object) -> object:
    return Path(value) if isinstance(value, str) else value


def as_tuple(value: object) -> object:
    """TOML's lists as the tuples that frozen models hold."""
    return tuple(value) if isinstance(value, list) else value


RecipePath = Annotated[Path, BeforeValidator(_as_path)]

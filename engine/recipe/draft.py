"""A recipe on its way from files to a `Recipe`: plain values, and where each came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.errors import Problem, Severity, Where
from engine.recipe.places import KeyPath, Place
from engine.recipe.values import dotted

SourceKind = Literal["file", "default", "--set", "sweep"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value came from.

    Attributes:
        kind: A file, a line of its [sweep], an option of the command line, or the schema's default.
        path: The file as it was named; "" for defaults and options.
        line: One-based line of the key, where known.
        column: One-based column of the key.
        value_line: One-based line of the value.
        value_column: One-based column of the value.
        replaced: What it took the place of, the nearest last.
    """

    kind: SourceKind
    path: str = ""
    line: int | None = None
    column: int | None = None
    value_line: int | None = None
    value_column: int | None = None
    replaced: tuple[Source, ...] = ()

    @classmethod
    def in_file(cls, path: str, place: Place, kind: SourceKind = "file") -> Source:
        """A place in a file."""
        return cls(kind, path, place.line, place.column, place.value_line, place.value_column)

    def __str__(self) -> str:
        if self.kind in ("default", "--set"):
            return self.kind
        place = f"{self.path}:{self.line}" if self.line is not None else self.path
        return f"{place} [sweep]" if self.kind == "sweep" else place


@dataclass(slots=True)
class Draft:
    """Merged values and their sources; problems that name a key are made here, so that all are located.

    Attributes:
        path: The recipe file, as the person named it.
        data: The values.
        sources: Key path to source, for tables and list items too.
    """

    path: str
    data: dict[str, Any]
    sources: dict[KeyPath, Source] = field(default_factory=dict)

    @classmethod
    def of_file(cls, path: str, data: dict[str, Any], places: Mapping[KeyPath, Place]) -> Draft:
        """The draft of one file."""
        return cls(path, data, {key: Source.in_file(path, place) for key, place in places.items()})

    def where(self, key: KeyPath, *, at_key: bool = False) -> Where:
        """The place of a key, or of the nearest table around it that stands in a file.

        Args:
            key: The key path.
            at_key: Point at the key rather than at its value.
        """
        for length in range(len(key), 0, -1):
            source = self.sources.get(key[:length])
            if source is None:
                continue
            item = dotted(key) if source.kind != "--set" else f"--set {dotted(key)}"
            if at_key or length < len(key):
                return Where(source.path, source.line, source.column, item)
            return Where(source.path, source.value_line, source.value_column, item)
        return Where(self.path, item=dotted(key))

    def problem(
        self, code: str, key: KeyPath, found: str, fix: str, *, at_key: bool = False, severity: Severity = "error"
    ) -> Problem:
        """A problem with the value at a key."""
        return Problem(code, self.where(key, at_key=at_key), found, fix, severity)

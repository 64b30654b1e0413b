"""A recipe on its way from files to a `Recipe`: plain values, and where each came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from engine.errors import Problem, Severity, Where
from engine.recipe.places import KeyPath, Place
from engine.recipe.values import dotted, shown

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
        replaced: What it took the place of, as (source, value as TOML), the oldest first.
    """

    kind: SourceKind
    path: str = ""
    line: int | None = None
    column: int | None = None
    value_line: int | None = None
    value_column: int | None = None
    replaced: tuple[tuple[Source, str], ...] = ()

    @classmethod
    def in_file(cls, path: str, place: Place) -> Source:
        """A place in a file."""
        return cls("file", path, place.line, place.column, place.value_line, place.value_column)

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
        """The place of a key, or of the nearest table around it that has one.

        Args:
            key: The key path.
            at_key: Point at the key rather than at its value.
        """
        for length in range(len(key), 0, -1):
            source = self.sources.get(key[:length])
            if source is None:
                continue
            if source.kind == "--set":
                return Where(item=f"--set {dotted(key)}")
            if at_key or length < len(key):
                return Where(source.path, source.line, source.column, dotted(key))
            return Where(source.path, source.value_line, source.value_column, dotted(key))
        return Where(self.path, item=dotted(key))

    def problem(
        self, code: str, key: KeyPath, found: str, fix: str, *, at_key: bool = False, severity: Severity = "error"
    ) -> Problem:
        """A problem with the value at a key."""
        return Problem(code, self.where(key, at_key=at_key), found, fix, severity)

    def take(self, key: str) -> Any:
        """Take a top-level key out; None when it isn't there. Its source stays."""
        return self.data.pop(key, None)


def merge(base: Draft, over: Draft) -> Draft:
    """Lay one draft over another: tables are merged key by key, anything else is replaced.

    Returns:
        A new draft; `base` and `over` may be used again.
    """
    merged = Draft(over.path or base.path, {}, dict(base.sources))
    merged.data = _merged_table(base.data, over.data, (), merged.sources, over.sources)
    return merged


def _merged_table(
    base: dict[str, Any],
    over: dict[str, Any],
    path: KeyPath,
    sources: dict[KeyPath, Source],
    over_sources: Mapping[KeyPath, Source],
) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        key = (*path, name)
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            merged[name] = _merged_table(base[name], value, key, sources, over_sources)
            # A table is where a file opens it; setting one key of it from outside doesn't move it.
            if key in over_sources and (over_sources[key].kind == "file" or key not in sources):
                sources[key] = over_sources[key]
            continue
        old = sources.get(key)
        if name in base:
            _forget(base[name], key, sources)
        _remember(value, key, sources, over_sources)
        new = over_sources.get(key)
        if new is not None and old is not None and name in base:
            sources[key] = replace(new, replaced=(*old.replaced, (replace(old, replaced=()), shown(base[name]))))
        merged[name] = value
    return merged


def _forget(value: Any, path: KeyPath, sources: dict[KeyPath, Source]) -> None:
    for key in _paths(value, path):
        sources.pop(key, None)


def _remember(
    value: Any, path: KeyPath, sources: dict[KeyPath, Source], over_sources: Mapping[KeyPath, Source]
) -> None:
    for key in _paths(value, path):
        if key in over_sources:
            sources[key] = over_sources[key]


def _paths(value: Any, path: KeyPath) -> list[KeyPath]:
    """The key path of a value and of everything in it."""
    found = [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, item in inner:
        found += _paths(item, (*path, part))
    return found

"""A recipe as it was understood, and where each of its values came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import RecipeError, Where
from engine.recipe.draft import Source
from engine.recipe.faults import value_at
from engine.recipe.keys import Key, all_keys, children, homes_of, key_at, node_at, suggestion
from engine.recipe.load import LoadedRecipe
from engine.recipe.places import KeyPath
from engine.recipe.values import dotted, parse_key, shortened, toml_key, toml_value

_DEFAULT = Source("default")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the resolved recipe: TOML, and a remark on where it came from."""

    text: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """All there is to know about one key.

    Attributes:
        key: Dotted.
        value: As TOML; "not set" when it has none. Of a sweep, all values of its runs.
        meaning: What it is for.
        accepts: What it accepts, in words.
        default: As TOML, or "" when there is none.
        source: Where the value came from.
        replaced: What it took the place of, as (source, value), the oldest first.
        keys: The keys of a table; () for a value.
    """

    key: str
    value: str
    meaning: str
    accepts: str
    default: str
    source: str
    replaced: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]


# --- the whole recipe ---


def resolved_lines(recipes: Sequence[LoadedRecipe]) -> list[Line]:
    """The recipe with everything filled in, as TOML that could be run as it stands.

    Args:
        recipes: What `load_recipes` returned; of a sweep, the first run's values are shown.

    Returns:
        Lines, each with where its value came from.
    """
    dumps = [loaded.recipe.model_dump(mode="python") for loaded in recipes]
    return list(_table_lines(dumps, recipes[0], ()))


def _table_lines(dumps: list[dict[str, Any]], first: LoadedRecipe, path: KeyPath) -> Iterator[Line]:
    table: dict[str, Any] = value_at(dumps[0], path)
    inner = [name for name, value in table.items() if isinstance(value, dict) and _is_section((*path, name))]
    if path:
        yield Line("")
        yield Line(f"[{dotted(path)}]")
    for name, value in table.items():
        if name not in inner:
            yield _value_line(name, value, dumps, first, (*path, name))
    for name in inner:
        yield from _table_lines(dumps, first, (*path, name))


def _is_section(path: KeyPath) -> bool:
    node = node_at(path)
    return node is not None and bool(children(node))


def _value_line(name: str, value: Any, dumps: list[dict[str, Any]], first: LoadedRecipe, path: KeyPath) -> Line:
    remark = str(first.sources.get(dotted(path), _DEFAULT))
    values = _different(dumps, path)
    if len(values) > 1 and path != ("name",):
        remark = f"one of {shortened(', '.join(values))} - {remark}"
    if value is None:
        return Line(f"# {toml_key(name)} is not set", remark)
    return Line(f"{toml_key(name)} = {toml_value(value)}", remark)


def _different(dumps: list[dict[str, Any]], path: KeyPath) -> list[str]:
    """The values of a key over all runs, each once, as TOML."""
    return list(dict.fromkeys(toml_value(value_at(dump, path)) for dump in dumps))


# --- one key ---


def explain_key(recipes: Sequence[LoadedRecipe], text: str) -> Explanation:
    """Tell about one key.

    Args:
        recipes: What `load_recipes` returned.
        text: The key, dotted.

    Raises:
        RecipeError: There is no such key.
    """
    path = parse_key(text)
    key = key_at(path) if path else None
    if path is None or key is None:
        raise RecipeError.of("R201", Where(item=shortened(text)), "a recipe has no such key", _key_fix(text))
    dumps = [loaded.recipe.model_dump(mode="python") for loaded in recipes]
    values = _different(dumps, path)
    is_table = key.is_section and isinstance(value_at(dumps[0], path), dict)
    source = _source(recipes[0], path)
    return Explanation(
        key=dotted(path),
        value="" if is_table else ", ".join(values),
        meaning=key.meaning,
        accepts=key.expected + (", or false for not set" if key.is_optional else ""),
        default=_default_words(key),
        source=str(source),
        replaced=tuple((str(earlier), value) for earlier, value in source.replaced),
        keys=tuple(children(key.node)),
    )


def _source(loaded: LoadedRecipe, path: KeyPath) -> Source:
    """Where a value came from; one set within a larger value came with that."""
    for length in range(len(path), 0, -1):
        source = loaded.sources.get(dotted(path[:length]))
        if source is not None and (length == len(path) or source.kind != "default"):
            return source
    return _DEFAULT


def _default_words(key: Key) -> str:
    if key.has_default:
        return toml_value(key.default)
    return "" if key.required else "not set" if key.is_optional else ""


def _key_fix(text: str) -> str:
    known = [dotted(key.path) for key in all_keys()]
    close = suggestion(text, known)
    homes = homes_of(text)
    if homes:
        return f"did you mean {' or '.join(homes)}?"
    return f'did you mean "{close}"?' if close else "leave the key out to see them all"

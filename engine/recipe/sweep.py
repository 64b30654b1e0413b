"""`[sweep]`: one recipe, a run for each combination of values.

Every key of the table is a recipe key with a list of values. `zip = true` goes through the lists
side by side instead of through all combinations; `seeds` repeats each combination with other seeds.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

from engine.errors import Problem
from engine.recipe.draft import Draft, Source, merge
from engine.recipe.faults import MAX_PROBLEMS
from engine.recipe.keys import all_keys, homes_of, key_at, suggestion
from engine.recipe.naming import Choice, run_names
from engine.recipe.paths import BadPathError, absolute, path_strings, put
from engine.recipe.places import KeyPath
from engine.recipe.values import dotted, parse_key, shortened, shown, toml_value, type_words

MAX_RUNS = 500
# Comparing each pair of swept keys stays cheap; there are fewer keys in a recipe anyway.
MAX_AXES = 200
_SEED: KeyPath = ("training", "seed")
_OPTIONS = ("zip", "seeds")


@dataclass(frozen=True, slots=True)
class Axis:
    """One swept key.

    Attributes:
        key: The recipe key that is set.
        values: Its values.
        place: Key path of the list in the recipe, `("sweep", ...)`.
    """

    key: KeyPath
    values: tuple[Any, ...]
    place: KeyPath


@dataclass(slots=True)
class _Sweep:
    axes: list[Axis] = field(default_factory=list)
    seeds: Axis | None = None
    is_zip: bool = False
    problems: list[Problem] = field(default_factory=list)


def expand(draft: Draft, overridden: Draft) -> tuple[list[Draft], list[Problem]]:
    """Turn a draft with a [sweep] into one draft for each run.

    Args:
        draft: The merged recipe, options of the command line included.
        overridden: Those options alone: a swept key that one of them sets isn't swept.

    Returns:
        The drafts, without [sweep] ([draft] when there is none), and what is wrong with the sweep.
    """
    table = draft.take("sweep")
    if table is None or table is False:
        return [draft], []
    sweep = _read(table, draft)
    if sweep.problems:
        return [draft], sweep.problems
    sweep.axes = [axis for axis in sweep.axes if not _is_set(axis.key, overridden.data)]
    if sweep.seeds is not None and _is_set(_SEED, overridden.data):
        sweep.seeds = None
    problems = _size_problems(sweep, draft)
    if problems:
        return [draft], problems
    choices = list(_choices(sweep))
    if choices == [()]:
        return [draft], []
    return _named([_chosen(draft, choice) for choice in choices], choices, draft), []


def _is_set(key: KeyPath, data: Any) -> bool:
    for part in key:
        if not isinstance(data, dict):
            return True
        if part not in data:
            return False
        data = data[part]
    return True


# --- reading the table ---


def _read(table: Any, draft: Draft) -> _Sweep:
    sweep = _Sweep()
    if not isinstance(table, dict):
        found = f"{shown(table)} is {type_words(table)}; a table of keys and their values is expected"
        sweep.problems.append(draft.problem("R401", ("sweep",), found, 'write [sweep], then "optimizer.lr" = [0.01]'))
        return sweep
    if "zip" in table and not isinstance(table["zip"], bool):
        found = f"{shown(table['zip'])} is {type_words(table['zip'])}; true or false is expected"
        sweep.problems.append(draft.problem("R401", ("sweep", "zip"), found, "write zip = true"))
    sweep.is_zip = table.get("zip") is True
    if "seeds" in table:
        sweep.seeds = _axis(_SEED, table["seeds"], ("sweep", "seeds"), sweep, draft)
    for key, value, place in _flattened({name: table[name] for name in table if name not in _OPTIONS}, (), ("sweep",)):
        if len(sweep.problems) > MAX_PROBLEMS or len(sweep.axes) > MAX_AXES:
            break
        axis = _axis(key, value, place, sweep, draft)
        if axis is not None:
            sweep.axes.append(axis)
    _refuse_overlaps(sweep, draft)
    return sweep


def _flattened(table: dict[str, Any], key: KeyPath, place: KeyPath) -> Iterator[tuple[KeyPath, Any, KeyPath]]:
    """Each list of the table with the recipe key it is for, written as "a.b" = [...] or a.b = [...]."""
    for name, value in table.items():
        inner = (*key, *((parse_key(name) if key_at((*key, name)) is None else None) or (name,)))
        if isinstance(value, dict) and value:
            yield from _flattened(value, inner, (*place, name))
        else:
            yield inner, value, (*place, name)


def _axis(key: KeyPath, value: Any, place: KeyPath, sweep: _Sweep, draft: Draft) -> Axis | None:
    def refuse(code: str, found: str, fix: str, at: KeyPath = place, *, at_key: bool = False) -> None:
        sweep.problems.append(draft.problem(code, at, found, fix, at_key=at_key))

    if key_at(key) is None:
        refuse("R402", f'there is no key "{shortened(dotted(key))}" to sweep', _key_fix(key), at_key=True)
    elif not isinstance(value, list):
        fix = f"write {place[-1]} = [{shown(value)}]" if place[-1] == "seeds" else f'write "{dotted(key)}" = [...]'
        refuse("R401", f"{shown(value)} is {type_words(value)}; a list of values is expected", fix)
    elif not value:
        refuse("R401", "the list of values is empty", "write at least one value, or remove the line")
    else:
        written = [toml_value(item) for item in value[: MAX_RUNS + 1]]
        twice = next((index for index, text in enumerate(written) if text in written[:index]), None)
        if twice is not None:
            refuse("R401", f"{shown(value[twice])} is listed twice", "remove one of the two", (*place, twice))
        return Axis(key, tuple(value), place)
    return None


def _key_fix(key: KeyPath) -> str:
    close = suggestion(dotted(key), [dotted(known.path) for known in all_keys()] + list(_OPTIONS))
    homes = homes_of(str(key[-1])) if len(key) == 1 else []
    if homes:
        return "write " + " or ".join(f'"{home}"' for home in homes)
    return f'did you mean "{close}"?' if close else "name a key of the recipe, such as optimizer.lr"


def _refuse_overlaps(sweep: _Sweep, draft: Draft) -> None:
    axes = sweep.axes + ([sweep.seeds] if sweep.seeds else [])
    for one, other in itertools.combinations(axes, 2):
        length = min(len(one.key), len(other.key))
        if one.key[:length] == other.key[:length]:
            told = f"{dotted(one.place[1:])} and {dotted(other.place[1:])} both set {dotted(one.key[:length])}"
            sweep.problems.append(draft.problem("R403", one.place, told, "remove one of the two", at_key=True))


def _size_problems(sweep: _Sweep, draft: Draft) -> list[Problem]:
    lengths = {len(axis.values) for axis in sweep.axes}
    if sweep.is_zip and len(lengths) > 1:
        told = ", ".join(f"{dotted(axis.key)} has {len(axis.values)}" for axis in sweep.axes)
        found = f"with zip = true all lists must be equally long: {told}"
        return [draft.problem("R403", ("sweep", "zip"), found, "give each list as many values, or remove zip")]
    count = len(sweep.seeds.values) if sweep.seeds else 1
    for length in lengths if sweep.is_zip else (len(axis.values) for axis in sweep.axes):
        count *= length
    if count > MAX_RUNS:
        found = f"the sweep makes {count} runs; at most {MAX_RUNS} are made from one recipe"
        return [draft.problem("R404", ("sweep",), found, "sweep fewer values, or use zip = true")]
    return []


# --- making the runs ---


def _choices(sweep: _Sweep) -> Iterator[tuple[Choice, ...]]:
    lists = [[Choice(axis.key, index, value, axis.place) for index, value in enumerate(axis.values)]
             for axis in sweep.axes]  # fmt: skip
    combinations: Iterator[tuple[Choice, ...]] = (
        zip(*lists, strict=True) if sweep.is_zip and lists else itertools.product(*lists)
    )
    seeds = sweep.seeds
    for combination in combinations:
        if seeds is None:
            yield combination
            continue
        for index, seed in enumerate(seeds.values):
            yield (*combination, Choice(seeds.key, index, seed, seeds.place))


def _chosen(draft: Draft, choices: tuple[Choice, ...]) -> Draft:
    for choice in choices:
        source = _sweep_source(draft, (*choice.place, choice.index))
        draft = merge(draft, _one_value(draft.path, choice, source))
    return draft


def _one_value(path: str, choice: Choice, source: Source) -> Draft:
    data: Any = choice.value
    for part in reversed(choice.key):
        data = {part: data}
    # Only the key itself: its section stays where the recipe has it.
    return Draft(path, data, {choice.key: source})


def _sweep_source(draft: Draft, place: KeyPath) -> Source:
    for length in range(len(place), 0, -1):
        if place[:length] in draft.sources:
            return replace(draft.sources[place[:length]], kind="sweep", replaced=())
    return Source("sweep", draft.path)


def _named(runs: list[Draft], choices: list[tuple[Choice, ...]], draft: Draft) -> list[Draft]:
    base = draft.data.get("name")
    if not _is_name(base) or any(choice.key == ("name",) for choice in choices[0]):
        return runs
    source = _sweep_source(draft, ("sweep",))
    return [
        merge(run, Draft(run.path, {"name": name}, {("name",): source}))
        for run, name in zip(runs, run_names(base, choices), strict=True)
    ]


def _is_name(text: Any) -> TypeGuard[str]:
    """Whether the recipe's own name is valid; if not, it is told where it stands, not in the runs' names."""
    key = key_at(("name",))
    return isinstance(text, str) and key is not None and re.search(key.node["pattern"], text) is not None


def absolute_sweep_paths(draft: Draft, folder: Path) -> list[Problem]:
    """Make the paths among a file's swept values absolute, in place; returns what is wrong with them."""
    problems: list[Problem] = []
    table = draft.data.get("sweep")
    if not isinstance(table, dict):
        return problems
    for key, values, place in list(_flattened(table, (), ("sweep",))):
        if not isinstance(values, list):
            continue
        for index, value in enumerate(values):
            holder = {"value": value}
            for path, text in list(path_strings(value, key)):
                try:
                    put(holder, ("value", *path[len(key) :]), absolute(path, text, folder))
                except BadPathError as error:
                    problems.append(draft.problem("R207", (*place, index), str(error), error.fix))
            values[index] = holder["value"]
    return problems

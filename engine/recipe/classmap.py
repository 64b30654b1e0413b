"""The class map written with ids: `[classes]` as `background = 0, mug = 1, laptop = 2`.

People come with such a dictionary from PyTorch tutorials. It becomes `names` in the order of the
ids; the background is added by the model and isn't a class.
"""

from __future__ import annotations

from typing import Any

from engine.errors import Problem
from engine.recipe.draft import Draft
from engine.recipe.places import KeyPath
from engine.recipe.values import shown, type_words

_KEYS = ("names", "aliases", "ignore")
_CLASSES: KeyPath = ("classes",)


def names_from_ids(draft: Draft) -> list[Problem]:
    """Replace a class map with ids by `names`, in place.

    Returns:
        What is wrong with the ids; the map is then left out of the draft.
    """
    classes = draft.data.get("classes")
    if not isinstance(classes, dict) or not _has_ids(classes):
        return []
    ids = {name: value for name, value in classes.items() if name not in ("aliases", "ignore") or _is_id(value)}
    problems = _id_problems(ids, draft)
    others = {name: value for name, value in classes.items() if name not in ids}
    if problems:
        # The rest of the recipe is still looked at; a stand-in keeps "names is missing" quiet.
        draft.data["classes"] = {"names": [str(name) for name in ids if name != "background"] or ["?"]}
        return problems
    named = sorted((name for name in ids if name != "background"), key=lambda name: ids[name])
    draft.data["classes"] = {"names": named, **others}
    _move_sources(named, ids, draft)
    return []


def _has_ids(classes: dict[str, Any]) -> bool:
    ids = [_is_id(value) for value in classes.values()]
    # All of them ids: a class may even be called "names".
    return any(ids) and ("names" not in classes or all(ids))


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _id_problems(ids: dict[str, Any], draft: Draft) -> list[Problem]:
    def problem(name: str, found: str, fix: str) -> Problem:
        return draft.problem("R206", (*_CLASSES, name), found, fix)

    problems = [
        problem(name, f"{shown(value)} is {type_words(value)}; a class id is a whole number", f"write {name} = 1")
        for name, value in ids.items()
        if not _is_id(value)
    ]
    if problems:
        return problems
    if ids.get("background", 0) != 0:
        problems.append(problem("background", "the background's id is always 0", "write background = 0, or remove it"))
    owners: dict[int, str] = {}
    for name, value in ids.items():
        if value in owners:
            found = f'classes "{owners[value]}" and "{name}" both have id {shown(value)}'
            problems.append(problem(name, found, "give each class its own id"))
        owners.setdefault(value, name)
    if problems:
        return problems
    return _gap(ids, problem)


def _gap(ids: dict[str, Any], problem: Any) -> list[Problem]:
    names = sorted((name for name in ids if name != "background"), key=lambda name: ids[name])
    if not names:
        return [problem("background", "the class map holds nothing but the background", "add classes: mug = 1")]
    first = 1 if "background" in ids or ids[names[0]] != 0 else 0
    for expected, name in enumerate(names, start=first):
        if ids[name] != expected:
            found = f'class ids go up by one from {first}; "{name}" has {shown(ids[name])} where {expected} is next'
            return [problem(name, found, f"write {name} = {expected}")]
    return []


def _move_sources(named: list[str], ids: dict[str, Any], draft: Draft) -> None:
    for index, name in enumerate(named):
        source = draft.sources.get((*_CLASSES, name))
        if source is not None:
            draft.sources[(*_CLASSES, "names", index)] = source
    for name in ids:
        source = draft.sources.pop((*_CLASSES, name), None)
        if source is not None:
            draft.sources.setdefault((*_CLASSES, "names"), source)

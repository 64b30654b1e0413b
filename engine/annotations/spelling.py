"""Which class a misspelt name means, where there can be no doubt.

Refuses to guess: short names, names that differ in a digit, and names near to two classes are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.annotations.folders import composed
from engine.errors import printable
from engine.recipe.schema import Classes

_LONG_ENOUGH = 5
"""Fewer characters than this are too near to other words: "cat" is no slip for "car"."""
_TWO_SLIPS = 9
"""From so many characters on, two slips still leave no doubt."""
_LONGEST = 200


def corrections(names: Iterable[str], classes: Classes) -> dict[str, str]:
    """Written name -> name in the class map, for aliases and for slips of which the meaning is plain.

    Args:
        names: Class names as written; those the map has, or ignores, need no correction.
        classes: The class map.

    Returns:
        Only the names that need a correction and have one.
    """
    meant = {composed(name): name for name in classes.names}
    meant.update({composed(alias): target for alias, target in classes.aliases.items()})
    ignored = {composed(name) for name in classes.ignore}
    found = {}
    for name in dict.fromkeys(names):
        known = meant.get(composed(name))
        if known is None and composed(name) not in ignored:
            known = _plainly_meant(name, meant, ignored)
        if known is not None and known != name:
            found[name] = known
    return found


def _plainly_meant(name: str, meant: dict[str, str], ignored: set[str]) -> str | None:
    word = _bare(name)
    targets = {target for known, target in meant.items() if _near(word, _bare(known))}
    # A name as near to a class that is left out on purpose is in doubt.
    if len(targets) != 1 or any(_near(word, _bare(other)) for other in ignored):
        return None
    return targets.pop()


def _bare(name: str) -> str:
    """A name without what is no difference in meaning: case, how words are joined, characters that can't be seen."""
    seen = "".join(char for char in composed(name)[:_LONGEST] if printable(char) == char)
    return " ".join(seen.casefold().replace("_", " ").replace("-", " ").split())


def _near(one: str, other: str) -> bool:
    if one == other:
        return True
    shorter = min(len(one), len(other))
    if shorter < _LONG_ENOUGH or _digits(one) != _digits(other):
        return False
    bound = 2 if shorter >= _TWO_SLIPS else 1
    return abs(len(one) - len(other)) <= bound and distance(one, other) <= bound


def _digits(word: str) -> str:
    return "".join(char for char in word if char.isdigit())


def distance(one: str, other: str) -> int:
    """Letters to insert, delete, replace or swap with their neighbour to make one word of another.

    Source:
        Damerau-Levenshtein distance, in the form that edits no letter twice.
    """
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        row = [i]
        for j, wanted in enumerate(other, start=1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]

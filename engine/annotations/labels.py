"""Turn class names as written into indices of the class map, or say what may have been meant."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

from engine.annotations.folders import composed
from engine.recipe.schema import Classes

IGNORED = -1
MAX_SUGGESTIONS = 100
# Below it, "skateboard" would be taken for "keyboard".
_LIKENESS = 0.8


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Names and aliases -> zero-based index; ignored names -> `IGNORED`."""

    indices: dict[str, int]
    names: tuple[str, ...]
    suggestions: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, classes: Classes) -> LabelMap:
        """The map of a recipe."""
        indices = {composed(name): index for index, name in enumerate(classes.names)}
        aliases = {composed(alias): indices[composed(target)] for alias, target in classes.aliases.items()}
        ignored = {composed(name): IGNORED for name in classes.ignore}
        return cls({**ignored, **aliases, **indices}, classes.names)

    def index(self, name: str) -> int | None:
        """The index of a class, `IGNORED`, or None when the map doesn't know it."""
        index = self.indices.get(name)
        return self.indices.get(composed(name)) if index is None else index

    def suggestion(self, name: str) -> str | None:
        """The class of `names` that may have been meant, through an alias too; None if none is near.

        Only the first `MAX_SUGGESTIONS` names are looked up: a file of another dataset has thousands.
        """
        if name not in self.suggestions and len(self.suggestions) < MAX_SUGGESTIONS:
            self.suggestions[name] = self._nearest(name)
        return self.suggestions.get(name)

    def _nearest(self, name: str) -> str | None:
        lower = {known.lower(): index for known, index in self.indices.items() if index != IGNORED}
        near = difflib.get_close_matches(composed(name)[:200].lower(), lower, n=1, cutoff=_LIKENESS)
        return self.names[lower[near[0]]] if near else None

"""`extends`: a recipe takes everything from others and says only what differs.

Parents are merged in the order in which they are listed, the recipe itself last; later wins. Each
file's paths are made absolute before merging, so that they stay relative to where they are written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import EngineError, Problem
from engine.recipe.classmap import names_from_ids
from engine.recipe.draft import Draft, merge
from engine.recipe.paths import BadPathError, absolute, path_strings, put
from engine.recipe.places import KeyPath
from engine.recipe.sweep import absolute_sweep_paths
from engine.recipe.tomlfile import TomlFile, read_toml
from engine.recipe.values import shortened, shown, type_words

MAX_FILES = 50
_EXTENDS: KeyPath = ("extends",)


@dataclass(slots=True)
class Family:
    """A recipe with everything it extends.

    Attributes:
        problems: What was wrong on the way.
        is_whole: False when a parent couldn't be read; keys may then be missing through no fault.
    """

    problems: list[Problem] = field(default_factory=list)
    is_whole: bool = True
    _drafts: dict[Path, Draft] = field(default_factory=dict)

    def merged(self, file: TomlFile) -> Draft:
        """The recipe's values laid over those of its parents."""
        return self._merged(file, (file.path.resolve(),))

    def _merged(self, file: TomlFile, chain: tuple[Path, ...]) -> Draft:
        own = Draft.of_file(str(file.path), file.data, file.places)
        parents = self._parents(own, file.path.parent)
        self.problems += names_from_ids(own)
        self.problems += resolve_paths(own, file.path.parent)
        self.problems += absolute_sweep_paths(own, file.path.parent)
        merged = Draft(own.path, {})
        for key, path in parents:
            parent = self._parent(own, key, path, chain)
            merged = merge(merged, parent) if parent else merged
        merged = merge(merged, own)
        self._drafts[chain[-1]] = merged
        return merged

    def _parents(self, own: Draft, folder: Path) -> list[tuple[KeyPath, Path]]:
        extends = own.take("extends")
        if extends is None:
            return []
        named = extends if isinstance(extends, list) else [extends]
        if len(named) > MAX_FILES:
            self._refuse(own, "R303", _EXTENDS, f"more than {MAX_FILES} recipes are extended", "extend fewer recipes")
            return []
        parents = []
        for index, value in enumerate(named):
            key = (*_EXTENDS, index) if isinstance(extends, list) else _EXTENDS
            if not isinstance(value, str):
                found = f"{shown(value)} is {type_words(value)}; a recipe file, or a list of them, is expected"
                self._refuse(own, "R301", key, found, 'write extends = "base.toml"')
                continue
            try:
                parents.append((key, _as_named(absolute(key, value, folder))))
            except BadPathError as error:
                self._refuse(own, "R207", key, str(error), error.fix)
        return parents

    def _parent(self, own: Draft, key: KeyPath, path: Path, chain: tuple[Path, ...]) -> Draft | None:
        real = path.resolve()
        if real in chain:
            told = " -> ".join(str(_as_named(str(step))) for step in (*chain[chain.index(real) :], real))
            self._refuse(own, "R302", key, f"these recipes extend one another: {told}", "remove one of these extends")
            return None
        if real in self._drafts:
            return self._drafts[real]
        if len(self._drafts) + len(chain) > MAX_FILES:
            self._refuse(own, "R303", key, f"more than {MAX_FILES} recipes are extended", "extend fewer recipes")
            return None
        try:
            file = read_toml(path)
        except EngineError as error:
            self.is_whole = False
            for problem in error.problems:
                # Where a file isn't to be read, the line to correct is the one that names it.
                found = f'"{shortened(str(path), 200)}": {problem.found}'
                is_here = problem.code == "R101"
                self.problems.append(own.problem("R301", key, found, problem.fix) if is_here else problem)
            return None
        return self._merged(file, (*chain, real))

    def _refuse(self, own: Draft, code: str, key: KeyPath, found: str, fix: str) -> None:
        self.is_whole = False
        self.problems.append(own.problem(code, key, found, fix))


def resolve_paths(draft: Draft, folder: Path) -> list[Problem]:
    """Make the paths in a draft absolute, in place; returns what is wrong with them."""
    problems: list[Problem] = []
    for key, value in list(path_strings(draft.data)):
        try:
            put(draft.data, key, absolute(key, value, folder))
        except BadPathError as error:
            problems.append(draft.problem("R207", key, str(error), error.fix))
    return problems


def _as_named(path: str) -> Path:
    """A path as a person would name it: from the current folder when it lies below."""
    try:
        return Path(path).relative_to(Path.cwd())
    except ValueError:
        return Path(path)

"""Collect what is found in one split: faults one by one, and what policies settled as one note a kind."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.annotations.codes import TITLES
from engine.errors import EngineError, Problem, Severity, Where

MAX_EXAMPLES = 5
_RANK: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(slots=True)
class _Settled:
    fix: str
    severity: Severity
    places: list[Where] = field(default_factory=list)
    details: Counter[str] = field(default_factory=Counter)


class Findings:
    """What is found in one split, in the order of the files."""

    def __init__(self, split: str, folder: str) -> None:
        self._split = split
        self._folder = folder
        self._problems: list[Problem] = []
        self._settled: dict[tuple[str, str], _Settled] = {}

    def __bool__(self) -> bool:
        return bool(self._problems or self._settled)

    def add(self, problem: Problem) -> None:
        """Tell a problem as it is."""
        self._problems.append(problem)

    def add_all(self, error: EngineError) -> None:
        """Tell the problems an exception carries."""
        self._problems.extend(error.problems)

    def fault(self, code: str, where: Where, found: str, fix: str) -> None:
        """Tell an error."""
        self._problems.append(Problem(code, where, found, fix))

    def settled(
        self, code: str, action: str, where: Where, *, key: str = "", detail: str = "", warning: str = ""
    ) -> None:
        """Count something that a policy took care of; told as one note a code and action.

        Args:
            code: What was wrong.
            action: What was done, such as "objects left out".
            where: One place of it.
            key: The policy, such as "dataset.empty_boxes"; "" where there is no choice.
            detail: What to count by, such as a class name; "" for nothing.
            warning: What to do about it, where it is a warning rather than a note.
        """
        settled = self._settled.get((code, action))
        if settled is None:
            fix = warning or (f'nothing to do; {key} = "error" tells each by itself' if key else "nothing to do")
            settled = self._settled[code, action] = _Settled(fix, "warning" if warning else "note")
        settled.places.append(where)
        if detail:
            settled.details[detail] += 1

    def by_policy(self, policy: str, problem: Problem, *, key: str, action: str) -> None:
        """Tell a fault as an error, or as settled when its policy is another than "error"."""
        if policy == "error":
            self._problems.append(problem)
        else:
            self.settled(problem.code, action, problem.where, key=key)

    def problems(self) -> tuple[Problem, ...]:
        """All of it: errors, then warnings, then notes."""
        notes = [self._note(code, action, settled) for (code, action), settled in self._settled.items()]
        return in_order([*self._problems, *notes])

    def _note(self, code: str, action: str, settled: _Settled) -> Problem:
        count = len(settled.places)
        found = f"{TITLES[code]}, {count} time{'s' if count > 1 else ''} in {self._split}: {action}"
        if settled.details:
            found += f"; {_listed(f'{name} ({times})' for name, times in settled.details.most_common())}"
        # A single place is told as such; of several, the folder they share, and the first within it.
        where = settled.places[0]
        if count > 1:
            folder = common_folder(settled.places)
            found += f"; at {_listed(dict.fromkeys(within(place, folder) for place in settled.places))}"
            where = Where(folder or self._folder)
        return Problem(
            code=code,
            where=where,
            found=found,
            fix=settled.fix,
            severity=settled.severity,
        )


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Errors first, then warnings, then notes; within these the order stays."""
    return tuple(sorted(problems, key=lambda problem: _RANK[problem.severity]))


def common_folder(places: Iterable[Where]) -> str:
    """The file that all places are in, or the folder that holds all their files, or ""."""
    files = {place.path for place in places if place.path}
    if len(files) == 1:
        return files.pop()
    try:
        return os.path.commonpath(files) if files else ""
    except ValueError:  # absolute and relative paths together
        return ""


def within(place: Where, folder: str) -> str:
    """A place as it is called by somebody who stands in the folder."""
    if not folder or not place.path.startswith(folder):
        return str(place)
    return str(Where(place.path[len(folder) :].lstrip(os.sep), place.line, place.column, place.item))


def _listed(parts: Iterable[str]) -> str:
    every = list(parts)
    text = ", ".join(every[:MAX_EXAMPLES])
    return text if len(every) <= MAX_EXAMPLES else f"{text} and {len(every) - MAX_EXAMPLES} more"

"""The one shape in which anything wrong is told, and the exceptions that carry it.

A `Problem` says where it is, what was found there and what to do about it. Code that meets a
fault a person can cause raises an `EngineError` with problems; only the front door prints them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "note"]

# Unicode categories that can move the cursor, hide text or reverse its order in a terminal.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    """Make text from a file safe to print: control and formatting characters become escapes."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _UNPRINTABLE else char
        for char in text
    )


@dataclass(frozen=True, slots=True)
class Where:
    """A place: a file, or a run, and what in it.

    Attributes:
        path: The file as the person would name it, or "" when no file is to blame.
        line: One-based line, where known.
        column: One-based column, where known.
        item: What in the file: a dotted recipe key, or 'object 3 "mug"'.
    """

    path: str = ""
    line: int | None = None
    column: int | None = None
    item: str = ""

    def __str__(self) -> str:
        place = self.path
        if self.line is not None:
            place += f":{self.line}"
            if self.column is not None:
                place += f":{self.column}"
        return printable("  ".join(part for part in (place, self.item) if part))


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong, told so that a person can act on it.

    Attributes:
        code: Stable code such as "D102"; the letter names the area (R recipe, D data, W weights,
            Q queue, T training, X export and prediction, E environment).
        where: The place.
        found: What was found there, rule and value.
        fix: What to do about it.
        severity: "error" stops a run from being queued; "warning" and "note" do not.
    """

    code: str
    where: Where
    found: str
    fix: str
    severity: Severity = "error"

    def __str__(self) -> str:
        place = f"{self.where}: " if str(self.where) else ""
        return printable(f"{place}{self.code} {self.found} (fix: {self.fix})")

    def as_dict(self) -> dict[str, object]:
        """The problem as plain values for JSON."""
        return asdict(self)


_TOLD = re.compile(r"(?P<place>.*?: )?(?P<code>[A-Z]\d{3}) (?P<found>.*) \(fix: (?P<fix>.*)\)", re.DOTALL)


def told_apart(told: str) -> tuple[str, str]:
    """What was found, its code at the end, and what to do about it, out of a problem told in one line.

    A run's reason is one. Any other text is what was found, with nothing to do about it.
    """
    parts = _TOLD.fullmatch(told)
    if parts is None or "(fix: " in parts["found"]:  # several of them
        return told, ""
    return f"{parts['place'] or ''}{parts['found']} ({parts['code']})", parts["fix"]


def plain(told: str) -> str:
    """A problem told in one line with its words first: where it is cut off, what matters is still there."""
    found, fix = told_apart(told)
    return f"{found}; {fix}" if fix else found


def has_errors(problems: Iterable[Problem]) -> bool:
    """Whether any of the problems stops a run."""
    return any(problem.severity == "error" for problem in problems)


@dataclass(eq=False)
class EngineError(Exception):
    """Base of every fault that `engine` can name; carries at least one problem."""

    problems: Sequence[Problem] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def of(cls, code: str, where: Where | str, found: str, fix: str) -> EngineError:
        """One error problem, raised at once."""
        place = Where(where) if isinstance(where, str) else where
        return cls((Problem(code, place, found, fix),))


class RecipeError(EngineError):
    """A recipe that can't be read or means nothing."""


class DataError(EngineError):
    """A dataset that doesn't hold what its recipe says."""


class WeightsError(EngineError):
    """Weights that are missing, damaged or of another model."""


class QueueError(EngineError):
    """A queue or run that can't do what was asked."""


class TrainingError(EngineError):
    """A run that can't go on; `cause` is the recorded kind of failure."""

    cause: str = "error"


class MemoryExhausted(TrainingError):
    """Memory doesn't hold even one image at a time."""

    cause = "out of memory"


class Diverged(TrainingError):
    """The loss became infinite or not a number, before any weight changed."""

    cause = "diverged"

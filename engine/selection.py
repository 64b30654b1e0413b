"""Which runs a person means: "3", "3-7", "0003-desk", "desk", "desk-*", "failed".

Pure: rows and words in, rows out. A word that could mean two things is refused rather than guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import get_args

from engine.errors import Problem, QueueError, Where
from engine.runqueue import QueueRow, State

STATES: tuple[str, ...] = get_args(State)
# What selects runs by more than their name.
WORDS = ("all", *STATES)

_RANGE = re.compile(r"^(\d+)-(\d*)$")
_SHOWN = 5


def select(rows: Sequence[QueueRow], words: Iterable[str], *, runs_dir: str = "runs") -> list[QueueRow]:
    """The runs that a person's words mean, each once, in the order in which they were named.

    Args:
        rows: Every run, by number.
        words: Each a run's number or id, a range ("3-7", "3-"), a recipe's name (its newest run), a
            pattern with "*", "?" or "[...]" for ids or names, a state, or "all".
        runs_dir: The runs folder, for messages.

    Raises:
        QueueError: With every word that means no run, or more than one thing.
    """
    chosen: dict[str, QueueRow] = {}
    problems: list[Problem] = []
    for word in words:
        try:
            chosen |= {row.run: row for row in _meant(rows, word, runs_dir)}
        except QueueError as error:
            problems.extend(error.problems)
    if problems:
        raise QueueError(tuple(problems))
    return list(chosen.values())


def _meant(rows: Sequence[QueueRow], word: str, runs_dir: str) -> list[QueueRow]:
    if by_id := [row for row in rows if row.run == word]:
        return by_id
    named = [row for row in rows if name_of(row) == word][-1:]
    special = _special(word)
    if special is not None and named:
        raise QueueError.of(
            "Q109", Where(runs_dir, item=f'"{word}"'),
            f"this is the name of a run ({named[0].run}) and also a word or a range",
            f"name the run by its number, {named[0].number}",
        )
    found = named if special is None else [row for row in rows if special(row)]
    if not found and any(char in word for char in "*?["):
        found = [row for row in rows if fnmatchcase(row.run, word) or fnmatchcase(name_of(row), word)]
    if not found and word != "all":
        raise QueueError.of("Q103", Where(runs_dir), f'no run "{word}"', _fix(rows, word))
    return found


def _special(word: str) -> Callable[[QueueRow], bool] | None:
    """What a number, a range or a word for a state selects; None for anything else."""
    if word == "all":
        return lambda _: True
    if word in STATES:
        return lambda row: row.state == word
    if word.isdecimal():
        return lambda row: row.number == int(word)
    if span := _RANGE.match(word):
        first, last = int(span[1]), int(span[2]) if span[2] else None
        return lambda row: first <= row.number and (last is None or row.number <= last)
    return None


def _fix(rows: Sequence[QueueRow], word: str) -> str:
    span = _RANGE.match(word)
    if span and span[2] and int(span[1]) > int(span[2]):
        return f'the range is the wrong way round; write "{span[2]}-{span[1]}"'
    if word in STATES:
        return f"no run is {word}; `engine status` lists them"
    if not rows:
        return "queue something first: `engine add RECIPE`"
    known = ", ".join(row.run for row in rows[-_SHOWN:])
    return f"name one of: {known}" if len(rows) <= _SHOWN else f"`engine status` lists them; the newest are {known}"


def name_of(row: QueueRow) -> str:
    """The recipe's name within a run's id."""
    return row.run.partition("-")[2]

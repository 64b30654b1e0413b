"""Make many findings of one kind read as one, with examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from engine.annotations.codes import CLASS_UNKNOWN, TITLES
from engine.annotations.findings import common_folder, within
from engine.errors import Problem, Where

ALONE = 4
"""Up to so many findings of one kind are told one by one."""

NUM_EXAMPLES = 3
NUM_WORDINGS = 12
"""So many unknown classes are told with their counts: which they are matters more than where."""


def group(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Tell findings of one kind as one.

    Findings are of one kind when code, severity and remedy are the same: two classes spelt wrongly
    are two kinds. For a machine to read, keep the problems ungrouped.

    Args:
        problems: Any problems; those of other areas are grouped likewise.

    Returns:
        The problems in their order, each kind of more than `ALONE` findings as a single problem at
        the file or folder they share, which tells how many there are, in how many files, and the
        first of them.
    """
    kinds: dict[tuple[str, str, str], list[Problem]] = {}
    for problem in problems:
        kinds.setdefault((problem.severity, problem.code, problem.fix), []).append(problem)
    return tuple(told for kind in kinds.values() for told in (kind if len(kind) <= ALONE else [_as_one(kind)]))


def _as_one(kind: Sequence[Problem]) -> Problem:
    first = kind[0]
    num_files = len({problem.where.path for problem in kind if problem.where.path})
    title = TITLES.get(first.code, first.found.partition(":")[0])
    found = f"{title}, {len(kind)} times"
    if num_files > 1:
        found += f" in {num_files} files"
    folder = common_folder(problem.where for problem in kind)
    if first.code == CLASS_UNKNOWN:
        wordings = Counter(problem.found for problem in kind)
        told = [
            f"{words.removeprefix('class ').removesuffix(' is not in the class map')} ({number})"
            for words, number in wordings.most_common(NUM_WORDINGS)
        ]
        told += [f"and {len(wordings) - NUM_WORDINGS} more"] * (len(wordings) > NUM_WORDINGS)
        found += f": {', '.join(told)}; first at {within(first.where, folder)}"
        return Problem(first.code, Where(folder), found, first.fix, first.severity)
    told = [f"{within(problem.where, folder)} ({problem.found})" for problem in kind[:NUM_EXAMPLES]]
    told.append(f"and {len(kind) - NUM_EXAMPLES} more, which `engine check --all` tells")
    found += f": {'; '.join(told)}"
    return Problem(first.code, Where(folder), found, first.fix, first.severity)

"""Which runs to work on when time ends before the queue does: as many as can be should be done by then.

Pure: seconds in, an order out. Within a priority the shortest go first, since that way most are done; a
run that can't be done by then is put off for those that can, and has what time is left over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Estimates err; a run at work isn't put off unless it misses the end by more than this share.
_DOUBT = 0.05


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run at work or waiting, as far as the plan depends on it.

    Attributes:
        run: Its id.
        left_s: Seconds it still needs; None where nobody knows.
        priority: Higher goes first.
        at_work: Whether it is being worked on.
    """

    run: str
    left_s: float | None
    priority: int = 0
    at_work: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with the time.

    Attributes:
        order: The waiting runs, in the order in which to start them.
        done: Those that should be done in time, runs at work included.
        put_off: Runs at work to be saved now, so that others can be done in time.
    """

    order: tuple[str, ...]
    done: frozenset[str]
    put_off: tuple[str, ...] = ()


def plan(candidates: Sequence[Candidate], time_s: float, places: int = 1) -> Plan:
    """Plan the time until work ends.

    Args:
        candidates: Every run at work, and every run that may be started, in the order of the queue.
        time_s: Seconds until work ends; may be negative.
        places: How many runs are worked on side by side, at least 1.

    Returns:
        The plan. Waiting runs that nobody can foretell come after those that will be done, those
        that won't be done last, both in the order of the queue.
    """
    at_work = [one for one in candidates if one.at_work]
    waiting = [one for one in candidates if not one.at_work]
    late = [one for one in at_work if one.left_s is not None and one.left_s > time_s * (1 + _DOUBT)]
    on_time = [one for one in at_work if one not in late]
    put_off: list[Candidate] = []
    fitting = _fitting(waiting, [*on_time, *late], time_s, places)
    # The least important and slowest first: is anything gained by taking its place?
    for one in sorted(late, key=lambda late_one: (late_one.priority, -(late_one.left_s or 0))):
        staying = [other for other in [*on_time, *late] if other not in (*put_off, one)]
        gained = _fitting(waiting, staying, time_s, places)
        if len(gained) > len(fitting) and all(new.priority >= one.priority for new in gained if new not in fitting):
            put_off.append(one)
            fitting = gained
    unknown = [one for one in waiting if one.left_s is None]
    rest = [one for one in waiting if one not in fitting and one not in unknown]
    return Plan(
        tuple(one.run for one in [*fitting, *unknown, *rest]),
        frozenset(one.run for one in [*on_time, *fitting] if one.left_s is not None),
        tuple(one.run for one in put_off),
    )


def _fitting(
    waiting: Sequence[Candidate], at_work: Sequence[Candidate], time_s: float, places: int
) -> list[Candidate]:
    """The waiting runs that can be done in time beside those at work, in the order in which to start them."""
    # A run that nobody can foretell may take all the time there is.
    busy = sorted(min(time_s, time_s if one.left_s is None else one.left_s) for one in at_work)
    loads = [*busy, *[0.0] * max(0, places - len(busy))]
    fitting = []
    known = [one for one in waiting if one.left_s is not None]
    for one in sorted(known, key=lambda run: (-run.priority, run.left_s)):
        place = loads.index(min(loads))
        assert one.left_s is not None
        if loads[place] + one.left_s <= time_s:
            loads[place] += one.left_s
            fitting.append(one)
    return fitting

"""Who decides what a supervisor may start, and what has to make room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.executors import Place
from engine.runqueue import QueueRow


@dataclass(frozen=True, slots=True)
class Parking:
    """Why a run at work should be saved and put back into the queue.

    Attributes:
        reason: In words.
        not_before: Seconds since 1970 before which it isn't started again; None for its next turn.
        cause: What is recorded as the kind of reason: "parked" for want of time, or "no space".
    """

    reason: str
    not_before: float | None = None
    cause: str = "parked"


class Steward(Protocol):
    """Decides what may start and what has to make room; asked about once a second."""

    def choose(self, due: Sequence[QueueRow], at_work: Sequence[QueueRow], place: Place) -> QueueRow | None:
        """One of the runs whose time has come, in the queue's order; None to start none now.

        Called within a transaction of the queue, so it has to be quick.
        """

    def park(self, row: QueueRow) -> Parking | None:
        """Why a run at work should be saved and put back; None to let it go on."""


class FirstComeSteward:
    """Starts whatever is first, parks nothing."""

    def choose(self, due: Sequence[QueueRow], at_work: Sequence[QueueRow], place: Place) -> QueueRow | None:  # noqa: ARG002
        """The first."""
        return due[0]

    def park(self, row: QueueRow) -> Parking | None:  # noqa: ARG002
        """Never."""
        return None

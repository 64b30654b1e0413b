"""Where a run is executed. One module an engine; `local` is the first.

A supervisor knows only this boundary: start a run, ask whether it ended, ask it to stop, take charge
of what a former supervisor left. `tests/engine/executors/conformance.py` holds what every engine
promises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engine.rundir import RunDir

# Stands for an exit code that nobody saw: whoever would have seen it was killed. No process can end with it.
UNSEEN = 256


@dataclass(frozen=True, slots=True)
class Place:
    """What a run gets of the machine while it is executed.

    Attributes:
        device: Takes the place of the recipe's hardware.device; "" leaves that.
        num_threads: CPU threads for the worker; 0 leaves the system's choice.
    """

    device: str = ""
    num_threads: int = 0


WHOLE_MACHINE = Place()


class Execution(Protocol):
    """A run being executed."""

    def poll(self) -> int | None:
        """The worker's exit code once it and all it started have ended; None before.

        -N when signal N killed it, UNSEEN when nobody saw its end. Returns at once, and goes on
        telling the same code.
        """

    def stop(self) -> None:
        """Ask the worker to save and end. Returns at once; harmless when it has ended."""

    def kill(self) -> None:
        """End the worker and everything it started, soon. Returns at once; harmless when it has ended."""


class Executor(Protocol):
    """Something that can execute runs."""

    def start(self, run_dir: RunDir, attempt: int, place: Place = WHOLE_MACHINE) -> Execution:
        """Begin executing a run.

        Its output goes to the run's worker.log. Should this process die, the worker saves and ends,
        or goes on until it is adopted; it never holds memory that nobody takes charge of.

        Raises:
            OSError: The worker can't be started.
        """

    def prepare(self, run_dir: RunDir, place: Place = WHOLE_MACHINE) -> None:
        """Get ready for a run that is likely to be started next, if that can be done beside those at work.

        Called again and again while it is likely; returns at once. Costs no run anything, and may do nothing.
        """

    def discard(self) -> None:
        """Give up what was made ready: no run is likely to need it. Harmless when there is nothing."""

    def adopt(self, run_dir: RunDir) -> Execution | None:
        """Take charge of what a former supervisor left of a run; None when nothing of it lives.

        An execution whose end has come already, or comes by itself, may tell UNSEEN.
        """

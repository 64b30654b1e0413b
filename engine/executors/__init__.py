"""Where a run is executed. One module an engine; `local` is the first.

A supervisor knows only this boundary: start a run, ask whether it ended, ask it to stop.
"""

from __future__ import annotations

from typing import Protocol

from engine.rundir import RunDir


class Execution(Protocol):
    """A run being executed."""

    def poll(self) -> int | None:
        """The worker's exit code once it has ended, -N when signal N killed it; None before."""

    def stop(self) -> None:
        """Ask the worker to save and end. Returns at once."""

    def kill(self) -> None:
        """End the worker and everything it started, at once."""


class Executor(Protocol):
    """Something that can execute runs."""

    def start(self, run_dir: RunDir, attempt: int) -> Execution:
        """Begin executing a run.

        Raises:
            OSError: The worker can't be started.
        """

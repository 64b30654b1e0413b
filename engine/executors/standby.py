"""A worker that is started ahead of its run, so that the run needn't wait for its imports.

It waits under a guardian of its own, and becomes the run's worker when it is told the run: a process serves
one run, as ever. What can't be changed in a living process (its environment) is its `Setting`; a run that
needs another one doesn't get it.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from engine.allocator import Allocator
from engine.executors.leftovers import MARKER, mark, unmark
from engine.executors.link import GuardianLink
from engine.guarded import GRACE_S, KILL, begin_order, guardian_command
from engine.rundir import RunDir


@dataclass(frozen=True, slots=True)
class Setting:
    """What a worker's process is given once and for all.

    Attributes:
        environment: Its environment, the guardian's too.
        allocator: Its memory allocator, which the guardian does without.
    """

    environment: Mapping[str, str]
    allocator: Allocator


def start_guardian(
    run_dir: RunDir | None, command: Sequence[str], setting: Setting, marker: str, errors: BinaryIO | int
) -> subprocess.Popen[bytes]:
    """Start a guardian with its worker.

    Args:
        run_dir: The run; None for a worker that waits for one.
        command: The worker's command line.
        setting: What it is given.
        marker: Marks all processes of the attempt.
        errors: What the guardian itself says goes here.

    Raises:
        OSError: It can't be started.
    """
    environment = {**setting.environment, MARKER: marker}
    return subprocess.Popen(
        guardian_command(run_dir, command, setting.allocator.environment(environment), GRACE_S),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True, env=environment,
    )


class Standby:
    """A worker that gets ready and waits for a run.

    Args:
        command: Its command line.
        setting: What it is given.

    Raises:
        OSError: It can't be started.
    """

    def __init__(self, command: Sequence[str], setting: Setting) -> None:
        self.setting = setting
        self._marker = uuid.uuid4().hex
        self._link = GuardianLink(start_guardian(None, command, setting, self._marker, subprocess.DEVNULL))

    @property
    def pid(self) -> int:
        """The waiting worker's process id."""
        return self._link.pid

    def has_ended(self) -> bool:
        """Whether it died while it waited: killed for want of memory, for one."""
        return not self._link.listen()

    def begin(self, run_dir: RunDir, attempt: int, arguments: Sequence[str]) -> GuardianLink | None:
        """Give it its run; None when it isn't alive any more.

        Args:
            run_dir: The run, marked with the attempt from now on.
            attempt: The attempt's number.
            arguments: A worker's command line.

        Raises:
            OSError: The run's folder can't be written.
        """
        if self.has_ended():
            return None
        with run_dir.worker_log.open("ab"):  # the guardian, which opens it next, can't refuse any more
            mark(run_dir, attempt, self._marker)
        if self._link.order(begin_order(run_dir, json.dumps(list(arguments)))):
            return self._link
        unmark(run_dir)
        return None

    def end(self) -> None:
        """Kill it; nothing is lost. Returns once it and its guardian are gone."""
        self._link.order(KILL)
        self._link.close_lifeline()
        self._link.end()

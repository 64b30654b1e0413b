"""Runs executed as processes of this machine, each under a guardian (`engine/guardian.py`).

The guardian leads a session of its own, so that a terminal's Ctrl-C reaches only the supervisor. When
the supervisor dies, however it dies, the kernel closes the guardian's lifeline: the worker may save
for `GRACE_S` seconds and is then killed with all it started. So an execution is never gone on with by
the next supervisor; adopting it means waiting for its end, and seeing to it where the guardian was
killed too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence

from engine.allocator import SYSTEM, Allocator, choose
from engine.executors import UNSEEN, WHOLE_MACHINE, Place
from engine.executors.leftovers import kill_marked, mark, marked, read_marker, unmark
from engine.executors.link import GuardianLink
from engine.executors.standby import Setting, Standby, start_guardian
from engine.guarded import GRACE_S, KILL, STOP
from engine.machine import available_memory_bytes
from engine.rundir import RunDir, is_locked

_WORKER = (sys.executable, "-m", "engine.worker")
_STANDBY_WORKER = (sys.executable, "-m", "engine.standby")
# A guardian that is stopped or stuck obeys no order.
_KILL_PATIENCE_S = 5.0
_LOOK_EVERY_S = 0.5

# With less than this free no worker is started ahead: it would take what the run at work may need.
_LEAST_MEMORY_BYTES = 2_000_000_000
# Signals by which a process ends whose memory is in disorder.
_CRASHES = tuple(-number for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGTRAP))

# How long libgomp's threads spin while they wait for each other before they sleep. With the default, company on the
# machine at times slows a training several times over; alone this makes no difference (tests/bench/omp_wait.py;
# docs/decisions.md has the figures). A person's own setting wins.
_WORKER_ENVIRONMENT = {"GOMP_SPINCOUNT": "10000"}


class Leftover:
    """What a killed guardian, or a former supervisor, left of an attempt: it ends by itself, or is made to.

    Args:
        run_dir: The run.
        grace_s: Seconds until it is killed.
    """

    def __init__(self, run_dir: RunDir, grace_s: float) -> None:
        self._run_dir, self._marker = run_dir, read_marker(run_dir)
        self._deadline, self._next_look = time.monotonic() + grace_s, 0.0
        self._over = self._given_up = False

    def poll(self) -> int | None:
        """UNSEEN once nothing is left; None before.

        A worker that can't be killed from here (its lock is held on another machine, or by another
        user) is waited for.
        """
        if not self._over and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_EVERY_S
            self._over = not self._lives()
            if self._over:
                unmark(self._run_dir)
        return UNSEEN if self._over else None

    def _lives(self) -> bool:
        late = time.monotonic() >= self._deadline
        if self._marker is not None and (kill_marked(self._marker) if late else bool(marked(self._marker))):
            self._next_look = 0.0 if late else self._next_look
            return True
        return not self._given_up and is_locked(self._run_dir.worker_lock)

    def stop(self) -> None:
        """It is ending already."""

    def kill(self) -> None:
        """Kill it now, and wait no longer for what can't be killed from here."""
        self._deadline, self._next_look, self._given_up = 0.0, 0.0, True


class LocalExecution:
    """A worker process under its guardian.

    Args:
        run_dir: The run.
        link: Its guardian.
        allocator: The memory allocator that it was given.
    """

    def __init__(self, run_dir: RunDir, link: GuardianLink, allocator: Allocator = SYSTEM) -> None:
        self._run_dir, self._link, self._allocator = run_dir, link, allocator
        self._code: int | None = None
        self._leftover: Leftover | None = None
        self._killed_at: float | None = None

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._link.pid

    @property
    def guardian_pid(self) -> int:
        """The guardian's process id."""
        return self._link.guardian_pid

    def poll(self) -> int | None:
        """The worker's exit code once it and all it started have ended; None before."""
        if self._code is None and self._leftover is not None:
            self._code = self._leftover.poll()
        elif self._code is None and not self._link.listen():
            self._guardian_ended()
        elif self._killed_at is not None and time.monotonic() - self._killed_at > _KILL_PATIENCE_S:
            self._link.kill()
        return self._code

    def _guardian_ended(self) -> None:
        self._code = self._link.end()
        if self._code is not None:
            unmark(self._run_dir)
        else:  # it was killed; the worker has noticed and is saving
            self._leftover = Leftover(self._run_dir, 0.0 if self._killed_at is not None else GRACE_S)
            self._code = self._leftover.poll()

    def stop(self) -> None:
        """Ask the worker to save and end. Returns at once."""
        self._link.order(STOP)

    def kill(self) -> None:
        """End the worker and everything it started, soon. Returns at once."""
        if self._code is None and self._killed_at is None:
            self._killed_at = time.monotonic()
            self._link.order(KILL)
            if self._leftover is not None:
                self._leftover.kill()

    def crashed_on_another_allocator(self) -> bool:
        """Whether it died as programs do whose memory is in disorder, with another allocator than the system's."""
        return bool(self._allocator.library) and self._code in _CRASHES


class LocalExecutor:
    """Starts workers with the Python that runs this.

    Args:
        command: What to start; the run's folder, `--attempt N` and, where a place names one,
            `--device NAME` are appended.
        environment: Variables for workers besides this process's own.
        standby_command: What to start for a run that is yet to come: it gets ready, waits for a line on its standard
            input, a JSON list of the arguments above, and goes on as `command` would. None to start nothing ahead.
    """

    def __init__(
        self,
        command: Sequence[str] = _WORKER,
        environment: Mapping[str, str] | None = None,
        standby_command: Sequence[str] | None = None,
    ) -> None:
        self._command = tuple(command)
        self._environment = dict(environment or {})
        standby = _STANDBY_WORKER if self._command == _WORKER else ()
        self._standby_command = standby if standby_command is None else tuple(standby_command)
        self._standby: Standby | None = None
        self._latest: dict[str, LocalExecution] = {}
        self._on_system: set[str] = set()

    def start(self, run_dir: RunDir, attempt: int, place: Place = WHOLE_MACHINE) -> LocalExecution:
        """Begin executing a run; what it prints goes to the run's worker.log.

        Raises:
            OSError: The worker can't be started.
        """
        setting = self._setting(run_dir, place)
        arguments = [str(run_dir.path), "--attempt", str(attempt), *_device_arguments(place)]
        link = self._take_standby(run_dir, attempt, setting, arguments) or self._start(
            run_dir, attempt, setting, arguments
        )
        self._latest[run_dir.run_id] = execution = LocalExecution(run_dir, link, setting.allocator)
        return execution

    def _start(self, run_dir: RunDir, attempt: int, setting: Setting, arguments: Sequence[str]) -> GuardianLink:
        with run_dir.worker_log.open("ab") as errors:
            marker = mark(run_dir, attempt)
            guardian = start_guardian(run_dir, [*self._command, *arguments], setting, marker, errors)
        try:
            return GuardianLink(guardian)
        except OSError as error:
            while kill_marked(marker):  # a guardian killed before its first word may have started it
                time.sleep(0.01)
            unmark(run_dir)
            raise OSError(error.errno, error.strerror, self._command[0]) from error

    def adopt(self, run_dir: RunDir) -> Leftover | None:
        """Wait for the end of what a former supervisor left of a run; None when nothing of it lives."""
        leftover = Leftover(run_dir, GRACE_S + 1.0)
        return leftover if leftover.poll() is None else None

    # --- ahead of a run ---

    def prepare(self, run_dir: RunDir, place: Place = WHOLE_MACHINE) -> None:
        """Have a worker ready for a run that is likely the next, where memory allows."""
        if not self._standby_command:
            return
        if available_memory_bytes() < _LEAST_MEMORY_BYTES:
            self.discard()
            return
        setting = self._setting(run_dir, place)
        if self._standby is not None and (self._standby.setting != setting or self._standby.has_ended()):
            self.discard()
        if self._standby is None:
            with contextlib.suppress(OSError):  # then the run is started as ever
                self._standby = Standby(self._standby_command, setting)

    def discard(self) -> None:
        """End the worker that is ready, if there is one: no run is likely to need it."""
        standby, self._standby = self._standby, None
        if standby is not None:
            standby.end()

    def _take_standby(
        self, run_dir: RunDir, attempt: int, setting: Setting, arguments: Sequence[str]
    ) -> GuardianLink | None:
        standby = self._standby
        if standby is None or standby.setting != setting:
            return None
        self._standby = None
        try:
            link = standby.begin(run_dir, attempt, arguments)
        except OSError:
            standby.end()
            raise
        if link is None:
            standby.end()
        return link

    def _setting(self, run_dir: RunDir, place: Place) -> Setting:
        """What a worker's process is to be like for a run and its place."""
        variables = _on_place(place)
        environment = {
            **_WORKER_ENVIRONMENT, **os.environ, "PYTHONUNBUFFERED": "1", **self._environment, **variables,
        }
        wanted = _wanted_allocator(run_dir)
        before = self._latest.get(run_dir.run_id)
        if before is not None and before.crashed_on_another_allocator():
            self._on_system.add(run_dir.run_id)
        allocator = SYSTEM if wanted == "auto" and run_dir.run_id in self._on_system else choose(wanted, environment)
        return Setting(environment, allocator)


def _wanted_allocator(run_dir: RunDir) -> str:
    """The recipe's `hardware.allocator`. Reads the bare JSON: the supervisor has no memory for the recipe's schema."""
    try:
        wanted = json.loads(run_dir.resolved.read_bytes())["hardware"]["allocator"]
    except (OSError, ValueError, TypeError, KeyError):  # one of an older version has none
        return "auto"
    return str(wanted)


def _device_arguments(place: Place) -> list[str]:
    kind = place.device.partition(":")[0]
    return ["--device", kind] if kind else []


def _on_place(place: Place) -> dict[str, str]:
    """Environment that puts a worker on a place.

    The worker sees no GPU but its own, so that nothing of it can land on another one. GPUs are
    numbered as nvidia-smi numbers them.
    """
    variables: dict[str, str] = {}
    if place.num_threads:
        variables |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(place.num_threads))
    kind, _, index = place.device.partition(":")
    if kind == "cuda" and index:
        visible = [entry.strip() for entry in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if entry.strip()]
        number = visible[int(index)] if int(index) < len(visible) else index
        variables |= {"CUDA_VISIBLE_DEVICES": number, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return variables

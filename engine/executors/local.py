"""Runs executed as processes of this machine, each under a guardian (`engine/guardian.py`).

The guardian leads a session of its own, so that a terminal's Ctrl-C reaches only the supervisor. When
the supervisor dies, however it dies, the kernel closes the guardian's lifeline: the worker may save
for `GRACE_S` seconds and is then killed with all it started. So an execution is never gone on with by
the next supervisor; adopting it means waiting for its end, and seeing to it where the guardian was
killed too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from engine.executors import UNSEEN, WHOLE_MACHINE, Place
from engine.executors.leftovers import MARKER, kill_marked, mark, marked, read_marker, unmark
from engine.guarded import GRACE_S, KILL, STOP, guardian_command
from engine.rundir import RunDir, is_locked

# A guardian starts in milliseconds; on a machine that swaps it may take long.
_START_PATIENCE_S = 60.0
# A guardian that is stopped or stuck obeys no order.
_KILL_PATIENCE_S = 5.0
_LOOK_EVERY_S = 0.5

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
    """A worker process under its guardian."""

    def __init__(self, run_dir: RunDir, guardian: subprocess.Popen[bytes]) -> None:
        """Wait for the guardian's first word.

        Raises:
            OSError: The worker can't be started.
        """
        self._run_dir, self._guardian = run_dir, guardian
        self._reports = b""
        self._code: int | None = None
        self._leftover: Leftover | None = None
        self._killed_at: float | None = None
        assert guardian.stdin is not None
        assert guardian.stdout is not None
        self._orders, self._told = guardian.stdin, guardian.stdout
        os.set_blocking(self._told.fileno(), False)
        self.pid = self._started()

    @property
    def guardian_pid(self) -> int:
        """The guardian's process id."""
        return self._guardian.pid

    def _started(self) -> int:
        """The worker's process id."""
        deadline = time.monotonic() + _START_PATIENCE_S
        while b"\n" not in self._reports:
            ready, _, _ = select.select([self._told], [], [], max(0.0, deadline - time.monotonic()))
            if not ready or not self._listen():
                break
        word, _, value = self._reports.partition(b"\n")[0].partition(b" ")
        if word == b"started":
            return int(value)
        self._guardian.kill()
        self._guardian.wait()
        self._close()
        if word == b"refused":
            raise OSError(int(value), os.strerror(int(value)))
        raise InterruptedError(errno.EINTR, "its guardian was killed or didn't start; see worker.log")

    def _listen(self) -> bool:
        """Read what the guardian reports; False once it reports no more."""
        while True:
            try:
                told = os.read(self._told.fileno(), 4096)
            except BlockingIOError:
                return True
            if not told:
                return False
            self._reports += told

    def poll(self) -> int | None:
        """The worker's exit code once it and all it started have ended; None before."""
        if self._code is None and self._leftover is not None:
            self._code = self._leftover.poll()
        elif self._code is None and not self._listen():
            self._guardian_ended()
        elif self._killed_at is not None and time.monotonic() - self._killed_at > _KILL_PATIENCE_S:
            self._guardian.kill()
        return self._code

    def _guardian_ended(self) -> None:
        last = self._reports.splitlines()[-1].split()
        self._guardian.wait()
        self._close()
        if last[0] == b"ended":
            self._code = int(last[1])
            unmark(self._run_dir)
        else:  # it was killed; the worker has noticed and is saving
            self._leftover = Leftover(self._run_dir, 0.0 if self._killed_at is not None else GRACE_S)
            self._code = self._leftover.poll()

    def stop(self) -> None:
        """Ask the worker to save and end. Returns at once."""
        self._order(STOP)

    def kill(self) -> None:
        """End the worker and everything it started, soon. Returns at once."""
        if self._code is None and self._killed_at is None:
            self._killed_at = time.monotonic()
            self._order(KILL)
            if self._leftover is not None:
                self._leftover.kill()

    def _order(self, order: bytes) -> None:
        if not self._orders.closed:
            with contextlib.suppress(OSError):  # it has just ended
                os.write(self._orders.fileno(), order)

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self._orders.close()
        self._told.close()


class LocalExecutor:
    """Starts workers with the Python that runs this.

    Args:
        command: What to start; the run's folder, `--attempt N` and, where a place names one,
            `--device NAME` are appended.
        environment: Variables for workers besides this process's own.
    """

    def __init__(
        self,
        command: Sequence[str] = (sys.executable, "-m", "engine.worker"),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = tuple(command)
        self._environment = dict(environment or {})

    def start(self, run_dir: RunDir, attempt: int, place: Place = WHOLE_MACHINE) -> LocalExecution:
        """Begin executing a run; what it prints goes to the run's worker.log.

        Raises:
            OSError: The worker can't be started.
        """
        device, variables = _on_place(place)
        with run_dir.worker_log.open("ab") as errors:
            variables[MARKER] = mark(run_dir, attempt)
            guardian = subprocess.Popen(
                guardian_command(
                    run_dir, [*self._command, str(run_dir.path), "--attempt", str(attempt), *device], GRACE_S
                ),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
                env={**_WORKER_ENVIRONMENT, **os.environ, "PYTHONUNBUFFERED": "1", **self._environment, **variables},
            )
        try:
            return LocalExecution(run_dir, guardian)
        except OSError as error:
            while kill_marked(variables[MARKER]):  # a guardian killed before its first word may have started it
                time.sleep(0.01)
            unmark(run_dir)
            raise OSError(error.errno, error.strerror, self._command[0]) from error

    def adopt(self, run_dir: RunDir) -> Leftover | None:
        """Wait for the end of what a former supervisor left of a run; None when nothing of it lives."""
        leftover = Leftover(run_dir, GRACE_S + 1.0)
        return leftover if leftover.poll() is None else None


def _on_place(place: Place) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment that put a worker on a place.

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
    return (["--device", kind] if kind else []), variables

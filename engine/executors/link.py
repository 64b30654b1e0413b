"""The supervisor's end of a guardian: its orders and reports (`engine/guardian.py`)."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import subprocess
import time

# A guardian starts in milliseconds; on a machine that swaps it may take long.
_START_PATIENCE_S = 60.0
_END_PATIENCE_S = 5.0


class GuardianLink:
    """A started guardian, whose first word was heard.

    Args:
        guardian: Started with pipes for input and output.

    Attributes:
        pid: The process that it guards.

    Raises:
        OSError: The worker can't be started, or the guardian is dead.
    """

    def __init__(self, guardian: subprocess.Popen[bytes]) -> None:
        self._guardian, self._reports = guardian, b""
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
        deadline = time.monotonic() + _START_PATIENCE_S
        while b"\n" not in self._reports:
            ready, _, _ = select.select([self._told], [], [], max(0.0, deadline - time.monotonic()))
            if not ready or not self.listen():
                break
        word, _, value = self._reports.partition(b"\n")[0].partition(b" ")
        if word == b"started":
            return int(value)
        self._guardian.kill()
        self._end()
        if word == b"refused":
            raise OSError(int(value), os.strerror(int(value)))
        raise InterruptedError(errno.EINTR, "its guardian was killed or didn't start; see worker.log")

    def listen(self) -> bool:
        """Read what the guardian reports; False once it reports no more."""
        while True:
            try:
                told = os.read(self._told.fileno(), 4096)
            except BlockingIOError:
                return True
            if not told:
                return False
            self._reports += told

    def order(self, order: bytes) -> bool:
        """Give an order; False when it has just ended."""
        if self._orders.closed:
            return False
        try:
            os.write(self._orders.fileno(), order)
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """Kill the guardian itself."""
        self._guardian.kill()

    def end(self) -> int | None:
        """Clear away a guardian that reports no more; the worker's exit code, None when it couldn't tell."""
        last = self._reports.splitlines()[-1].split()
        self._end()
        return int(last[1]) if last[0] == b"ended" else None

    def close_lifeline(self) -> None:
        """Let go of the guardian, as the kernel does when this process dies."""
        with contextlib.suppress(OSError):
            self._orders.close()

    def _end(self) -> None:
        try:
            self._guardian.wait(_END_PATIENCE_S)
        except subprocess.TimeoutExpired:  # it is stopped or stuck
            self._guardian.kill()
            self._guardian.wait()
        self.close_lifeline()
        self._told.close()

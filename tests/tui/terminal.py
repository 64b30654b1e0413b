"""The real command on a real pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Terminal:
    """A pseudo-terminal with a dashboard on it."""

    process: subprocess.Popen[bytes]
    ours: int
    theirs: int
    modes: list[Any]
    output: bytes = b""

    def read(self, until: bytes, timeout_s: float = 90.0) -> bool:
        """Take what it writes until something comes; False when it doesn't come in time."""
        deadline = time.monotonic() + timeout_s
        while until not in self.output and time.monotonic() < deadline:
            if select.select([self.ours], [], [], 0.1)[0]:
                self.output += os.read(self.ours, 65536)
        return until in self.output

    def listen(self, seconds: float) -> bytes:
        """What it writes within some time."""
        begun, deadline = len(self.output), time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self.ours], [], [], left)[0]:
                self.output += os.read(self.ours, 65536)
        return self.output[begun:]

    def settle(self, most_bytes: int = 2000, timeout_s: float = 90.0) -> bool:
        """Take what it writes until little comes in a second and a half; False when much comes for too long."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if len(self.listen(1.5)) < most_bytes:
                return True
        return False

    def press(self, keys: bytes) -> None:
        """Type something."""
        os.write(self.ours, keys)

    def wait(self, timeout_s: float = 90.0) -> int | None:
        """The exit status, its output being read on; None when it doesn't end in time."""
        deadline = time.monotonic() + timeout_s
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self.ours], [], [], 0.05)[0]:
                self.output += os.read(self.ours, 65536)
        while select.select([self.ours], [], [], 0.05)[0]:
            self.output += os.read(self.ours, 65536)
        return self.process.poll()


@contextlib.contextmanager
def _listening_to(*numbers: signal.Signals) -> Iterator[None]:
    """A process started meanwhile gets these signals, also where the tests run under `nohup` or behind `&`."""
    handlers = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def opened(runs_dir: Path, graphics: str, size: tuple[int, ...]) -> Iterator[Terminal]:
    """The dashboard on a terminal of so many rows and columns, and pixels both ways."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size))
    modes = termios.tcgetattr(theirs)
    # A size in the environment, as some test runners put it there, would count for more than the terminal's own.
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with _listening_to(signal.SIGHUP, signal.SIGINT):
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.cli.main", "watch", "--runs", str(runs_dir), "--graphics", graphics],
            stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "TERM": "xterm-256color"},
        )  # fmt: skip
    try:
        yield Terminal(process, ours, theirs, modes)
    finally:
        process.kill()
        process.wait()
        for descriptor in (ours, theirs):
            with contextlib.suppress(OSError):
                os.close(descriptor)

"""One small process between supervisor and worker, which leaves nothing behind whoever is killed.

Started by its path with `python -I -S`, it imports nothing of the package: it costs 20 ms and 12 MB.
It leads a session of its own, starts the worker in another one, and on Linux becomes the parent of
every orphan that the worker leaves (child subreaper), those of another session included.

- Standard input is the lifeline to the supervisor and carries its orders, a byte each. When it
  closes, the worker is asked to save, and is killed with all it started once the grace is over.
- What the worker prints goes through here into its log, whose beginning and end are kept.
- Standard output reports: `started PID`, or `refused ERRNO`, and at last `ended CODE`.
- A worker that is started ahead of its run waits for the order to begin, which also names the log. Until
  then nothing is at stake: without a supervisor it is killed at once.
- A guardian that is itself killed closes the worker's lifeline, and Linux sends the worker SIGTERM.

On macOS there is neither subreaper nor parent-death signal: what the worker puts into a session of
its own outlives it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

# Orders, as `guarded.py` spells them; a byte that isn't known asks the worker to stop.
_KILL, _BEGIN = b"k", b"r"
_KILL_PATIENCE_S = 1.0
_CHUNK_BYTES = 65_536
_LOG_PART_BYTES = 8_000_000
_MOST_KEPT_BYTES = 100_000

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_IN, _LOG, _WAKE = "supervisor", "log", "wake"


class CappedLog:
    """A log of at most three parts: `log` holds the end, `first` the beginning, `before` what came before the end.

    Bytes are kept as they are. A disk that refuses them loses them; a worker never waits for its log.
    """

    def __init__(self, log: str, first: str, before: str, part_bytes: int = _LOG_PART_BYTES) -> None:
        self._log, self._first, self._before, self._part_bytes = log, first, before, part_bytes
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._size = os.fstat(self._fd).st_size

    def write(self, data: bytes) -> None:
        """Add some output."""
        if self._size and self._size + len(data) > self._part_bytes:
            with contextlib.suppress(OSError):
                self._turn_over()
        with contextlib.suppress(OSError):
            while data:
                written = os.write(self._fd, data)
                self._size += written
                data = data[written:]

    def _turn_over(self) -> None:
        os.rename(self._log, self._before if os.path.exists(self._first) else self._first)  # noqa: PTH104, PTH110
        full = self._fd
        self._open()
        os.close(full)


class WaitingLog:
    """Keeps the first of what a worker prints before it has a run, and so a log."""

    def __init__(self) -> None:
        self.kept = b""

    def write(self, data: bytes) -> None:
        """Add some output."""
        self.kept += data[: _MOST_KEPT_BYTES - len(self.kept)]


class Guardian:
    """Starts one worker and sees it, and all it leaves, to the end.

    Args:
        command: The worker's command line.
        variables: Environment variables for the worker alone.
        log: Where its output goes; a `WaitingLog` until the worker has a run.
        grace_s: Seconds for saving once the supervisor is dead.
    """

    def __init__(
        self, command: list[str], variables: dict[str, str], log: CappedLog | WaitingLog, grace_s: float
    ) -> None:
        self._command, self._variables, self._log, self._grace_s = command, variables, log, grace_s
        self._orders = b""
        self._deadline: float | None = None  # monotonic; set once the supervisor is dead
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        self._poll = select.poll()
        self._names: dict[int, str] = {}
        self._worker = 0

    def run(self) -> int:
        """Guard the worker to its end; returns this process's exit code."""
        if self._libc is not None:
            self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._listen()
        try:
            if self._supervisor_is_dead():
                return 1
            self._start()
        except OSError as error:
            _report(f"refused {error.errno}")
            return 1
        _report(f"started {self._worker}")
        while (code := self._code()) is None:
            self._look()
        self._end_all()
        self._drain()
        _report(f"ended {code}")
        return 0

    # --- starting ---

    def _listen(self) -> None:
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        wake_read, wake_write = os.pipe()
        for end in (wake_read, wake_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._signal_worker(signal.SIGTERM))
        self._watch(wake_read, _WAKE)
        self._watch(0, _IN)

    def _supervisor_is_dead(self) -> bool:
        """Whether the lifeline is closed before anything was started."""
        return any(descriptor == 0 and event & select.POLLHUP for descriptor, event in self._poll.poll(0))

    def _watch(self, descriptor: int, name: str) -> None:
        self._names[descriptor] = name
        self._poll.register(descriptor, select.POLLIN | select.POLLHUP)

    def _forget(self, descriptor: int) -> None:
        if self._names.pop(descriptor, None):
            self._poll.unregister(descriptor)

    def _start(self) -> None:
        """Fork and execute the worker.

        Raises:
            OSError: It can't be executed.
        """
        lifeline_read, self._lifeline = os.pipe()
        self._output, output_write = os.pipe()
        failed_read, failed_write = os.pipe()
        guardian = os.getpid()
        self._worker = os.fork()
        if self._worker == 0:
            self._become_worker(guardian, lifeline_read, output_write, failed_write)
        for end in (lifeline_read, output_write, failed_write):
            os.close(end)
        if told := os.read(failed_read, 16):  # closed without a word by a successful exec
            raise OSError(int(told), os.strerror(int(told)))
        os.close(failed_read)
        os.set_blocking(self._output, False)
        self._watch(self._output, _LOG)

    def _become_worker(self, guardian: int, lifeline: int, output: int, failed: int) -> None:
        try:
            os.setsid()
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            if self._libc is not None:
                self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
                if os.getppid() != guardian:
                    os._exit(1)  # it died before it could be asked to tell
            for source, target in ((lifeline, 0), (output, 1), (output, 2)):
                os.dup2(source, target)
            os.environ.update(self._variables)
            os.execvp(self._command[0], self._command)  # noqa: S606
        except OSError as error:
            os.write(failed, str(error.errno).encode())
        finally:
            os._exit(127)

    # --- watching ---

    def _look(self) -> None:
        """Wait for news and act on it."""
        left_s = None if self._deadline is None else self._deadline - time.monotonic()
        if left_s is not None and left_s <= 0:
            self._kill_all()
            left_s = 0.05
        for descriptor, _ in self._poll.poll(None if left_s is None else left_s * 1000):
            name = self._names.get(descriptor)
            if name == _WAKE:
                os.read(descriptor, 512)
            elif name == _LOG:
                self._pass_on_output()
            elif name == _IN:
                self._obey(os.read(descriptor, 512))

    def _obey(self, orders: bytes) -> None:
        if not orders:
            self._forget(0)
            at_stake = isinstance(self._log, CappedLog)
            self._deadline = time.monotonic() + (self._grace_s if at_stake else 0.0)
            os.close(self._lifeline)
            self._signal_worker(signal.SIGTERM)
        self._orders += orders
        while self._orders and self._orders[:1] != _BEGIN:
            order, self._orders = self._orders[:1], self._orders[1:]
            if order == _KILL:
                self._kill_all()
            else:
                self._signal_worker(signal.SIGTERM)
        if b"\n" in self._orders:
            order, _, rest = self._orders.partition(b"\n")
            self._orders = b""
            self._begin(order[1:])
            if rest:
                self._obey(rest)

    def _begin(self, order: bytes) -> None:
        """The worker has a run: its log is opened, and it is told.

        Args:
            order: Three names of logs and what the worker is told, each in hexadecimal.
        """
        log, first, before, words = (bytes.fromhex(part.decode()) for part in order.split(b" "))
        waiting = self._log
        with contextlib.suppress(OSError):  # as with a log that can't be written: output is lost, no run
            self._log = CappedLog(os.fsdecode(log), os.fsdecode(first), os.fsdecode(before))
            if isinstance(waiting, WaitingLog) and waiting.kept:
                self._log.write(waiting.kept)
        with contextlib.suppress(OSError):  # it has just ended
            os.write(self._lifeline, words + b"\n")

    def _pass_on_output(self) -> bool:
        """Move some output into the log; False when there is none."""
        try:
            data = os.read(self._output, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._log.write(data)
        else:
            self._forget(self._output)
        return bool(data)

    def _signal_worker(self, number: signal.Signals) -> None:
        # Not reaped before the end, the worker keeps its process id.
        if self._worker:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._worker, number)

    # --- ending ---

    def _code(self) -> int | None:
        """The worker's exit code, -N when signal N ended it; None while it lives. Reaps orphans that ended."""
        while True:
            try:
                pid, status = _peek_ended()
            except ChildProcessError:
                return -signal.SIGKILL  # can't be: it is reaped here only
            if pid == self._worker:
                return status
            if pid == 0:
                return None
            os.waitpid(pid, 0)

    def _end_all(self) -> None:
        """Kill what the worker left, layer by layer: what loses its parent becomes a child of this process."""
        deadline = time.monotonic() + _KILL_PATIENCE_S
        self._kill_all()
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < deadline:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
                _kill_children()
                time.sleep(0.01)

    def _kill_all(self) -> None:
        """Send signal 9 to the worker's process group, which its id names until it is reaped, and to every child."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._worker, signal.SIGKILL)
        _kill_children()

    def _drain(self) -> None:
        while self._output in self._names and self._pass_on_output():
            pass


def _peek_ended() -> tuple[int, int]:
    """A child that ended and its code, (0, 0) when none did; it stays to be reaped where the system can do that.

    Raises:
        ChildProcessError: There are no children.
    """
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        pid, status = os.waitpid(-1, os.WNOHANG)
        return pid, os.waitstatus_to_exitcode(status) if pid else 0
    found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return 0, 0
    return found.si_pid, found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _kill_children() -> None:
    for pid in _children_of(os.getpid()):  # none was reaped, so that no id is stale
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _children_of(parent: int) -> list[int]:
    """Direct children by /proc; [] where there is none."""
    children = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.listdir("/proc"):  # noqa: PTH208 - pathlib would double the cost of this process
            if entry.isdecimal():
                with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123
                    # "pid (name) state ppid ..."; a name may hold anything, parentheses too
                    if int(file.read().rpartition(b")")[2].split()[1]) == parent:
                        children.append(int(entry))
    return children


def _report(words: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens once the supervisor is dead
        os.write(1, words.encode() + b"\n")


def main() -> int:
    """`guardian.py GRACE_S LOG FIRST BEFORE [NAME=VALUE...] -- COMMAND...`; returns the exit code.

    Without a LOG ("") the worker is one that waits for its run.
    """
    grace_s, log, first, before, *rest = sys.argv[1:]
    end = rest.index("--")
    variables = dict(assigned.split("=", 1) for assigned in rest[:end])
    try:
        kept = CappedLog(log, first, before) if log else WaitingLog()
    except OSError as error:
        _report(f"refused {error.errno}")
        return 1
    return Guardian(rest[end + 1 :], variables, kept, float(grace_s)).run()


if __name__ == "__main__":
    sys.exit(main())

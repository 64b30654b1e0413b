"""Takes runs from the queue and has them executed, one after another, until none is left.

Knows neither torch nor terminal. A run's end is told by its worker's exit code and last event; a
worker that died without a word is recorded with what the system says of its death.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import printable
from engine.executors import Execution, Executor
from engine.queuereader import last_word, state_when_interrupted
from engine.rundir import EXIT_FINISHED, EXIT_STOPPED, SUPERVISOR_LOCK, FileLock, RunDir, is_locked
from engine.runqueue import ACTIVE, QueueRow, RunQueue, State

_POLL_S = 0.2
_IDLE_POLL_S = 1.0
_LOG_TAIL_BYTES = 4_000


@dataclass
class StopRequest:
    """How a person asked the supervisor to stop; set by signal handlers.

    Attributes:
        level: 0 go on, 1 save and stop, 2 stop at once.
    """

    level: int = 0

    def raise_level(self) -> None:
        """One more Ctrl-C."""
        self.level += 1


@dataclass
class Observer:
    """What the supervisor tells whoever shows it; every field may be replaced.

    Attributes:
        on_start: A run was claimed and its worker started.
        on_tick: Called a few times a second while a run is executed.
        on_end: A run's attempt ended, with the row as recorded.
        on_note: Something a person should know.
    """

    on_start: Callable[[QueueRow], None] = field(default=lambda _: None)
    on_tick: Callable[[], None] = field(default=lambda: None)
    on_end: Callable[[QueueRow], None] = field(default=lambda _: None)
    on_note: Callable[[str], None] = field(default=lambda _: None)


def supervisor_lock(runs_dir: Path) -> FileLock:
    """The lock that one supervisor of a runs folder holds."""
    return FileLock(runs_dir / SUPERVISOR_LOCK)


def supervise(
    queue: RunQueue, executor: Executor, lock: FileLock, stop: StopRequest, observer: Observer | None = None
) -> None:
    """Execute what is queued until nothing is left or a stop is asked for.

    Args:
        queue: The queue.
        executor: Executes runs.
        lock: The supervisor's lock, held; it is released when this returns.
        stop: Looked at all the time.
        observer: Told what happens.

    Raises:
        QueueError: Another process changed a run that is being executed here.
    """
    observer = observer or Observer()
    reports: list[subprocess.Popen[bytes]] = []
    try:
        _take_up_interrupted(queue, stop, observer)
        while stop.level == 0:
            row = queue.claim()
            if row is None:
                if queue.close_when_empty(lock.release):
                    break
                _wait_for_start(queue, stop, observer)
                continue
            ended = _execute(queue, row, executor, stop, observer)
            observer.on_end(ended)
            reports.extend(_draw_curves(RunDir(queue.runs_dir / row.run)))
    finally:
        lock.release()
        for report in reports:
            report.wait()


def _wait_for_start(queue: RunQueue, stop: StopRequest, observer: Observer) -> None:
    """Wait until a queued run's time has come, or something else changes the queue."""
    start = queue.next_start()
    if start is None or start <= time.time():
        return
    observer.on_note(f"waiting until {time.strftime('%a %H:%M', time.localtime(start))}, when the next run may start")
    while stop.level == 0 and (latest := queue.next_start()) == start and latest > time.time():
        observer.on_tick()
        time.sleep(_IDLE_POLL_S)


def _take_up_interrupted(queue: RunQueue, stop: StopRequest, observer: Observer) -> None:
    """Settle runs that a former supervisor left in flight."""
    for row in queue.rows():
        if row.state not in ACTIVE:
            continue
        run_dir = RunDir(queue.runs_dir / row.run)
        told = False
        while is_locked(run_dir.worker_lock):
            if stop.level:
                return
            if not told:
                observer.on_note(f"{row.run}: its worker outlived the last supervisor and is saving; waiting for it")
                told = True
            time.sleep(_POLL_S)
        state, reason, cause = state_when_interrupted(run_dir, row.attempt)
        queue.finish(row, state, reason, cause)
        if state == "queued":
            observer.on_note(f"{row.run}: {reason}")


def _execute(queue: RunQueue, row: QueueRow, executor: Executor, stop: StopRequest, observer: Observer) -> QueueRow:
    run_dir = RunDir(queue.runs_dir / row.run)
    try:
        execution = executor.start(run_dir, row.attempt)
    except OSError as error:
        return queue.finish(row, "failed", f"the worker can't be started: {error}", "error")
    observer.on_start(row)
    asked = 0
    while (code := execution.poll()) is None:
        if stop.level > asked:
            row = _pass_on_stop(queue, row, execution, stop.level)
            asked = stop.level
        observer.on_tick()
        time.sleep(_POLL_S)
    state, reason, cause = judge_exit(run_dir, row.attempt, code, stop_level=asked)
    if state == "failed":
        return queue.fail(row, reason, cause)
    return queue.finish(row, state, reason, cause)


def _pass_on_stop(queue: RunQueue, row: QueueRow, execution: Execution, level: int) -> QueueRow:
    if row.state == "running":
        row = queue.mark_stopping(row)
    if level == 1:
        execution.stop()
    else:
        execution.kill()
    return row


def judge_exit(run_dir: RunDir, attempt: int, code: int, *, stop_level: int = 0) -> tuple[State, str, str]:
    """What a worker's end means: the run's new state, the reason and the recorded cause.

    Args:
        run_dir: The run.
        attempt: The attempt that ended.
        code: The worker's exit code, -N when signal N killed it.
        stop_level: Whether the worker was asked to stop (1) or killed (2) on purpose.
    """
    ended = last_word(run_dir, attempt)
    if code == EXIT_FINISHED and ended is not None and ended.outcome == "finished":
        return "finished", ended.reason, ""
    if code == EXIT_STOPPED:
        return "queued", ended.reason if ended else "stopped on request", ""
    if stop_level >= 2:
        return "queued", "stopped at once; goes on from its last checkpoint", ""
    if stop_level == 1 and code == -signal.SIGTERM:
        # It was still importing and couldn't listen; what it had is on disk already.
        return "queued", "stopped on request before it began", ""
    if ended is not None and ended.outcome == "failed":
        return "failed", ended.reason, ended.cause
    if code < 0:
        return "failed", _killed_reason(-code), f"killed by signal {-code}"
    return "failed", f"the worker ended with exit code {code}: {_last_line(run_dir.worker_log)}", f"exit code {code}"


def _killed_reason(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    reason = f"the worker was killed by signal {number} ({name})"
    if number == signal.SIGKILL:
        advice = "the system ran out of memory: lower training.batch_size or model.min_size"
        return f"{reason}; if nobody did that, {advice}"
    return reason + "; worker.log may tell why"


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return "it wrote no log"
    return printable(lines[-1]) if lines else "it printed nothing"


def _draw_curves(run_dir: RunDir) -> list[subprocess.Popen[bytes]]:
    """Draw the run's loss curve in a process of its own: plotting needs more memory than supervising.

    A picture that can't be drawn (the folder is gone, no process can be started) stops no queue.
    """
    with contextlib.suppress(OSError), run_dir.worker_log.open("ab") as output:
        return [
            subprocess.Popen(
                [sys.executable, "-m", "engine.report.curves", str(run_dir.path)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )
        ]
    return []

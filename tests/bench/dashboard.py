"""What the dashboard costs: time to the first screen, memory, bytes over the terminal, the processor.

Run: `python -m tests.bench.dashboard [--runs 200 1000] [--steps 1000000]`. Each row is the real program
on a pseudo-terminal of 120x40, compiled as an installed one is. Its runs are links to a few logs, so that a
thousand of them need no gigabytes; all are in the file cache. "first" is the first picture with runs in it,
"settled" the last byte before the program has nothing more to do, both from the start of the process; beside
each the processor time used by then, which is what it would be on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import pty
import select
import sqlite3
import struct
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from engine.events import EventLog, EventTail, RunEnded, StepEvent, encode_event
from engine.progress import fold
from engine.queuerebuild import figures_json
from engine.rundir import QUEUE_FILE, FileLock, RunDir
from engine.runqueue import RunQueue
from tests.tui.build import Course, an_evening, enqueue, events_of
from tui.curves import loss_plot
from tui.eventreading import read_whole
from tui.look import Look
from tui.plot import draw
from tui.view import RunView, apply_told

_COLUMNS, _ROWS = 120, 40
_NUM_LOGS = 5
_SILENCE_S = 1.5
_PATIENCE_S = 60.0


@dataclass
class Watched:
    """The real dashboard on a pseudo-terminal."""

    process: psutil.Popen
    ours: int
    begun: float

    def read(self, seconds: float) -> bytes:
        """What it writes within some time."""
        data = b""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self.ours], [], [], left)[0]:
                data += os.read(self.ours, 65536)
        return data

    def first_screen(self) -> tuple[float, float, float, float]:
        """Seconds to the first picture with runs in it and the processor's by then, the same to its last byte."""
        first = first_used = last = used = idle = 0.0
        seen = b""
        while time.monotonic() - self.begun < _PATIENCE_S:
            if select.select([self.ours], [], [], _SILENCE_S)[0]:
                seen += os.read(self.ours, 65536)
                last, used = time.monotonic() - self.begun, self.cpu_s
                if not first and b"made-up" in seen:
                    first, first_used = last, used
            elif first and self.cpu_s - idle < 0.1 * _SILENCE_S:
                break
            idle = self.cpu_s
        return first, first_used, last, used

    @property
    def cpu_s(self) -> float:
        """Processor seconds so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    @property
    def memory_mb(self) -> float:
        """Resident memory."""
        return float(self.process.memory_info().rss) / 1e6


@contextlib.contextmanager
def watched(runs_dir: Path) -> Iterator[Watched]:
    """Open the dashboard."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 1200, 800))
    command = [sys.executable, "-m", "engine.cli.main", "watch", "--runs", str(runs_dir), "--graphics", "halfblock"]
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    # Installed packages are compiled; so are these, the first time.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPYCACHEPREFIX"] = str(Path(tempfile.gettempdir()) / "engine-bench-compiled")
    begun = time.monotonic()
    process = psutil.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    try:
        yield Watched(process, ours, begun)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


# --- what is watched ---


def many_runs(runs_dir: Path, num_runs: int, num_steps: int) -> None:
    """A queue of finished runs."""
    queue = RunQueue(runs_dir)
    rows = enqueue(queue, *(f"made-up-{number}" for number in range(num_runs)))
    queue.close()
    figures = ""
    for place, row in enumerate(rows):
        run_dir = RunDir(runs_dir / row.run)
        run_dir.worker_log.write_text("step 1 loss 1.0\n" * 100)
        if place < _NUM_LOGS:
            figures = _write_log(run_dir, num_steps, seed=place)
        else:
            run_dir.events.hardlink_to(runs_dir / rows[place % _NUM_LOGS].run / "events.jsonl")
    with contextlib.closing(sqlite3.connect(runs_dir / QUEUE_FILE)) as db, db:
        db.execute("UPDATE runs SET state = 'finished', attempt = 1, figures = ?, ended_at = 0", (figures,))


def _write_log(run_dir: RunDir, num_steps: int, seed: int = 0) -> str:
    """A whole run's events; returns its figures as the queue keeps them."""
    course = Course(epochs=20, num_epochs=20, steps_an_epoch=num_steps // 20, seed=seed)
    ended = RunEnded(time=course.start + 9000, outcome="finished", reason="", elapsed_s=9000, attempt=1)
    with run_dir.events.open("wb") as log:
        for event in (*events_of(course), ended):
            log.write(encode_event(event))
    return figures_json(fold(EventTail(run_dir.events).read_all()))


def go_on(run_dir: RunDir, stop: threading.Event, steps_a_second: float) -> None:
    """Append steps to the running run of `an_evening`, and a line to its log for each."""
    course = Course(epochs=30, start=time.time())
    steps = (event for event in events_of(course, first_epoch=13) if isinstance(event, StepEvent))
    with EventLog(run_dir.events) as events, run_dir.worker_log.open("a") as log:
        for event in steps:
            events.append(msgspec.structs.replace(event, time=time.time()))
            log.write(f"step {event.step} loss {event.loss}\n")
            log.flush()
            if stop.wait(1 / steps_a_second):
                return


# --- the measurements ---


def opening(table: Table, title: str, runs_dir: Path) -> None:
    """Time to the first screen."""
    with watched(runs_dir) as dashboard:
        seconds = [f"{value:.2f} s" for value in dashboard.first_screen()]
        table.add_row(title, *seconds, f"{dashboard.memory_mb:.0f} MB")


def traffic(title: str, runs_dir: Path, seconds: float) -> str:
    """Bytes a second and share of a core, once everything is drawn."""
    with watched(runs_dir) as dashboard:
        dashboard.read(8)
        before = dashboard.cpu_s
        data = dashboard.read(seconds)
        share = (dashboard.cpu_s - before) / seconds
        return f"{title}: {len(data) / seconds / 1000:.2f} kB/s, {share:.1%} of a core, {dashboard.memory_mb:.0f} MB"


def a_long_run(runs_dir: Path, num_steps: int) -> str:
    """Reading and drawing by themselves."""
    path = next(runs_dir.glob("*/events.jsonl"))
    begun, view = time.process_time(), RunView("0001-a")
    tail = EventTail(path, 1_000_000)
    while data := tail.read_lines():
        view = apply_told(view, read_whole(data)[0])
    view.steps.prepare()
    read_s = time.process_time() - begun
    draw(loss_plot(view, Look()), 90, 20)
    begun = time.process_time()
    draw(loss_plot(view, Look()), 90, 20)
    drawn_s = time.process_time() - begun
    return (
        f"{num_steps:,} steps ({path.stat().st_size / 1e6:.0f} MB): read in {read_s:.2f} s of the processor, "
        f"drawn again in {drawn_s * 1000:.0f} ms"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="*", default=[200, 1000])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    table = Table("watched", "first", "processor", "settled", "processor", "memory")
    told = []
    with tempfile.TemporaryDirectory() as scratch:
        with watched(Path(scratch) / "nothing") as dashboard:
            dashboard.read(8)
        for num_runs in arguments.runs:
            runs_dir = Path(scratch) / str(num_runs)
            many_runs(runs_dir, num_runs, 10_000)
            opening(table, f"{num_runs:,} runs of 10,000 steps", runs_dir)
            told.append(traffic(f"idle, {num_runs:,} runs", runs_dir, arguments.seconds))
        long_dir = Path(scratch) / "long"
        many_runs(long_dir, 1, arguments.steps)
        opening(table, f"1 run of {arguments.steps:,} steps", long_dir)
        told.append(a_long_run(long_dir, arguments.steps))
        told.append(live(Path(scratch) / "live", arguments.seconds))
    console = Console()
    console.print(table)
    for line in told:
        console.print(line)


def live(runs_dir: Path, seconds: float) -> str:
    """A run that does ten steps a second, at the default refresh."""
    run_dir = an_evening(runs_dir, start=time.time() - 780)
    lock, stop = FileLock(run_dir.worker_lock), threading.Event()
    lock.acquire()
    writer = threading.Thread(target=go_on, args=(run_dir, stop, 10.0))
    writer.start()
    try:
        return traffic("live, 10 steps/s", runs_dir, seconds)
    finally:
        stop.set()
        writer.join()
        lock.release()


if __name__ == "__main__":
    main()

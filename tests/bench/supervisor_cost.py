"""What the supervisor costs while a run trains: `python -m tests.bench.supervisor_cost`.

Works a run off with `engine resume` and a worker that writes an event a step, without torch; reads the
supervisor's and the guardian's memory and processor time from the kernel. Plain lines and, on a
pseudo-terminal, the live table. Limits: 60 MB, 1 % of a core.
"""

from __future__ import annotations

import argparse
import os
import pty
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tests.builders import process_environment, wait_for

MOST_MEMORY_BYTES, MOST_CORE = 60e6, 0.01
_SETTLE_S = 5.0


def measure(runs_dir: Path, seconds: float, *, on_terminal: bool, step_s: float) -> dict[str, tuple[float, float]]:
    """Process -> its resident memory in bytes and its share of a core, over so many seconds."""
    leader, follower = pty.openpty()
    environment = process_environment() | {
        "FAKE_STEPS": "1000000", "FAKE_SAVE_EVERY": "200", "FAKE_STEP_S": str(step_s), "TERM": "xterm-256color",
    }
    plain = [] if on_terminal else ["--plain"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakecrew", "--runs", str(runs_dir), "only", *plain],
        stdin=subprocess.DEVNULL, stdout=follower, stderr=follower, env=environment, start_new_session=True,
    )
    threading.Thread(target=_drain, args=(leader,), daemon=True).start()
    supervisor = psutil.Process(process.pid)
    wait_for(lambda: bool(supervisor.children()))
    time.sleep(_SETTLE_S)
    family = {"supervisor": supervisor, "guardian": supervisor.children()[0]}
    before = {name: sum(one.cpu_times()[:2]) for name, one in family.items()}
    time.sleep(seconds)
    told = {
        name: (float(one.memory_info().rss), (sum(one.cpu_times()[:2]) - before[name]) / seconds)
        for name, one in family.items()
    }
    process.terminate()
    process.wait()
    os.close(follower)
    return told


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 65_536):
            pass
    except OSError:
        return


def main() -> int:
    """Print the table; 1 when a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--step-s", type=float, default=0.1)
    arguments = parser.parse_args()
    table = Table("output", "process", "memory MB", "% of a core")
    fits = True
    for on_terminal in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            told = measure(Path(folder), arguments.seconds, on_terminal=on_terminal, step_s=arguments.step_s)
        for name, (memory_bytes, core) in told.items():
            output = "live table" if on_terminal else "plain"
            table.add_row(output, name, f"{memory_bytes / 1e6:.1f}", f"{100 * core:.2f}")
            fits &= memory_bytes < MOST_MEMORY_BYTES and core < MOST_CORE
    Console().print(table)
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())

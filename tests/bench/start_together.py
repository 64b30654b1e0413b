"""Two `engine run` started at the same moment, again and again: `python -m tests.bench.start_together`.

Each round queues the same two runs from both, with workers that need no torch. In the end every run must
have been executed once, by one of the two.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.queuereader import read_queue
from engine.rundir import RunDir, list_run_dirs
from tests.builders import process_environment, steps_of


def main() -> int:
    """Print the figures; 1 when a run is lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    environment = process_environment() | {"FAKE_STEPS": "5", "FAKE_STEP_S": "0.3"}
    refused = 0
    with tempfile.TemporaryDirectory() as folder:
        runs_dir = Path(folder) / "runs"
        begun = time.monotonic()
        for number in range(arguments.rounds):
            names = (f"a{number}", f"b{number}")
            command = [sys.executable, "-m", "tests.fakecrew", "--plain", "--runs", str(runs_dir), *names]
            both = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]
            refused += sum(process.wait() != 0 for process in both)
        rows = read_queue(runs_dir, 10).rows.values()
        lost = [row.run for row in rows if row.state != "finished"]
        doubled = [row.run for row in rows if row.attempt != 1 or len(steps_of(RunDir(runs_dir / row.run))) != 5]
        surplus = max(len(rows), len(list_run_dirs(runs_dir))) - 2 * arguments.rounds
        print(f"{arguments.rounds} rounds in {time.monotonic() - begun:.0f} s: {len(rows)} runs")
        print(f"lost {len(lost)} {lost}, doubled {len(doubled)} {doubled}, surplus {surplus}, with an error {refused}")
    return 1 if lost or doubled or surplus or refused else 0


if __name__ == "__main__":
    sys.exit(main())

"""A worker without torch, for tests about processes: `python -m tests.fakeworker RUN_DIR --attempt N`.

Behaves as `engine.worker` promises: holds the run's lock, saves and ends on SIGTERM or when its input
closes, goes on from its checkpoint, and repeats no step in the log. Has a loader process of its own. With
`--standby` instead of arguments it waits for them, as `engine.standby` does.
`FAKE_STEPS`, `FAKE_STEP_S`, `FAKE_SAVE_EVERY` and `FAKE_START_S` say how it works.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from engine.events import EventLog, RunEnded, StepEvent, rewind
from engine.rundir import EXIT_FINISHED, EXIT_LOCKED, EXIT_STOPPED, FileLock, RunDir, write_bytes_atomic
from tests.builders import started

LOADER = "import os, time\nwhile True: time.sleep(0.2)"


def main(argv: Sequence[str]) -> int:
    if list(argv) == ["--standby"]:
        line = b""
        while not line.endswith(b"\n"):
            byte = os.read(0, 1)
            if not byte:
                return 0
            line += byte
        argv = json.loads(line)
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--attempt", type=int)
    parser.add_argument("--device", default="")
    arguments = parser.parse_args(argv)
    run_dir = RunDir(arguments.run_dir)
    time.sleep(_setting("FAKE_START_S", 0.0))
    stop = _listen_for_stop()
    lock = FileLock(run_dir.worker_lock)
    if not lock.acquire(5.0):
        return EXIT_LOCKED
    with subprocess.Popen([sys.executable, "-S", "-c", LOADER]) as loader:
        try:
            return _train(run_dir, arguments.attempt, stop, loader)
        finally:
            loader.kill()


def _setting(name: str, default: float) -> float:
    return float(os.environ.get(name, default))


def _listen_for_stop() -> threading.Event:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def watch_lifeline() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        stop.set()

    threading.Thread(target=watch_lifeline, daemon=True).start()
    return stop


def _train(run_dir: RunDir, attempt: int, stop: threading.Event, loader: subprocess.Popen[bytes]) -> int:
    num_steps, save_every = int(_setting("FAKE_STEPS", 20)), int(_setting("FAKE_SAVE_EVERY", 5))
    state = {"step": 0, "events_bytes": 0}
    if run_dir.last_checkpoint.exists():
        state = json.loads(run_dir.last_checkpoint.read_bytes())
    if run_dir.events.exists():
        rewind(run_dir.events, state["events_bytes"])
    with EventLog(run_dir.events) as events:

        def save(step: int) -> None:
            content = {"step": step, "events_bytes": events.sync()}
            write_bytes_atomic(run_dir.last_checkpoint, json.dumps(content).encode())

        events.append(started(attempt=attempt, num_steps=num_steps, first_step=state["step"]))
        for step in range(state["step"], num_steps):
            if stop.wait(_setting("FAKE_STEP_S", 0.05)):
                save(step)
                events.append(RunEnded(outcome="stopped", reason=f"stopped after step {step}", attempt=attempt))
                return EXIT_STOPPED
            if loader.poll() is not None:
                print("the loader died", flush=True)
                return 9  # without a word
            events.append(StepEvent(step=step, epoch=0, elapsed_s=1.0, loss=1.0, losses={}, lr=0.1))
            print("step", step, flush=True)
            if (step + 1) % save_every == 0:
                save(step + 1)
        events.append(RunEnded(outcome="finished", reason="", attempt=attempt))
    return EXIT_FINISHED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

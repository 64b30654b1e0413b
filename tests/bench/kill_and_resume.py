"""Signal 9 at random moments, then resume: `python -m tests.bench.kill_and_resume --kills 20`.

Trains a small detector once without an interruption and once in a worker that is killed again and
again, with a checkpoint after every step so that many kills fall into the writing of one. Then both
event logs (all but clock readings) and all final weights are compared, to the bit.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from engine.events import CheckpointEvent, EpochEvent, Event, EventTail, PreviewEvent, RecoveryEvent, StepEvent
from engine.rundir import EXIT_FINISHED, RunDir
from tests.builders import fill_run_dir, load_recipe, make_voc_dataset, steps_of, write_recipe

# What is read off the clock or the machine, and no part of the training.
_CLOCK = ("time", "elapsed_s", "step_s", "data_s", "evaluate_s", "memory_bytes")
_NUM_EPOCHS = 5
_LONGEST_LIFE_S = 1.2
_POLL_S = 0.002


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        kills: How many workers were killed, and what they were doing.
        steps: Steps of the run.
        log_differences: Events that differ from the uninterrupted run's; empty when none do.
        weight_differences: Names of tensors that differ, in the last and the best checkpoint.
    """

    kills: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    log_differences: list[str] = field(default_factory=list)
    weight_differences: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether the killed run equals the uninterrupted one."""
        return not self.log_differences and not self.weight_differences


def try_it(folder: Path, num_kills: int, seed: int = 0) -> Outcome:
    """Train twice under `folder`, the second time killed so many times, and compare."""
    dataset = make_voc_dataset(folder / "dataset", 24, 3)
    recipe = load_recipe(write_recipe(
        folder, dataset, training={"epochs": _NUM_EPOCHS, "ema_decay": 0.9}, model={"norm": "batch"},
        optimizer={"name": "adamw", "lr": 0.001}, schedule={"kind": "cosine", "warmup_steps": 5},
        augmentation={"photometric": 0.5, "iou_crop": 0.5, "mosaic": 0.3}, early_stopping={"patience": 50},
        recovery={"checkpoint_minutes": 1e-9}, hardware={"num_workers": 1},
    ))
    whole, killed = (fill_run_dir(RunDir(folder / name), recipe) for name in ("whole", "killed"))
    _ended(_start(whole, 1))
    outcome = Outcome()
    moments = random.Random(seed)
    attempt = 1
    while True:
        worker = _start(killed, attempt)
        if sum(outcome.kills.values()) == num_kills:
            _ended(worker)
            break
        outcome.kills[_kill(worker, killed, moments.uniform(0, _LONGEST_LIFE_S))] += 1
        if _ended(worker) == EXIT_FINISHED:
            break
        attempt += 1
    outcome.steps = len(steps_of(killed))
    outcome.log_differences = _differences(_told(whole), _told(killed))
    outcome.weight_differences = [*_unequal(whole, killed, "last.pt"), *_unequal(whole, killed, "best.pt")]
    return outcome


def _start(run_dir: RunDir, attempt: int) -> subprocess.Popen[bytes]:
    with run_dir.worker_log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "engine.worker", str(run_dir.path), "--attempt", str(attempt)],
            stdin=subprocess.PIPE, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def _ended(worker: subprocess.Popen[bytes]) -> int:
    """Wait for a worker's end, its lifeline open until then; returns its exit code."""
    code = worker.wait()
    if worker.stdin is not None:
        worker.stdin.close()
    return code


def _kill(worker: subprocess.Popen[bytes], run_dir: RunDir, after_s: float) -> str:
    """Kill a worker some time after its first new event; returns what it was doing."""
    before = _size(run_dir)
    while worker.poll() is None and _size(run_dir) == before:
        time.sleep(_POLL_S)
    time.sleep(after_s)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    if any(run_dir.last_checkpoint.parent.glob(".*")):
        return "writing a checkpoint"
    events = EventTail(run_dir.events).read_all()
    return f"after a {type(events[-1]).__name__}" if events else "before its first event"


def _size(run_dir: RunDir) -> tuple[int, int]:
    try:
        status = run_dir.events.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_size


def _told(run_dir: RunDir) -> list[dict[str, Any]]:
    """What a run told of its training, without what depends on the clock or on being taken up again."""
    kept = (StepEvent, EpochEvent, PreviewEvent, RecoveryEvent, CheckpointEvent)
    events: list[Event] = [event for event in EventTail(run_dir.events).read_all() if isinstance(event, kept)]
    plain = (msgspec.to_builtins(event) for event in events)
    return [{name: value for name, value in event.items() if name not in _CLOCK} for event in plain]


def _differences(whole: list[dict[str, Any]], killed: list[dict[str, Any]]) -> list[str]:
    if len(whole) != len(killed):
        return [f"{len(whole)} events in the one, {len(killed)} in the other"]
    return [f"{one} is not {other}" for one, other in zip(whole, killed, strict=True) if one != other]


def _unequal(whole: RunDir, killed: RunDir, name: str) -> list[str]:
    import torch

    from engine.models.checkpoint import load_checkpoint

    one, other = (load_checkpoint(run.last_checkpoint.with_name(name))["model"] for run in (whole, killed))
    return [f"{name}: {key}" for key in one.keys() | other.keys() if not torch.equal(one[key], other[key])]


def main() -> None:
    """Try it and print what came of it."""
    parser = argparse.ArgumentParser(prog="tests.bench.kill_and_resume", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = try_it(Path(folder), arguments.kills, arguments.seed)
    print(f"killed {sum(outcome.kills.values())} times with signal 9 in a run of {outcome.steps} steps:")
    for what, count in outcome.kills.most_common():
        print(f"  {count:3} {what}")
    print(f"events that differ from the uninterrupted run's: {len(outcome.log_differences)}")
    print(f"tensors that differ in the last and best checkpoints: {len(outcome.weight_differences)}")
    for line in [*outcome.log_differences, *outcome.weight_differences][:10]:
        print(f"  {line[:300]}")
    sys.exit(0 if outcome.is_equal else 1)


if __name__ == "__main__":
    main()

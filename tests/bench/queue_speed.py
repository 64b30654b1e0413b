"""How fast the queue is: `python -m tests.bench.queue_speed [NUM_FINISHED]`.

Queues 1,000 recipes as `engine add` does after its check, then times commands as whole processes
(the start of Python included) on a folder that also holds 10,000 finished runs. The folder is made
where TMPDIR says; a slow disk is seen in the first figure only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from engine import control
from engine.adding import new_run
from engine.events import EventLog, RunEnded
from engine.progress import fold
from engine.queuefile import immediate
from engine.queuerebuild import figures_json
from engine.recipe.load import LoadedRecipe, load_recipes
from engine.rundir import RunDir
from engine.runqueue import RunQueue
from tests.builders import measured, process_environment, recipe_text, started, stepped

NUM_QUEUED = 1000
_REPEATS = 5


def loaded_recipes(folder: Path, count: int) -> list[LoadedRecipe]:
    """So many recipes that differ in their seed and name."""
    path = folder / "recipe.toml"
    path.write_text(recipe_text(folder / "dataset"), encoding="utf-8")
    [loaded] = load_recipes(path)
    training = loaded.recipe.training
    return [
        replace(loaded, recipe=loaded.recipe.model_copy(
            update={"name": f"desk-{seed}", "training": training.model_copy(update={"seed": seed})}
        ))
        for seed in range(count)
    ]


def add_finished(queue: RunQueue, count: int) -> None:
    """Put finished runs into the queue, each with a log of 100 steps."""
    events = [started(), *(stepped(step % 10) for step in range(100)), measured(0), measured(1),
              RunEnded(outcome="finished", reason="", attempt=1)]
    figures = figures_json(fold(events))
    with immediate(queue._db):
        for number in range(1, count + 1):
            run_dir = RunDir(queue.runs_dir / f"{number:04d}-old")
            run_dir.path.mkdir()
            run_dir.resolved.write_bytes(b"{}")
            if number == 1:
                with EventLog(run_dir.events) as log:
                    for event in events:
                        log.append(event)
                content = run_dir.events.read_bytes()
            else:
                run_dir.events.write_bytes(content)
            queue._db.execute(
                "INSERT INTO runs (run, number, position, recipe_path, recipe_hash, state, attempt, queued_at,"
                " started_at, ended_at, figures) VALUES (?,?,?,'a.toml',?,'finished',1,?,?,?,?)",
                (run_dir.run_id, number, number, f"hash {number}", 1e9, 1e9, 1e9, figures),
            )


def command_s(runs_dir: Path, *arguments: str) -> float:
    """Median seconds of a whole `engine` process."""
    times = []
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "engine.cli.main", *arguments, "--runs", str(runs_dir)], check=True,
            stdout=subprocess.DEVNULL, env=process_environment(),
        )
        times.append(time.perf_counter() - begun)
    return median(times)


def main() -> None:
    """Make a large queue, time it, print figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("num_finished", type=int, nargs="?", default=10_000)
    num_finished = parser.parse_args().num_finished
    with tempfile.TemporaryDirectory() as folder:
        runs_dir = Path(folder) / "runs"
        queue = RunQueue(runs_dir)
        add_finished(queue, num_finished)
        new = [new_run(recipe) for recipe in loaded_recipes(Path(folder), NUM_QUEUED)]
        begun = time.perf_counter()
        queue.enqueue(new)
        print(f"{NUM_QUEUED} recipes queued beside {num_finished} runs: {time.perf_counter() - begun:.2f} s")
        for what, action in (
            ("held", control.hold), ("released", control.release), ("cancelled", control.cancel),
        ):
            begun = time.perf_counter()
            action(queue, queue.rows_in("queued", "held"))
            print(f"{NUM_QUEUED} runs {what} at once: {time.perf_counter() - begun:.2f} s")
        control.retry(queue, queue.rows_in("cancelled")[:20])
        begun = time.perf_counter()
        queue.close()
        queue = RunQueue(runs_dir)
        print(f"opened: {(time.perf_counter() - begun) * 1000:.0f} ms")
        begun = time.perf_counter()
        for _ in range(1000):
            queue.requests()
        print(f"asked what is requested: {(time.perf_counter() - begun) * 1000:.0f} microseconds")
        queue.close()
        print(f"engine --version: {version_s():.2f} s")
        for arguments in (("queue",), ("queue", "--json"), ("explain", "1"), ("hold", f"{num_finished + 1}")):
            print(f"engine {' '.join(arguments)}: {command_s(runs_dir, *arguments):.2f} s")


def version_s() -> float:
    """Median seconds of a process that does nothing but start."""
    times = []
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "engine.cli.main", "--version"], check=True, stdout=subprocess.DEVNULL,
                       env=process_environment())
        times.append(time.perf_counter() - begun)
    return median(times)


if __name__ == "__main__":
    main()

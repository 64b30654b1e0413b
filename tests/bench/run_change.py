"""From one run's end to the next one's first step: `python -m tests.bench.run_change [--changes 4] [--recipe FILE]`.

Works off a queue of short real trainings, with workers that are started ahead and without, and reads the gaps from
the event logs: from the end that a run wrote down to its successor's first finished step. Also tells how much
slower a step of the running training is while the next worker imports, and what that one holds while it waits.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from engine.events import EventTail, PhaseEvent, RunEnded, RunStarted, StepEvent
from engine.executors import WHOLE_MACHINE, Place
from engine.executors.local import LocalExecutor
from engine.recipe.load import load_recipes
from engine.recipe.schema import Recipe
from engine.rundir import RunDir, list_run_dirs
from engine.runqueue import RunQueue
from engine.supervisor import Observer, StopRequest, supervise, supervisor_lock
from tests.builders import enqueue_recipe, make_voc_dataset, write_recipe


class _Watched(LocalExecutor):
    """Remembers when workers were started ahead, and the memory of one that waits."""

    def __init__(self, *, ahead: bool) -> None:
        super().__init__(standby_command=None if ahead else ())
        self.started_ahead: list[float] = []
        self.held: list[tuple[int, int]] = []

    def prepare(self, run_dir: RunDir, place: Place = WHOLE_MACHINE) -> None:
        before = self._standby
        super().prepare(run_dir, place)
        if self._standby is not None and self._standby is not before:
            self.started_ahead.append(time.time())

    def look(self) -> None:
        if self._standby is not None and not self._standby.has_ended():
            told = psutil.Process(self._standby.pid).memory_full_info()
            self.held.append((told.uss, told.rss))


def recipes(folder: Path, recipe_path: Path | None, count: int) -> list[Recipe]:
    """So many recipes that differ in name and seed."""
    if recipe_path is None:
        dataset = make_voc_dataset(folder / "data", num_train=80, num_val=2)
        model = {"arch": "fasterrcnn_mobilenet_v3_large_320_fpn", "min_size": 320, "max_size": 640,
                 "fpn_channels": 256, "box_head_width": 1024, "box_samples": 512}
        recipe_path = write_recipe(folder, dataset, model=model, hardware={"num_workers": 1})
    [loaded] = load_recipes(recipe_path)
    training = loaded.recipe.training
    return [
        loaded.recipe.model_copy(update={
            "name": f"run-{seed}", "training": training.model_copy(update={"seed": seed, "epochs": 1}),
        })
        for seed in range(count)
    ]


def work_off(folder: Path, queued: list[Recipe], *, ahead: bool) -> tuple[list[RunDir], _Watched]:
    """Train them one after another."""
    queue = RunQueue(folder / f"runs-{ahead}")
    for recipe in queued:
        enqueue_recipe(queue, recipe)
    executor = _Watched(ahead=ahead)
    lock = supervisor_lock(queue.runs_dir)
    assert lock.acquire()
    supervise(queue, executor, lock, StopRequest(), Observer(on_tick=executor.look))
    runs_dir = queue.runs_dir
    queue.close()
    return list_run_dirs(runs_dir), executor


def gaps(run_dirs: list[RunDir]) -> list[tuple[float, float, float]]:
    """For each change of runs: seconds to the next worker's loading, to its start, to its first step's end."""
    logs = [EventTail(run_dir.events).read_all() for run_dir in run_dirs]
    found = []
    for before, after in itertools.pairwise(logs):
        ended = next(event.time for event in before if isinstance(event, RunEnded))
        marks = [
            next(event.time for event in after if isinstance(event, kind))
            for kind in (PhaseEvent, RunStarted, StepEvent)
        ]
        loading, started, step = (mark - ended for mark in marks)
        found.append((loading, started, step))
    return found


def slowdown(run_dirs: list[RunDir], executor: _Watched) -> float | None:
    """How many times as long steps took in the 10 s after a worker was started ahead; None for none of them."""
    during, others = [], []
    for run_dir in run_dirs:
        for event in EventTail(run_dir.events).read_all():
            if isinstance(event, StepEvent):
                beside = any(0 < event.time - begun < 10 for begun in executor.started_ahead)
                (during if beside else others).append(event.step_s)
    return statistics.median(during) / statistics.median(others) if during and others else None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=4)
    parser.add_argument("--recipe", type=Path)
    arguments = parser.parse_args()
    table = Table("workers", "gap, median", "min-max", "of it until loading", "until its start", "then the first step")
    notes = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        queued = recipes(folder, arguments.recipe, arguments.changes + 1)
        for ahead in (False, True):
            run_dirs, executor = work_off(folder, queued, ahead=ahead)
            found = gaps(run_dirs)
            whole = [step for _, _, step in found]
            loading = statistics.median(loading for loading, _, _ in found)
            building = statistics.median(started - loading for loading, started, _ in found)
            stepping = statistics.median(step - started for _, started, step in found)
            table.add_row(
                "started ahead" if ahead else "started when needed", f"{statistics.median(whole):.2f} s",
                f"{min(whole):.2f}-{max(whole):.2f}", f"{loading:.2f} s", f"{building:.2f} s", f"{stepping:.2f} s",
            )
            if ahead and executor.held:
                uss, rss = (statistics.median(values) / 1e6 for values in zip(*executor.held, strict=True))
                notes.append(f"a waiting worker holds {uss:.0f} MB of its own ({rss:.0f} MB with what is shared)")
                if (times := slowdown(run_dirs, executor)) is not None:
                    notes.append(f"steps while it imports took {times:.2f} times the others'")
    Console().print(table)
    print(*notes, sep="\n")


if __name__ == "__main__":
    main()

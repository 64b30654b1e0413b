"""One process, one way: `python -m tests.bench.table.child FOLDER CASE WAY`; prints a line of JSON.

A process of its own, so that the peak of memory and the allocator are its own. `WAY` "start" writes the weights
that all ways begin with.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from engine.annotations import read_split
from engine.devicememory import peak_memory_bytes
from tests.bench.table import lesson, ours, reference
from tests.bench.table.cases import CLASS_NAMES, Case, Way
from tests.bench.table.start import model_settings, ordered, starting_state, torchvisions_network

_SEED = 1000
# Photos whose statistics frozen normalisation is given.
_NUM_LOOKED_AT = 2


class Clock:
    """Seconds between one moment and the next, by the clock and of this process's processor time; seeds every step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.processor_s: list[float] = []

    def start(self) -> None:
        torch.manual_seed(_SEED + len(self.seconds))
        self._begun, self._busy = time.perf_counter(), time.process_time()

    def lap(self) -> None:
        self.seconds.append(time.perf_counter() - self._begun)
        self.processor_s.append(time.process_time() - self._busy)
        self.start()


def run_through(steps: Iterator[Any], count: int) -> tuple[Clock, list[Any]]:
    """The first steps of a loop, timed, and what each one gave."""
    clock, given = Clock(), []
    clock.start()
    for one in steps:
        clock.lap()
        given.append(one)
        if len(given) == count:
            break
    return clock, given


def measure(folder: Path, case: Case, way: Way) -> dict[str, Any]:
    """Train and detect; the figures."""
    recipe = ours.recipe_of(case, folder, model_settings(case), way.precision)
    state = torch.load(folder / f"{case.arch}.pth", weights_only=True)
    num_steps = case.num_warm_up + case.num_steps
    with tempfile.TemporaryDirectory() as own:
        if way.training == "ours":
            clock = Clock()

            def after_step() -> bool:
                clock.lap()
                return len(clock.seconds) == num_steps

            losses = ours.train(recipe, state, Path(own) / "run", clock.start, after_step)
        else:
            network = torchvisions_network(case)
            network.load_state_dict(state)
            data = lesson.CustomDataset(
                str(folder / "train/images"), str(folder / "train/annotations"), CLASS_NAMES, ordered(recipe)
            )
            train = lesson.train if way.training == "lesson" else reference.train
            clock, losses = run_through(train(network, data, case.batch_size), num_steps)
        memory = peak_memory_bytes(torch.device("cpu"))
        paths = sorted((folder / "train/images").iterdir())[: case.num_photos]
        if way.training == "ours":
            detecting = ours.detect(recipe, state, Path(own), paths)
        else:
            network.load_state_dict(state)
            detecting = lesson.detect(network, [str(path) for path in paths])
        detect_clock, _ = run_through(detecting, case.num_photos)
    counted = slice(case.num_warm_up, None)
    return {
        "case": case.arch, "way": way.name, "threads": torch.get_num_threads(), "memory_bytes": memory,
        "losses": losses, "step_s": clock.seconds[counted], "step_processor_s": clock.processor_s[counted],
        "photo_s": detect_clock.seconds[1:], "photo_processor_s": detect_clock.processor_s[1:],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("case", type=json.loads)
    parser.add_argument("way", type=json.loads)
    arguments = parser.parse_args()
    case = Case(**arguments.case)
    if arguments.way == "start":
        recipe = ours.recipe_of(case, arguments.folder, model_settings(case), "fp32")
        records = list(read_split(recipe.dataset, recipe.classes, "train").records[:_NUM_LOOKED_AT])
        torch.save(starting_state(case, records), arguments.folder / f"{case.arch}.pth")
        return
    print(json.dumps(measure(arguments.folder, case, Way(**arguments.way))))


if __name__ == "__main__":
    main()

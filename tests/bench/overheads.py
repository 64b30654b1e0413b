"""What a training spends beside training: `python -m tests.bench.overheads [--epochs 2]`.

Trains quickstart-a on its drawn photos with default settings, and adds up the seconds that go into
checkpoints, events and previews, and those that the training waits for its loader. Shares of one and
the same run, so that company on the machine weighs on both sides.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.events import EventLog, EventTail, StepEvent
from engine.recipe.load import load_recipes
from engine.rundir import RunDir
from engine.sample import write_sample
from engine.training import state, trainer
from tests.builders import REPOSITORY, fill_run_dir


def main() -> None:
    """Train, and print the shares."""
    parser = argparse.ArgumentParser(prog="tests.bench.overheads", description=__doc__)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    spent: dict[str, float] = defaultdict(float)

    def timed(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                spent[what] += time.perf_counter() - begun

        return run

    state.save_checkpoint = timed("checkpoints", state.save_checkpoint)
    trainer.save_checkpoint = timed("checkpoints", trainer.save_checkpoint)
    trainer.make_previews = timed("previews", trainer.make_previews)
    EventLog.append = timed("events", EventLog.append)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_sample(root / "sample_dataset")
        recipe_path = root / "recipes" / "quickstart-a.toml"
        recipe_path.parent.mkdir()
        recipe_path.write_text((REPOSITORY / "recipes" / "quickstart-a.toml").read_text())
        overrides = [f"training.epochs={arguments.epochs}", "hardware.device=cpu"]
        [loaded] = load_recipes(recipe_path, overrides=overrides)
        run_dir = fill_run_dir(RunDir(root / "run"), loaded.recipe)
        begun = time.perf_counter()
        with EventLog(run_dir.events) as events:
            trainer.train(loaded.recipe, run_dir, events)
        whole = time.perf_counter() - begun
        steps = [event for event in EventTail(run_dir.events).read_all() if isinstance(event, StepEvent)]
    _print(whole, spent, steps)


def _print(whole: float, spent: dict[str, float], steps: list[StepEvent]) -> None:
    table = Table("part", "seconds", "share of the run")
    for what, seconds in spent.items():
        table.add_row(what, f"{seconds:.2f}", f"{seconds / whole:.2%}")
    total = sum(spent.values())
    table.add_row("together", f"{total:.2f}", f"{total / whole:.2%}", end_section=True)
    table.add_row("the whole run", f"{whole:.1f}", "100 %")
    out = Console()
    out.print(table)
    waited, in_steps = sum(step.data_s for step in steps), sum(step.step_s for step in steps)
    out.print(f"waiting for the loader: {waited:.2f} of {in_steps:.1f} s of steps, {waited / in_steps:.2%}")


if __name__ == "__main__":
    main()

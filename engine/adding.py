"""From recipes that were found right to runs in the queue: what `engine run` and `engine add` share."""

from __future__ import annotations

import time

from engine.clock import next_time
from engine.forecast import Forecast, forecast_bytes
from engine.recipe.load import LoadedRecipe, recipe_hash, resolved_json
from engine.rundir import RunDir
from engine.runqueue import NewRun


def new_run(
    loaded: LoadedRecipe, forecast: Forecast | None = None, *, now: float | None = None, held: bool = False
) -> NewRun:
    """A loaded recipe as a run for the queue, which keeps its text and its resolved form.

    Args:
        loaded: The recipe.
        forecast: What its rehearsal told, where there was one.
        now: Seconds since 1970; its `not_before` is counted from then.
        held: It isn't started until it is released.
    """

    def create(run_dir: RunDir) -> None:
        # The queue forces them to disk, all runs' together.
        run_dir.recipe.write_bytes(loaded.text.encode())
        run_dir.resolved.write_bytes(resolved_json(loaded.recipe))
        if forecast is not None:
            run_dir.forecast.write_bytes(forecast_bytes(forecast))

    queue = loaded.recipe.queue
    return NewRun(
        loaded.recipe.name, str(loaded.path.resolve()), recipe_hash(loaded.recipe), create, priority=queue.priority,
        retries=queue.retries, not_before=next_time(queue.not_before, time.time() if now is None else now),
        max_hours=queue.max_hours, held=held,
    )

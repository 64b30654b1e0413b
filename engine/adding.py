"""From recipes that were found right to runs in the queue: what `engine run` and `engine add` share."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from engine.recipe.load import LoadedRecipe, recipe_hash, resolved_json
from engine.rundir import RunDir
from engine.runqueue import NewRun


def new_run(loaded: LoadedRecipe, now: float | None = None, *, held: bool = False) -> NewRun:
    """A loaded recipe as a run for the queue, which keeps its text and its resolved form.

    Args:
        loaded: The recipe.
        now: Seconds since 1970; its `not_before` is counted from then.
        held: It isn't started until it is released.
    """

    def create(run_dir: RunDir) -> None:
        # The queue forces them to disk, all runs' together.
        run_dir.recipe.write_bytes(loaded.text.encode())
        run_dir.resolved.write_bytes(resolved_json(loaded.recipe))

    queue = loaded.recipe.queue
    return NewRun(
        loaded.recipe.name, str(loaded.path.resolve()), recipe_hash(loaded.recipe), create, priority=queue.priority,
        retries=queue.retries, not_before=next_time(queue.not_before, time.time() if now is None else now),
        max_hours=queue.max_hours, held=held,
    )


def next_time(words: str | None, now: float) -> float | None:
    """When a time that a person wrote is, in seconds since 1970.

    Reckoned by the local clock: "07:00" is when that clock shows it next, also across a change to
    daylight saving. Of a time that the change leaves out it is an hour later, of one that comes
    twice the first.

    Args:
        words: "22:30", "2026-11-24T22:30", or None.
        now: The time now.
    """
    if words is None:
        return None
    if "T" in words:
        return datetime.fromisoformat(words).timestamp()  # local time is what a person writes
    hour, minute = (int(part) for part in words.split(":"))
    here = datetime.fromtimestamp(now)  # noqa: DTZ006
    when = here.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
    if when.timestamp() < now and (when.hour, when.minute) != (here.hour, here.minute):
        when += timedelta(days=1)
    return when.timestamp()

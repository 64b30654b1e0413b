"""What `engine run` does between check and queue: rehearse, tell what came of it, foretell the night."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from engine.cli.options import count, duration
from engine.cli.printing import console, print_problems, shown_path
from engine.cli.status import queue_line
from engine.errors import EngineError, Problem, has_errors, printable
from engine.forecast import Forecast, clock_words, forecast_run, read_forecast
from engine.queuereader import read_queue
from engine.recipe.load import LoadedRecipe, recipe_hash
from engine.rehearsal import Progress, Rehearsed, rehearse_recipes, without_rehearsal
from engine.rehearsalmark import marked
from engine.rundir import SUPERVISOR_LOCK, RunDir, is_locked
from engine.runqueue import ACTIVE, OVER
from engine.standing import read_queue_board

_BUSY_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Admitted:
    """The recipes that may be queued.

    Attributes:
        recipes: With batch sizes settled.
        forecasts: Of those that were rehearsed, by the hash of the settled recipe.
        refused: Whether a recipe was left out.
    """

    recipes: list[LoadedRecipe]
    forecasts: dict[str, Forecast] = field(default_factory=dict)
    refused: bool = False


def admit(loaded: list[LoadedRecipe], runs_dir: Path, *, rehearsal: bool, skip_bad: bool) -> Admitted:
    """Rehearse recipes and say which may be queued; ends the program when that is none because of one.

    Raises:
        EngineError: "auto" batch sizes without a rehearsal.
    """
    if not rehearsal:
        return _unrehearsed(loaded, skip_bad=skip_bad)
    rows = read_queue(runs_dir, _BUSY_TIMEOUT_S).rows.values()
    unfinished = {row.recipe_hash for row in rows if row.state not in OVER}
    fresh = [one for one in loaded if recipe_hash(one.recipe) not in unfinished]
    at_work = is_locked(runs_dir / SUPERVISOR_LOCK) and any(row.state in ACTIVE for row in rows)
    with _ended_by_signals(), marked(runs_dir) if fresh else nullcontext() as mark:
        rehearsed = _rehearse(fresh, mark.tell if mark is not None else None, at_work=at_work)
    refused = not all(one.ok for one in rehearsed)
    consequence = ", not queued" if skip_bad else ", nothing queued"
    _print_outcome(rehearsed, consequence)
    if refused and not skip_bad:
        num_good = sum(one.ok for one in rehearsed)
        if num_good:
            words = f"{count(num_good, 'run')} rehearsed well, but not queued beside the others; --skip-bad would"
            console(stderr=True).print(words, soft_wrap=True)
        sys.exit(1)
    now = time.time()
    forecasts = {
        recipe_hash(one.loaded.recipe): forecast_run(one.figures, one.loaded.recipe, now)
        for one in rehearsed if one.ok and one.figures is not None
    }
    known = [one for one in loaded if recipe_hash(one.recipe) in unfinished]
    return Admitted([one.loaded for one in rehearsed if one.ok] + known, forecasts, refused)


def _unrehearsed(loaded: list[LoadedRecipe], *, skip_bad: bool) -> Admitted:
    problems = without_rehearsal(loaded)
    if problems and not skip_bad:
        raise EngineError(problems)
    print_problems(problems)
    return Admitted([one for one in loaded if one.recipe.training.batch_size != "auto"], refused=bool(problems))


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """End with exit code 130 on Ctrl-C, SIGTERM or SIGHUP, nothing queued and no process left."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:
        console(stderr=True).print("rehearsal stopped; nothing was queued")
        sys.exit(130)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _rehearse(loaded: Sequence[LoadedRecipe], mark: Progress | None, *, at_work: bool) -> list[Rehearsed]:
    """Rehearse with a line that says what is being done; on a pipe, a line for each rehearsal."""
    out = console(stderr=True)
    if not sys.stderr.isatty():
        told: set[str] = set()

        def tell(done: int, total: int, name: str, words: str) -> None:
            if mark is not None:
                mark(done, total, name, words)
            if name not in told:
                told.add(name)
                out.print(f"rehearsing {name}", soft_wrap=True)

        return rehearse_recipes(loaded, at_work=at_work, on_progress=tell)
    with out.status("rehearsing", spinner="line") as status:

        def show(done: int, total: int, name: str, words: str) -> None:
            if mark is not None:
                mark(done, total, name, words)
            place = f" ({done + 1} of {total})" if total > 1 else ""
            line = f"rehearsing {name}{place}: {words}"
            status.update(printable(line if len(line) < out.width - 2 else line[: out.width - 3] + "…"))

        return rehearse_recipes(loaded, at_work=at_work, on_progress=show)


def _print_outcome(rehearsed: Sequence[Rehearsed], consequence: str) -> None:
    """Print what was found, recipe file by recipe file; what recipes share is told once."""
    told: set[Problem] = set()
    out = console(stderr=True)
    for path in dict.fromkeys(one.loaded.path for one in rehearsed):
        of_file = dict.fromkeys(
            problem for one in rehearsed if one.loaded.path == path for problem in one.problems if problem not in told
        )
        told.update(of_file)
        if of_file:
            ending = consequence if has_errors(of_file) else ""
            out.print(f"{shown_path(str(path))}: rehearsed, {_counted(list(of_file))}{ending}", soft_wrap=True)
            print_problems(list(of_file))


def _counted(problems: Sequence[Problem]) -> str:
    numbers = {kind: sum(problem.severity == kind for problem in problems) for kind in ("error", "warning", "note")}
    return ", ".join(count(number, kind) for kind, number in numbers.items() if number)


# --- the forecast ---


def print_forecasts(runs: Sequence[str], runs_dir: Path) -> None:
    """Print how long these runs and the queue will take, as far as they were rehearsed."""
    now = time.time()
    board, _ = read_queue_board(runs_dir, now, _BUSY_TIMEOUT_S)
    out = console()
    for standing in board.standings:
        run = standing.row.run
        forecast = read_forecast(RunDir(runs_dir / run).forecast)
        if run in runs and forecast is not None:
            latest = " at the latest" if standing.at_the_latest else ""
            done = "" if standing.done_at is None else f", done about {clock_words(standing.done_at, now)}{latest}"
            out.print(
                f"{run}: {count(forecast.num_epochs, 'epoch')}, about {duration(standing.left_s)}, "
                f"peak {forecast.figures.peak_bytes / 1e9:.1f} GB{done}", soft_wrap=True,
            )
    line = queue_line(replace(board, is_supervised=True), now)  # it is about to be
    if line and len(board.standings) > 1:
        out.print(line)

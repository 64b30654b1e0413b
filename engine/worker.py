"""One process, one run: `python -m engine.worker RUN_DIR --attempt N`.

Holds the run's lock while it lives, trains, records how it ended, and says so by its exit code. It
saves and stops on SIGTERM, and when its standard input closes: that is its lifeline to whoever
started it. This entry is the one place of a run that catches everything.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import faulthandler
import logging
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

import torch

from engine.errors import DataError, EngineError, RecipeError, TrainingError, WeightsError
from engine.events import EventLog, MessageEvent, RunEnded, rewind
from engine.models.checkpoint import load_newest, remove_leftovers
from engine.recipe.load import read_resolved
from engine.rundir import EXIT_FAILED, EXIT_FINISHED, EXIT_LOCKED, EXIT_STOPPED, FileLock, RunDir
from engine.training.trainer import TrainingResult, train

log = logging.getLogger("engine.worker")

# A reader that looks whether the lock is held takes it for an instant.
_LOCK_PATIENCE_S = 5.0


def main() -> int:
    """Run the worker; returns its exit code."""
    parser = argparse.ArgumentParser(prog="engine.worker")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--attempt", type=int, default=1)
    arguments = parser.parse_args()
    faulthandler.enable()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S",
        stream=sys.stderr,
    )
    logging.getLogger("faster_coco_eval").setLevel(logging.WARNING)
    run_dir = RunDir(arguments.run_dir.resolve())
    lock = FileLock(run_dir.worker_lock)
    if not lock.acquire(_LOCK_PATIENCE_S):
        log.error("another worker holds %s", run_dir.worker_lock)
        return EXIT_LOCKED
    stop = _listen_for_stop()
    try:
        return _run(run_dir, arguments.attempt, stop)
    finally:
        lock.release()


def _listen_for_stop() -> threading.Event:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # A terminal's Ctrl-C or hang-up is the supervisor's to judge.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def watch_lifeline() -> None:
        with contextlib.suppress(OSError):
            while os.read(sys.stdin.fileno(), 4096):
                pass
        stop.set()

    threading.Thread(target=watch_lifeline, daemon=True, name="lifeline").start()
    return stop


def _run(run_dir: RunDir, attempt: int, stop: threading.Event) -> int:
    try:
        recipe = read_resolved(run_dir.resolved)
        remove_leftovers(run_dir.last_checkpoint.parent)
        resume_from, warning = load_newest(run_dir.last_checkpoint)
        rewind(run_dir.events, resume_from["events_bytes"] if resume_from else 0)
    except EngineError as error:
        return _record_failure(run_dir, attempt, error)
    with EventLog(run_dir.events) as events:
        if warning:
            events.append(MessageEvent(level="warning", text=warning))
        try:
            result = train(
                recipe, run_dir, events, attempt=attempt, resume_from=resume_from, stop_requested=stop.is_set
            )
        except Exception as error:  # noqa: BLE001 - whatever ends a run is recorded, and the queue goes on
            return _record_failure(run_dir, attempt, error)
        return _record_result(events, attempt, result)


def _record_result(events: EventLog, attempt: int, result: TrainingResult) -> int:
    ended = RunEnded(outcome=result.outcome, reason=result.reason, elapsed_s=result.elapsed_s, attempt=attempt)
    events.append(ended)
    log.info("%s %s", result.outcome, result.reason)
    return EXIT_FINISHED if result.outcome == "finished" else EXIT_STOPPED


def _record_failure(run_dir: RunDir, attempt: int, error: Exception) -> int:
    cause, reason = explain_failure(error)
    if not isinstance(error, EngineError):
        traceback.print_exception(error)
    log.error("%s: %s", cause, reason)
    # A full disk may refuse this line too; the exit code and worker.log still tell.
    with contextlib.suppress(OSError), EventLog(run_dir.events) as events:
        events.append(RunEnded(outcome="failed", reason=reason, cause=cause, attempt=attempt))
    return EXIT_FAILED


_CAUSES: dict[type[EngineError], str] = {
    DataError: "data error", WeightsError: "weights error", RecipeError: "recipe error",
}


def explain_failure(error: Exception) -> tuple[str, str]:
    """The recorded cause of a failure, and the reason in words a person can act on."""
    if isinstance(error, EngineError):
        cause = error.cause if isinstance(error, TrainingError) else _CAUSES.get(type(error), "error")
        return cause, "; ".join(str(problem) for problem in error.problems)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
        return "out of memory", (
            "out of memory; set training.batch_size to half, or lower model.min_size and model.max_size"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk full", "the disk is full; free some space and queue the recipe again"
    words = (str(error).strip().splitlines() or [""])[0]
    return "error", f"{type(error).__name__}: {words} (worker.log has the whole story)"


if __name__ == "__main__":
    sys.exit(main())

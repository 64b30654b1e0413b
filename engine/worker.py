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
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NoReturn

from engine.allocator import in_use
from engine.attempt import Lesson, learn, leave_notes
from engine.devicememory import apply_memory_limit
from engine.errors import DataError, EngineError, RecipeError, TrainingError, WeightsError
from engine.events import EventLog, MessageEvent, RecoveryEvent, RunEnded, rewind
from engine.guarded import GRACE_S
from engine.models.checkpoint import Content, load_newest, remove_leftovers
from engine.models.detector import pick_device
from engine.models.speed import flush_subnormals
from engine.recipe.load import read_resolved
from engine.recipe.schema import Recipe
from engine.rundir import EXIT_FAILED, EXIT_FINISHED, EXIT_LOCKED, EXIT_STALLED, EXIT_STOPPED, FileLock, RunDir
from engine.training.memory import is_out_of_memory
from engine.training.trainer import TrainingResult, train
from engine.training.watchdog import Watchdog

log = logging.getLogger("engine.worker")

# Not an exit code: the worker replaces itself by a fresh one.
_RESTART = -1
# A reader that looks whether the lock is held takes it for an instant.
_LOCK_PATIENCE_S = 5.0


def main(argv: Sequence[str]) -> int:
    """Run the worker; returns its exit code.

    Args:
        argv: Its arguments; a worker that was started ahead got them late.
    """
    parser = argparse.ArgumentParser(prog="engine.worker")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--attempt", type=int, default=1)
    parser.add_argument("--device", help="takes the place of the recipe's hardware.device")
    arguments = parser.parse_args(argv)
    faulthandler.enable()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S",
        stream=sys.stderr,
    )
    run_dir = RunDir(arguments.run_dir.resolve())
    lock = FileLock(run_dir.worker_lock)
    if not lock.acquire(_LOCK_PATIENCE_S):
        log.error("another worker holds %s", run_dir.worker_lock)
        return EXIT_LOCKED
    stop = _listen_for_stop()
    try:
        code = _run(run_dir, arguments.attempt, stop, arguments.device)
    finally:
        lock.release()
    if code == _RESTART:
        # The same process to everyone who watches it: its number, its lifeline and its marks stay.
        os.execv(sys.executable, [sys.executable, "-m", "engine.worker", *argv])  # noqa: S606 - no shell wanted
    return code


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
        time.sleep(GRACE_S)
        _end_session()

    threading.Thread(target=watch_lifeline, daemon=True, name="lifeline").start()
    return stop


def _end_session() -> None:
    """Kill this process and its loaders: whoever would have done that is dead, and saving took too long."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _on_device(recipe: Recipe, device: str | None) -> Recipe:
    """The recipe with another device; the supervisor gives one where runs go side by side."""
    if device is None:
        return recipe
    return recipe.model_copy(update={"hardware": recipe.hardware.model_copy(update={"device": device})})


def _run(run_dir: RunDir, attempt: int, stop: threading.Event, device: str | None) -> int:
    try:
        recipe = _on_device(read_resolved(run_dir.resolved), device)
        remove_leftovers(run_dir.last_checkpoint.parent)
        resume_from, warning = load_newest(run_dir.last_checkpoint)
        lesson = learn(run_dir, attempt)
        rewind(run_dir.events, resume_from["events_bytes"] if resume_from else 0)
    except EngineError as error:
        return _record_failure(run_dir, attempt, error)
    with EventLog(run_dir.events) as events:
        watchdog = Watchdog(recipe.recovery, lambda text: _end_stalled(run_dir, attempt, text))
        try:
            if warning:
                events.append(MessageEvent(level="warning", text=warning))
            recipe, micro_batch_size = _taught(recipe, lesson, resume_from, events)
            leave_notes(run_dir, attempt, micro_batch_size)
            limit = apply_memory_limit(recipe.hardware.memory_limit_gb, pick_device(recipe.hardware.device))
            if limit is not None:
                log.info("memory limit %.1f GB", limit / 1e9)
            allocator = in_use()
            log.info("memory allocator: %s", " ".join((allocator.name, allocator.library)).strip())
            flush_subnormals()
            watchdog.start()
            result = train(
                recipe, run_dir, events, attempt=attempt, resume_from=resume_from, micro_batch_size=micro_batch_size,
                stop_requested=stop.is_set, heartbeat=watchdog.beat, may_restart=True,
            )
        except Exception as error:  # noqa: BLE001 - whatever ends a run is recorded, and the queue goes on
            return _record_failure(run_dir, attempt, error)
        finally:
            watchdog.stop()
        if result.outcome == "restart":
            log.warning("going on in a fresh process with %s", result.reason)
            return _RESTART
        return _record_result(events, attempt, result.outcome, result)


def _taught(recipe: Recipe, lesson: Lesson, state: Content | None, events: EventLog) -> tuple[Recipe, int]:
    """The recipe and micro-batch size to go on with after what the attempt before met."""
    sizes = (recipe.training.batch_size, recipe.training.micro_batch_size, state and state.get("micro_batch_size"))
    size = min(given for given in sizes if isinstance(given, int))
    step, epoch = (state["step"] if state else 0), 0
    if lesson.killed_for_memory:
        size = max(1, min(size, lesson.micro_batch_size or size) // 2)
        text = f"the system ended the run for want of memory; going on with at most {size} image(s) in memory at a time"
        events.append(RecoveryEvent(kind="out of memory", text=text, epoch=epoch, step=step))
    if lesson.stalled:
        # With a loader process of its own, a hanging image is noticed, named and set aside.
        text = f"{lesson.reason}; going on from the last checkpoint with one loader process"
        events.append(RecoveryEvent(kind="stalled", text=text, epoch=epoch, step=step))
        hardware = recipe.hardware.model_copy(update={"num_workers": 1})
        recipe = recipe.model_copy(update={"hardware": hardware})
    return recipe, size


def _end_stalled(run_dir: RunDir, attempt: int, text: str) -> None:
    """End this process, for its main thread hangs; the run is taken up again from its last checkpoint."""
    with contextlib.suppress(OSError), EventLog(run_dir.events) as events:
        events.append(RunEnded(outcome="failed", reason=text, cause="stalled", attempt=attempt))
    for process in multiprocessing.active_children():
        process.kill()
    os._exit(EXIT_STALLED)


def _record_result(
    events: EventLog, attempt: int, outcome: Literal["finished", "stopped"], result: TrainingResult
) -> int:
    ended = RunEnded(outcome=outcome, reason=result.reason, elapsed_s=result.elapsed_s, attempt=attempt)
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
    if is_out_of_memory(error):
        return "out of memory", (
            "out of memory; set training.batch_size to half, or lower model.min_size and model.max_size"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk full", "the disk is full; free some space and queue the recipe again"
    words = (str(error).strip().splitlines() or [""])[0]
    return "error", f"{type(error).__name__}: {words} (worker.log has the whole story)"


def leave(code: int) -> NoReturn:
    """End the process with an exit code, at once: taking torch apart takes seconds that the next run would wait for.

    Everything is written and closed by then, and the guardian ends what this process leaves.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))

"""What a worker's end means: the run's new state, why, and whether it is tried again.

A worker that ends with a word of its own is believed. One that dies without a word, by a signal, with
an exit code nobody explains, because nothing moved any more, or together with its supervisor, is
started again from its last checkpoint; `MAX_DEATHS` such attempts in a row without a new checkpoint,
and the run has failed.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from engine.errors import printable
from engine.executors import UNSEEN
from engine.queuereader import last_word, state_when_interrupted
from engine.rundir import EXIT_FINISHED, EXIT_STALLED, EXIT_STOPPED, RunDir
from engine.runqueue import State

# Attempts in a row that died without a new checkpoint, after which a run has failed. What dies with its supervisor
# counts too: a run may be what brings the machine down.
MAX_DEATHS = 5
_LOG_TAIL_BYTES = 4_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt's end means.

    Attributes:
        state: The run's new state.
        reason: Why, in words a person can act on; "" when there is nothing to say.
        cause: Recorded kind of failure; "" for none.
        died: The worker died without a word: worth another try.
    """

    state: State
    reason: str
    cause: str = ""
    died: bool = False


def judge_exit(run_dir: RunDir, attempt: int, code: int, *, stop_level: int = 0) -> Verdict:
    """What a worker's end means, whatever came before it.

    Args:
        run_dir: The run.
        attempt: The attempt that ended.
        code: The worker's exit code, -N when signal N killed it, UNSEEN when its guardian was killed.
        stop_level: Whether the worker was asked to stop (1) or killed (2) on purpose.
    """
    ended = last_word(run_dir, attempt)
    if code in (EXIT_FINISHED, UNSEEN) and ended is not None and ended.outcome == "finished":
        return Verdict("finished", ended.reason)
    if code == EXIT_STOPPED or (code == UNSEEN and ended is not None and ended.outcome == "stopped"):
        return Verdict("queued", ended.reason if ended else "stopped on request")
    if stop_level >= 2:
        return Verdict("queued", "stopped at once; goes on from its last checkpoint")
    if stop_level == 1 and code == -signal.SIGTERM:
        # It was still importing and couldn't listen; what it had is on disk already.
        return Verdict("queued", "stopped on request before it began")
    if code == EXIT_STALLED:
        reason = (ended.reason if ended is not None else "") or "nothing moved any more; worker.log may tell why"
        return Verdict("failed", reason, "stalled", died=True)
    # An unnamed error beside a killed guardian is that of a worker whose output was cut off.
    if ended is not None and ended.outcome == "failed" and not (code == UNSEEN and ended.cause == "error"):
        return Verdict("failed", ended.reason, ended.cause)
    return _wordless(run_dir, code)


def _wordless(run_dir: RunDir, code: int) -> Verdict:
    if code == UNSEEN:
        return Verdict("failed", "the process that guards the worker was killed", "guardian killed", died=True)
    if code < 0:
        return Verdict("failed", _killed_reason(-code), f"killed by signal {-code}", died=True)
    reason = f"the worker ended with exit code {code}: {_last_line(run_dir.worker_log)}"
    return Verdict("failed", reason, f"exit code {code}", died=True)


def judge_interrupted(run_dir: RunDir, attempt: int) -> Verdict:
    """What becomes of a run whose supervisor was killed."""
    state, reason, cause = state_when_interrupted(run_dir, attempt)
    died = last_word(run_dir, attempt) is None
    return Verdict(state, reason, cause or ("keeps dying with its supervisor" if died else ""), died=died)


def checkpoint_of(run_dir: RunDir) -> str:
    """Tells one last checkpoint from another; "" where there is none."""
    try:
        status = run_dir.last_checkpoint.stat()
    except OSError:
        return ""
    return f"{status.st_ino}:{status.st_mtime_ns}:{status.st_size}"


def got_further(run_dir: RunDir) -> bool:
    """Whether an attempt that nobody saw begin wrote a checkpoint; asked before its marks are cleared away."""
    try:
        return run_dir.last_checkpoint.stat().st_mtime_ns > run_dir.execution.stat().st_mtime_ns
    except OSError:
        return False


def _killed_reason(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    reason = f"the worker was killed by signal {number} ({name})"
    if number == signal.SIGKILL:
        advice = "the system ran out of memory: lower training.batch_size or model.min_size"
        return f"{reason}; if nobody did that, {advice}"
    return reason + "; worker.log may tell why"


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return "it wrote no log"
    return printable(lines[-1]) if lines else "it printed nothing"

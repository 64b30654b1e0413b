"""An attempt at a run while the supervisor sees it through: how it is judged, and how its end gets into the queue."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from engine.errors import QueueError
from engine.executors import Execution, Place
from engine.queuefile import QueueUnavailable
from engine.rundir import RunDir
from engine.runqueue import ACTIVE, QueueRow, RunQueue
from engine.steward import Parking
from engine.verdict import MAX_DEATHS, Verdict, checkpoint_of, judge_exit, judge_interrupted


@dataclass
class Attempt:
    """An attempt, from its claim until its end is recorded.

    Attributes:
        row: The run as the queue had it last.
        place: Where it is executed.
        execution: Its execution; None when it couldn't be started.
        verdict: How it ended, once that is known.
        checkpoint: The last checkpoint when it began.
        asked: 1 once it was asked to save and end, 2 once it was killed on purpose.
        parking: Why it makes room, when it does.
        adopted: A former supervisor started it.
        got_further: It wrote a checkpoint.
        since: When it began, by the monotonic clock.
    """

    row: QueueRow
    place: Place
    execution: Execution | None = None
    verdict: Verdict | None = None
    checkpoint: str = ""
    asked: int = 0
    parking: Parking | None = None
    adopted: bool = False
    got_further: bool = False
    since: float = field(default_factory=time.monotonic)

    def judge(self, run_dir: RunDir, code: int) -> None:
        """Its execution has ended with a code: set the verdict."""
        if self.adopted:
            self.verdict = judge_interrupted(run_dir, self.row.attempt)
        else:
            self.got_further = checkpoint_of(run_dir) != self.checkpoint
            self.verdict = judge_exit(run_dir, self.row.attempt, code, stop_level=self.asked)


def still_ours(queue: RunQueue, row: QueueRow) -> QueueRow | None:
    """The run as the queue has it now; None when another process has settled it, or taken it out.

    Raises:
        QueueUnavailable: The queue can't be read for now.
    """
    try:
        now = queue.row(row.run)
    except QueueUnavailable:
        raise
    except QueueError:
        return None
    return now if now.attempt == row.attempt and now.state in ACTIVE else None


def record(queue: RunQueue, attempt: Attempt) -> QueueRow | None:
    """Write down how an attempt ended; may be called again until it succeeds.

    Returns:
        The row as recorded; None when the run is no longer this supervisor's, or never was.

    Raises:
        QueueUnavailable: The queue can't be written for now.
    """
    verdict = attempt.verdict
    row = still_ours(queue, attempt.row)
    if row is None or verdict is None or attempt.row.state not in ACTIVE:
        return None
    if verdict.died:
        if attempt.got_further:
            row = queue.reset_interruptions(row)
        return queue.interrupted(row, verdict.reason, verdict.cause, limit=MAX_DEATHS)
    row = queue.reset_interruptions(row)
    if verdict.state == "failed":
        return queue.fail(row, verdict.reason, verdict.cause)
    if verdict.state == "queued" and attempt.parking is not None:
        return queue.park(row, attempt.parking.reason, attempt.parking.not_before, attempt.parking.cause)
    return queue.finish(row, verdict.state, verdict.reason, verdict.cause)

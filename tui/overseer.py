"""Keeps the whole night in view for the feed: every unfinished run's standing, and how the machine does.

Reads no event log: what a run has done the feed has folded already. Knows no Textual.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from engine.progress import RunProgress
from engine.queuereader import QueueReading, settle_orphans
from engine.rundir import RunDir
from engine.runqueue import ACTIVE, OVER, QueueRow
from engine.standing import Board, Left, left_of_run, stand
from tui.gauges import GaugeReader, Gauges

_BOARD_LOOK_S = 2.0
_GAUGES_LOOK_S = 4.0
# The end of a queue that stands still moves on with the clock; that alone is no news.
_DRIFT_S = 30.0


@dataclass(frozen=True, slots=True)
class BoardChange:
    """The unfinished runs stand otherwise than before."""

    board: Board


@dataclass(frozen=True, slots=True)
class GaugesChange:
    """The machine was looked at again."""

    gauges: Gauges


class Overseer:
    """Tells where the unfinished runs stand and how the machine does, each at its own pace.

    Args:
        runs_dir: The runs folder.
        clock: Seconds since 1970.
        read_gauges: What tells how the machine does; None for this machine's own gauges.
    """

    def __init__(
        self, runs_dir: Path, clock: Callable[[], float] = time.time, read_gauges: Callable[[], Gauges] | None = None
    ) -> None:
        self._runs_dir = runs_dir
        self._clock = clock
        self._read_gauges = read_gauges or GaugeReader(runs_dir).read
        self._gauges = Gauges()
        self._board: Board | None = None
        self._rows: Mapping[str, QueueRow] | None = None
        self._settled: dict[str, QueueRow] = {}
        self._next_board = 0.0
        self._next_gauges = 0.0
        self._has_looked = False

    def look(
        self, reading: QueueReading, progress: Mapping[str, RunProgress], now: float, *, is_supervised: bool
    ) -> Iterator[BoardChange | GaugesChange]:
        """What changed since the last look.

        Args:
            reading: The queue.
            progress: How far the runs are.
            now: Seconds of a clock that only goes on.
            is_supervised: Whether somebody is at work on the queue.
        """
        if now >= self._next_gauges:
            gauges = self._read_gauges()
            # The first look can't know the load yet.
            self._next_gauges = now + (_GAUGES_LOOK_S if self._has_looked else 1.0)
            self._has_looked = True
            if gauges != self._gauges:
                self._gauges = gauges
                yield GaugesChange(gauges)
        if now >= self._next_board or reading.rows is not self._rows:
            self._next_board = now + _BOARD_LOOK_S
            board = self._stand(reading, progress, is_supervised=is_supervised)
            if self._board is None or _differs(self._board, board):
                self._board = board
                yield BoardChange(board)

    def _stand(self, reading: QueueReading, progress: Mapping[str, RunProgress], *, is_supervised: bool) -> Board:
        if reading.rows is not self._rows or any(row.state in ACTIVE for row in self._settled.values()):
            self._rows = reading.rows
            self._settled = settle_orphans(reading.rows, self._runs_dir)
        left = {run: self._left(row, progress) for run, row in self._settled.items() if row.state not in OVER}
        return stand(
            replace(reading, rows=self._settled), is_supervised=is_supervised, now=self._clock(), left=left
        )

    def _left(self, row: QueueRow, progress: Mapping[str, RunProgress]) -> Left:
        return left_of_run(row, RunDir(self._runs_dir / row.run), progress.get(row.run) or RunProgress())


def _differs(old: Board, new: Board) -> bool:
    """Whether anything but the clock has moved."""
    if _timeless(old) != _timeless(new):
        return True
    before, after = _times(old), _times(new)
    return any(
        (one is None) != (other is None) or (one is not None and other is not None and abs(one - other) > _DRIFT_S)
        for one, other in zip(before, after, strict=True)
    )


def _timeless(board: Board) -> Board:
    standings = tuple(replace(standing, left_s=None, done_at=None) for standing in board.standings)
    return replace(board, standings=standings, queue_done_at=None)


def _times(board: Board) -> list[float | None]:
    times = [time for standing in board.standings for time in (standing.left_s, standing.done_at)]
    return [*times, board.queue_done_at]

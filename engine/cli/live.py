"""What `engine run` shows while it works: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Literal, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.cli.options import count, duration, figure
from engine.cli.status import (
    STATE_LOOKS,
    elapsed_s,
    epochs_begun,
    fitted,
    queue_line,
    reason_lines,
    remaining_s,
)
from engine.errors import printable
from engine.events import (
    EpochEvent,
    Event,
    EventTail,
    MessageEvent,
    RecoveryEvent,
    RunStarted,
    StepEvent,
    encode_event,
)
from engine.forecast import Forecast, left_of, read_forecast
from engine.progress import RunProgress, advance
from engine.queuereader import QueueReading
from engine.rundir import RunDir
from engine.runqueue import ACTIVE, OVER, QueueRow, RunQueue
from engine.standing import Board, Left, progress_of, stand

_MOST_ROWS = 20
_REDRAW_S = 0.5
_FORESEE_EVERY_S = 5.0
_NARROW = 80
_WIDTH_BESIDE_NAME, _WIDTH_BESIDE_NAME_NARROW = 52, 40
_MOST_REASONS = 5
_LEFT_OUT_WHEN_NARROW = ("bar", "loss", "elapsed")
# Columns that the rest of a row takes with a name of ordinary length.
_WIDTH_BESIDE_BAR = 76


class RunReader:
    """Follows the events of the run at work."""

    def __init__(self, run_dir: RunDir) -> None:
        self._tail = EventTail(run_dir.events)
        self._restarts = 0
        self._told: set[bytes] = set()
        self.progress = RunProgress()

    def read(self) -> list[Event]:
        """Events since the last call, none twice; folds them into `progress`.

        A run that goes back to a checkpoint cuts its log back, and what stays in it is read again.
        """
        events = self._tail.read()
        if self._tail.restarts != self._restarts:
            self._restarts, self.progress = self._tail.restarts, RunProgress()
        for event in events:
            self.progress = advance(self.progress, event)
        return [event for event in events if isinstance(event, StepEvent) or self._is_new(event)]

    def _is_new(self, event: Event) -> bool:
        line = encode_event(event)
        is_new = line not in self._told
        self._told.add(line)
        return is_new


class Show(Protocol):
    """Something that shows a queue at work; the supervisor's observer calls it."""

    def start(self, row: QueueRow) -> None:
        """A run begins."""

    def tick(self) -> None:
        """Time to look for news."""

    def end(self, row: QueueRow) -> None:
        """An attempt ended."""

    def note(self, text: str) -> None:
        """Something to say."""

    def close(self) -> None:
        """The queue is done with."""


class PlainLines:
    """A line for each thing worth knowing; for logs, pipes and CI."""

    def __init__(self, console: Console, runs_dir: Path) -> None:
        self._console = console
        self._runs_dir = runs_dir
        self._readers: dict[str, RunReader] = {}
        self._attempts: dict[str, int] = {}
        self._since: dict[str, float] = {}

    def start(self, row: QueueRow) -> None:
        """A run begins."""
        self._readers[row.run] = RunReader(RunDir(self._runs_dir / row.run))
        self._attempts[row.run], self._since[row.run] = row.attempt, time.time()
        self._say(row.run, f"started, attempt {row.attempt}")

    def tick(self) -> None:
        """Time to look for news."""
        for run, reader in self._readers.items():
            for event in reader.read():
                if isinstance(event, RunStarted) and event.attempt == self._attempts[run]:
                    self._since[run] = -math.inf  # all that follows is new, even if the clock is set back
                if event.time >= self._since[run] and (line := plain_line(event, reader.progress)):
                    self._say(run, line)  # an earlier attempt has told its own

    def end(self, row: QueueRow) -> None:
        """An attempt ended."""
        self.tick()
        self._readers.pop(row.run, None)
        self._say(row.run, f"{row.state}{': ' + row.reason if row.reason else ''}")

    def note(self, text: str) -> None:
        """Something to say."""
        self._console.print(printable(text), soft_wrap=True)

    def close(self) -> None:
        """Nothing to tidy up."""

    def _say(self, run: str, text: str) -> None:
        self._console.print(printable(f"{run}: {text}"), soft_wrap=True)


def plain_line(event: Event, progress: RunProgress) -> str:
    """An event as a line, "" when it isn't worth one."""
    match event:
        case RunStarted():
            return (
                f"training on {event.device}, {count(event.num_train_images, 'image')}, "
                f"validating on {event.num_val_images}; {count(event.num_epochs, 'epoch')}, {event.num_steps} steps"
            )
        case StepEvent() if event.step == 0:
            return f"first step, loss {figure(event.loss)}"
        case EpochEvent():
            return (
                f"epoch {event.epoch + 1}/{progress.num_epochs}  loss {figure(event.train_loss)}  "
                f"val loss {figure(event.val_loss)}  AP {figure(event.ap)}  AP50 {figure(event.ap50)}"
                f"{'  best so far' if event.best else ''}  {duration(event.elapsed_s)}, "
                f"{duration(progress.eta_s)} left"
            )
        case MessageEvent():
            return f"{event.level}: {event.text}"
        case RecoveryEvent():
            return f"{event.kind}: {event.text}"
    return ""


class LiveTable:
    """A table of the queue, redrawn when ticked: no thread of its own, for SQLite wants one thread."""

    def __init__(self, console: Console, queue: RunQueue) -> None:
        self._queue = queue
        self._progress: dict[str, RunProgress] = {}
        self._readers: dict[str, RunReader] = {}
        self._run = ""
        self._drawn_at = 0.0
        self._ended_here: set[str] = set()
        self._board = Board()
        self._forecasts: dict[str, Forecast | None] = {}
        self._foreseen_at = -_FORESEE_EVERY_S
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def start(self, row: QueueRow) -> None:
        """A run begins."""
        self._run = row.run
        self._readers[row.run] = RunReader(RunDir(self._queue.runs_dir / row.run))

    def tick(self) -> None:
        """Time to look for news."""
        for run, reader in self._readers.items():
            reader.read()
            self._progress[run] = reader.progress
        if time.monotonic() - self._drawn_at >= _REDRAW_S:
            self._redraw()

    def _redraw(self) -> None:
        self._drawn_at = time.monotonic()
        self._live.update(self._render(), refresh=True)

    def end(self, row: QueueRow) -> None:
        """An attempt ended."""
        self.tick()
        self._readers.pop(row.run, None)
        self._run = row.run
        self._ended_here.add(row.run)
        self._redraw()

    def note(self, text: str) -> None:
        """Something to say."""
        self._live.console.print(printable(text), soft_wrap=True)

    def close(self) -> None:
        """The queue is done with; its last state stays on the screen."""
        self._redraw()
        self._live.stop()

    @property
    def _name_room(self) -> int:
        width = self._live.console.width
        return width - (_WIDTH_BESIDE_NAME_NARROW if width < _NARROW else _WIDTH_BESIDE_NAME + self._bar_width)

    @property
    def _bar_width(self) -> int:
        return max(6, min(24, self._live.console.width - _WIDTH_BESIDE_BAR))

    def _render(self) -> Group:
        rows = self._queue.rows()
        here = next((index for index, row in enumerate(rows) if row.run == self._run), len(rows) - 1)
        first = max(0, min(here - _MOST_ROWS // 2, len(rows) - _MOST_ROWS))
        table = Table(box=None, pad_edge=False, header_style="bold")
        headings = ("", "run", "bar", "epoch", "loss", "AP50", "elapsed", "left", "state")
        narrow = self._live.console.width < _NARROW
        shown = [heading for heading in headings if not (narrow and heading in _LEFT_OUT_WHEN_NARROW)]
        for heading in shown:
            justify: Literal["left", "right"] = "right" if heading in ("epoch", "loss", "AP50") else "left"
            table.add_column("" if heading == "bar" else heading, justify=justify, no_wrap=True)
        for row in rows[first : first + _MOST_ROWS]:
            cells = dict(zip(headings, self._cells(row), strict=True))
            table.add_row(*(cells[heading] for heading in shown))
        hidden = len(rows) - min(len(rows), _MOST_ROWS)
        foot = f"{count(hidden, 'more run')} not shown; " if hidden else ""
        width = self._live.console.width
        reasons = [reason_lines(row, width) for row in rows if row.reason and row.run in self._ended_here]
        foreseen = [Text(line)] if (line := self._foresee(rows)) else []
        hint = f"{foot}Ctrl-C saves and stops, twice stops at once; `engine watch` shows more"
        return Group(table, *reasons[-_MOST_REASONS:], *foreseen, Text(hint, style="dim"))

    def _foresee(self, rows: list[QueueRow]) -> str:
        """When the queue should be done, in words."""
        now = time.time()
        if time.monotonic() - self._foreseen_at >= _FORESEE_EVERY_S:
            self._foreseen_at = time.monotonic()
            # Not read by `standing.read_board`: looking at the supervisor's lock from here would free it.
            reading = QueueReading({row.run: row for row in rows})
            left = {row.run: self._left(row) for row in rows if row.state not in OVER}
            self._board = stand(reading, is_supervised=True, now=now, left=left)
        return queue_line(self._board, now)

    def _left(self, row: QueueRow) -> Left:
        """What a run still needs: by its own pace at work, by its forecast before."""
        if row.run not in self._forecasts:
            self._forecasts[row.run] = read_forecast(RunDir(self._queue.runs_dir / row.run).forecast)
        forecast, progress = self._forecasts[row.run], self._progress_of(row)
        left_s = left_of(forecast, fraction=progress.fraction, eta_s=remaining_s(row, progress))
        return Left(left_s, may_end_early=forecast is not None and forecast.may_end_early)

    def _progress_of(self, row: QueueRow) -> RunProgress:
        if row.run not in self._progress:  # it was worked on before this table began
            self._progress[row.run] = progress_of(row, self._queue.runs_dir)
        return self._progress[row.run]

    def _cells(self, row: QueueRow) -> list[Text | ProgressBar]:
        progress = self._progress_of(row)
        symbol, style = STATE_LOOKS[row.state]
        doing = progress.phase if row.state in ACTIVE and progress.phase else row.state
        return [
            Text(symbol, style), Text(fitted(row.run, self._name_room)),
            ProgressBar(total=1.0, completed=progress.fraction, width=self._bar_width),
            Text(epochs_begun(progress)), Text(figure(progress.loss)), Text(figure(progress.best_ap50)),
            Text(duration(elapsed_s(row, progress) or None)),
            Text(duration(self._left(row).left_s if row.state not in OVER else None)),
            Text(doing, style),
        ]

"""What `engine run` and `engine resume` share: working the queue off, in sight or detached."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from engine.advice import read_advice
from engine.cli.detach import SupervisorLog, become_detached
from engine.cli.options import count
from engine.cli.printing import console
from engine.clock import next_time
from engine.errors import plain
from engine.executors.places import make_places
from engine.launching import launch
from engine.night import NightSteward
from engine.nightreport import report_night
from engine.notice import Notices, queue_notice, run_notice
from engine.queuerebuild import figures_progress
from engine.rundir import NOTICES_LOG, SUPERVISOR_LOG, RunDir
from engine.runqueue import QueueRow, RunQueue
from engine.settings import Settings, read_settings
from engine.standing import what_to_do
from engine.supervisor import Observer, StopRequest, supervise, supervisor_lock

if TYPE_CHECKING:
    from engine.cli.live import Show
    from engine.executors import Executor, Place
    from engine.rundir import FileLock

# The dashboard looks whether a supervisor lives, and holds its lock for the instant of looking.
_LOCK_PATIENCE_S = 0.5
# What a terminal or pipe that went away makes of a write.
_GONE = (errno.EIO, errno.EPIPE, errno.ENXIO, errno.ENOTCONN)
# Left behind before a night's work: the check's libraries hold more memory than supervising does.
_HEAVY = "pydantic"
# Of `--until`: not even the end that a night that was cut short had.
NEVER = "never"
_TIME = re.compile(r"^(\d{4}-\d\d-\d\dT)?([01]\d|2[0-3]):[0-5]\d$")


@dataclass(frozen=True, slots=True)
class Manner:
    """How a queue is worked off.

    Attributes:
        runs_dir: The runs folder.
        devices: Devices to use side by side, as typed; None for each recipe's own.
        parallel: How many runs go side by side; None for one.
        plain: Plain lines on a terminal too.
        detach: In a process that outlives this terminal.
        into_log: This is that process.
        until: When work ends: a day and time, `NEVER` for when nothing is left, "" for the end that a night
            that was cut short had, if it is yet to come.
    """

    runs_dir: Path
    devices: str | None = None
    parallel: int | None = None
    plain: bool = False
    detach: bool = False
    into_log: bool = False
    until: str = ""

    @property
    def settings(self) -> Settings:
        """What the person has set for all recipes.

        Raises:
            EngineError: The settings can't be read.
        """
        return read_settings()

    @property
    def places(self) -> tuple[Place, ...]:
        """Where runs are executed.

        Raises:
            QueueError: A device can't be used.
        """
        return make_places(self.devices, self.parallel)

    @property
    def options(self) -> list[str]:
        """What makes `engine resume` work in the same manner, but for the folder and where it prints."""
        devices = [] if self.devices is None else ["--devices", self.devices]
        until = ["--until", self.until] if self.until else []
        return [*devices, *([] if self.parallel is None else ["--parallel", str(self.parallel)]), *until]


parallel_option = click.option(
    "--parallel", type=click.IntRange(1), metavar="N",
    help="Work on N runs side by side, each with its share of the CPU's threads.",
)
devices_option = click.option(
    "--devices", metavar="LIST",
    help="Work on several runs side by side, one on each device, such as cuda:0,cuda:1. "
    "They take the place of hardware.device; GPUs count as in nvidia-smi.",
)


def manner_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that works the queue off."""
    for option in (
        click.option("--plain", is_flag=True, help="Print plain lines on a terminal too."),
        click.option(
            "--until", metavar="TIME", default="", callback=_day_and_time,
            help='Save and stop then, such as "07:00"; before, as many runs as can be are done.',
        ),
        click.option(
            "--detach", is_flag=True,
            help="Work in the background, beyond the end of this session; output goes to supervisor.log.",
        ),
        parallel_option, devices_option,
    ):
        command = option(command)
    return command


def _day_and_time(_ctx: click.Context, _param: click.Parameter, words: str) -> str:
    """The time that was typed with its day, since another process may read it later."""
    if words in ("", NEVER):
        return words
    if not _TIME.match(words):
        raise click.BadParameter('write a time such as "07:00", or a day and time such as "2026-11-24T07:00"')
    try:
        when = next_time(words, time.time())
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return time.strftime("%Y-%m-%dT%H:%M", time.localtime(when))


def work_off(
    manner: Manner, waited_for: Sequence[str] = (), *, refused: bool = False, executor: Executor | None = None
) -> int:
    """Work the queue off, or say who does; returns the exit code.

    Args:
        manner: How.
        waited_for: Runs to tell about at the end, besides those worked on here.
        refused: Something was refused before, so the exit code can't be 0.
        executor: Executes runs; as processes of this machine when left out.
    """
    places = manner.places
    queue = RunQueue(manner.runs_dir, on_rebuild=console().print)
    try:
        lock = supervisor_lock(manner.runs_dir)
        if not lock.acquire(_LOCK_PATIENCE_S):
            return _hand_over(queue, refused=refused)
        if manner.detach:
            lock.release()
            return _detach(manner, refused=refused)
        if executor is None and _HEAVY in sys.modules and not manner.into_log:
            lock.release()
            replace_process(manner, waited_for, refused=refused)
            if not lock.acquire(_LOCK_PATIENCE_S):
                return _hand_over(queue, refused=refused)
        return _work(queue, lock, manner, places, executor, waited_for, refused=refused)
    finally:
        queue.close()


def replace_process(manner: Manner, waited_for: Sequence[str], *, refused: bool) -> None:
    """Go on as `engine resume` in this very process, with half the memory; returns only where that can't be."""
    arguments = ["resume", "--runs", str(manner.runs_dir), *manner.options]
    arguments += [*(["--plain"] if manner.plain else []), *(["--refused"] if refused else [])]
    arguments += [part for run in waited_for for part in ("--for", run)]
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.suppress(OSError):  # too many runs for a command line
        os.execv(sys.executable, [sys.executable, "-m", "engine.cli.main", *arguments])  # noqa: S606


def _hand_over(queue: RunQueue, *, refused: bool) -> int:
    """Say what becomes of the runs where another process holds the queue; returns the exit code."""
    out = console()
    if any(row.state == "stopping" for row in queue.rows_in("stopping")):
        out.print("another `engine run` is saving and stopping; run `engine run` again when it has, to go on")
        return 1
    out.print("another `engine run` is at work on this folder; it takes these runs up. `engine watch` shows it.")
    return 1 if refused else 0


def _detach(manner: Manner, *, refused: bool) -> int:
    pid = launch(manner.runs_dir, manner.options)
    folder = _folder_option(manner.runs_dir)
    out = console()
    out.print(f"at work in the background as process {pid}; you may log out", soft_wrap=True)
    out.print(f"  `engine watch{folder}` shows it; what it prints goes to {manner.runs_dir / SUPERVISOR_LOG}",
              soft_wrap=True)
    out.print(f"  `kill {pid}` saves and stops; `engine resume{folder} --detach` goes on", soft_wrap=True)
    return 1 if refused else 0


def _folder_option(runs_dir: Path) -> str:
    return "" if runs_dir == Path("runs") else f" --runs {shlex.quote(str(runs_dir))}"


# --- in sight ---


class _Shown:
    """The observer's other end: shows a queue at work where somebody looks, else in the log.

    When the terminal goes away, the rest goes to the supervisor's log.
    """

    def __init__(self, queue: RunQueue, manner: Manner, stop: StopRequest, notices: Notices) -> None:
        self._queue, self._stop, self._told, self._notices = queue, stop, 0, notices
        self.log = SupervisorLog(manner.runs_dir)
        self.executed: list[QueueRow] = []
        self._hung_up = False
        if manner.into_log:
            become_detached(self.log)
        self._on_terminal = sys.stdout.isatty()
        self._show = self._make_show(live=self._on_terminal and not manner.plain)

    def _make_show(self, *, live: bool) -> Show:
        from engine.cli.live import LiveTable, PlainLines

        return LiveTable(console(), self._queue) if live else PlainLines(console(), self._queue.runs_dir)

    def observer(self) -> Observer:
        """What the supervisor is to call."""
        return Observer(
            on_start=lambda row: self._tell(lambda show: show.start(row)), on_tick=self.tick, on_end=self.end,
            on_note=lambda text: self._tell(lambda show: show.note(text)),
        )

    def tick(self) -> None:
        """Time to look for news."""
        if self._hung_up:
            self._go_to_log("the terminal was closed; going on without it")
        if self._stop.level > self._told:
            self._told = self._stop.level
            words = "saving, then stopping; Ctrl-C again stops at once" if self._told == 1 else "stopping at once"
            self._tell(lambda show: show.note(words))
        self._tell(lambda show: show.tick())
        self.log.look()

    def end(self, row: QueueRow) -> None:
        """An attempt ended."""
        self.executed.append(row)
        self._tell(lambda show: show.end(row))
        figures = figures_progress(row.figures)
        best_ap50 = None if figures is None else figures.best_ap50
        told = run_notice(row.run, row.state, row.reason, row.cause, best_ap50, self._queue.runs_dir)
        if told is not None:
            self._notices.tell(told)

    def hang_up(self) -> None:
        """The terminal goes away; called by a signal, so the rest is done at the next tick."""
        if self._on_terminal:  # a file goes on taking lines
            self._hung_up = True
            self.log.take_over()

    def close(self) -> None:
        """The queue is done with."""
        self._tell(lambda show: show.close())

    def _tell(self, what: Callable[[Show], None]) -> None:
        try:
            what(self._show)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self._go_to_log("nobody reads this process's output any more; going on without")

    def _go_to_log(self, words: str) -> None:
        self._hung_up = False
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.log.take_over()
        # A live table may have put itself between.
        sys.stdout, sys.stderr = sys.__stdout__ or sys.stdout, sys.__stderr__ or sys.stderr
        self._show = self._make_show(live=False)
        self._show.note(words)
        for row in self._queue.rows_in("running"):
            self._show.start(row)


def _work(
    queue: RunQueue, lock: FileLock, manner: Manner, places: Sequence[Place], executor: Executor | None,
    waited_for: Sequence[str], *, refused: bool,
) -> int:
    from engine.executors.local import LocalExecutor

    stop = StopRequest()
    notices = Notices(manner.settings.notice, manner.runs_dir / NOTICES_LOG, _ring)
    shown = _Shown(queue, manner, stop, notices)
    steward = NightSteward(queue, until=until_of(queue, manner), num_places=len(places))
    is_late = False

    def on_tick() -> None:
        nonlocal is_late
        shown.tick()
        if not stop.level and steward.is_over():
            is_late, stop.level = True, 1

    report: Path | None = None
    with _signals(stop, shown):
        try:
            observer = replace(shown.observer(), on_tick=on_tick)
            supervise(queue, executor or LocalExecutor(), lock, stop, observer, places=places, steward=steward)
        finally:
            shown.close()
        if is_late or not stop.level:
            level = stop.level
            runs = list(dict.fromkeys(row.run for row in shown.executed))
            report = report_night(queue.runs_dir, runs, lambda: stop.level > level)
    queue.set_until(None)
    if shown.executed and (is_late or not stop.level):
        states = [queue.row(run).state for run in dict.fromkeys(row.run for row in shown.executed)]
        counts: dict[str, int] = {state: states.count(state) for state in dict.fromkeys(states)}
        notices.tell(queue_notice(counts, queue.runs_dir, report))
    notices.close()
    return _conclude(queue, shown.executed, waited_for, stop, report, refused=refused, is_late=is_late)


def until_of(queue: RunQueue, manner: Manner) -> float | None:
    """When work ends: as asked, else as it was asked of a night that was cut short."""
    if manner.until == NEVER:
        return None
    if manner.until:
        return next_time(manner.until, time.time())
    former = queue.until()
    return former if former is not None and former > time.time() else None


def _ring() -> None:
    if sys.stdout.isatty():
        sys.stdout.write("\a")
        sys.stdout.flush()


@contextmanager
def _signals(stop: StopRequest, shown: _Shown) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into requests to stop, once to save and twice at once; go on when the terminal goes."""

    def on_stop(_number: int, _frame: FrameType | None) -> None:
        stop.raise_level()

    def on_hang_up(_number: int, _frame: FrameType | None) -> None:
        shown.hang_up()

    before = {number: signal.signal(number, on_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as under nohup
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, on_hang_up)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _conclude(
    queue: RunQueue, executed: Sequence[QueueRow], waited_for: Sequence[str], stop: StopRequest, report: Path | None, *,
    refused: bool, is_late: bool,
) -> int:
    out = console()
    runs = dict.fromkeys([*waited_for, *(row.run for row in executed)])
    rows = [queue.row(run) for run in runs]
    states = [row.state for row in rows]
    summary = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    held = queue.rows_in("held")
    if rows or not held:
        out.print(f"{count(len(rows), 'run')}: {summary}" if rows else "nothing was queued")
    for row in rows:
        if row.state == "failed":
            out.print(f"  {row.run} failed: {plain(row.reason)}", soft_wrap=True)
            out.print(f"  {what_to_do(row)}", soft_wrap=True)
        elif row.state == "finished" and (advice := read_advice(RunDir(queue.runs_dir / row.run))) and advice.fix:
            out.print(f"  {row.run}: {advice.words}", soft_wrap=True)
            out.print(f"  {advice.fix}", soft_wrap=True)
    if report is not None:
        out.print(f"report: {report}", soft_wrap=True)
    if held:
        are, them = ("is", "it") if len(held) == 1 else ("are", "them")
        release = f"engine release {' '.join(str(row.number) for row in held)}{_folder_option(queue.runs_dir)}"
        out.print(f"{count(len(held), 'run')} {are} held; `{release}` lets {them} go on", soft_wrap=True)
    if is_late:
        out.print(f"time is up; `engine run{_folder_option(queue.runs_dir)}` goes on where it was")
        return 1 if refused or "failed" in states else 0
    if stop.level:
        out.print(f"stopped; `engine run{_folder_option(queue.runs_dir)}` goes on where it was")
        return 130
    return 0 if not refused and all(state == "finished" for state in states) else 1

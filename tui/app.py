"""The Textual app behind `engine watch`: takes what the feed tells, and hands it to the screens."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from textual import events, on
from textual.app import App, SystemCommand
from textual.driver import Driver
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input

from engine.standing import Board
from tui.asking import STARTING, Outcome, carry_out
from tui.feed import (
    Change,
    Feed,
    FeedFailure,
    FeedThread,
    Fleet,
    FleetChange,
    LogChange,
    RecipeChange,
    RunChange,
)
from tui.gallery import Gallery
from tui.gauges import Gauges
from tui.graphics import Graphic, Graphics
from tui.logcounting import CountThread, LogCount
from tui.logreader import LogPage, LogThread
from tui.overseer import BoardChange, GaugesChange
from tui.palette import control_commands, view_commands
from tui.panels.compare import RunsCompared
from tui.panels.log import LogCountWanted, LogWanted
from tui.panels.panel import RecipesWanted
from tui.parting import parting_words
from tui.recipes import RecipeReading
from tui.scene import Scene
from tui.screens.control import Asked, failure_screen
from tui.screens.main import MainScreen
from tui.theme import DARK, LIGHT, THEMES
from tui.view import RunView
from tui.widgets.queue import QueueList

# A redraw costs tens of kilobytes over SSH; more than one a second shows nobody anything more.
_REDRAW_S = 1.0


# Of what became of many runs, so many are told one by one.
_MOST_TOLD = 5


@dataclass
class Answered(Message):
    """What became of something that was asked of the queue."""

    outcome: Outcome


class FeedSpoke(Message):
    """The feed has told something; one message stands for all that it told since the last one was taken."""


class WatchApp(App[None]):
    """The dashboard.

    Args:
        runs_dir: The runs folder; it may be missing.
        graphics: How pictures are drawn in this terminal.
        theme: Name of one of our themes.
        only: The one run of the folder to show; "" for all.
        clock: Seconds since 1970; tests stop it.
        pause_s: Rest between two looks at the runs folder.
        redraw_s: Least time between two redraws.
        read_gauges: What tells how the machine does; None for this machine's own gauges.
        driver: What reads the terminal and writes to it; None for Textual's own.
    """

    CSS_PATH = "watch.tcss"
    TITLE = "engine watch"

    def __init__(
        self,
        runs_dir: Path,
        graphics: Graphics | Graphic = "halfblock",
        theme: str = DARK,
        only: str = "",
        clock: Callable[[], float] = time.time,
        pause_s: float = 0.5,
        redraw_s: float = _REDRAW_S,
        read_gauges: Callable[[], Gauges] | None = None,
        driver: type[Driver] | None = None,
    ) -> None:
        super().__init__(driver_class=driver)
        for ours in THEMES:
            self.register_theme(ours)
        self.theme = theme
        self._clock = clock
        self._views: dict[str, RunView] = {}
        self._fleet = Fleet()
        self._logs: dict[str, tuple[str, ...]] = {}
        self._recipes: dict[str, RecipeReading] = {}
        self._asked_recipes: set[str] = set()
        self._compared: frozenset[str] = frozenset()
        self._chosen: str | None = None
        self._was_picked = False
        self._marked: frozenset[str] = frozenset()
        self._board = Board()
        self._gauges = Gauges()
        self._runs_dir, self._only = runs_dir, only
        self._feed = FeedThread(Feed(runs_dir, only, clock, read_gauges), self._hear, pause_s)
        self._log_thread = LogThread(runs_dir, self._hear)
        self._count_thread = CountThread(runs_dir, self._hear)
        self._gallery = Gallery(runs_dir, lambda error: self._hear(FeedFailure(error)))
        graphic = graphics if isinstance(graphics, Graphic) else Graphic(graphics)
        self._main = MainScreen(f"{runs_dir}/", self._gallery, graphic)
        self._redraw_s = redraw_s
        self._drawn_at = 0.0
        self._drawing: Timer | None = None
        self._news: queue.SimpleQueue[Change | LogPage | LogCount] = queue.SimpleQueue()
        self._is_told = False
        self._is_begun = False
        self._is_active = False
        self.failure: BaseException | None = None

    @property
    def parting(self) -> str:
        """What to say once it was left; "" for nothing."""
        views = [self._views[run] for run in self._fleet.run_ids if run in self._views]
        return parting_words(self._fleet, views, self._runs_dir, self._only)

    @property
    def is_settled(self) -> bool:
        """Whether everything there is to show was read and is on the screen; for tests."""
        view = self._views.get(self._chosen or "")
        is_read = view is None or (view.is_whole and view.run_id in self._logs)
        is_drawn = self._drawing is None and self._news.empty()
        compared = [self._views[run] for run in self._compared if run in self._views]
        is_asking = self._main.is_waiting or len(self._recipes) < len(self._asked_recipes)
        is_asking |= not all(view.is_whole for view in compared)
        return self._fleet.is_read and is_read and is_drawn and not is_asking

    def get_default_screen(self) -> Screen[None]:
        """The dashboard's main screen."""
        return self._main

    @on(MainScreen.Ready)
    def _begin(self) -> None:
        self._feed.start()
        self._log_thread.start()
        self.set_interval(_REDRAW_S, self._tick)

    def on_unmount(self) -> None:
        """Stop reading."""
        self._feed.stop()
        self._log_thread.stop()
        self._count_thread.stop()
        self._gallery.stop()

    # --- from the feed ---

    def _hear(self, change: Change | LogPage | LogCount) -> None:
        """Called in the threads that read."""
        self._news.put(change)
        if not self._is_told:
            self._is_told = True
            self.post_message(FeedSpoke())

    @on(FeedSpoke)
    def _take_news(self) -> None:
        self._is_told = False
        is_urgent, is_seen = False, self._main.watches_machine
        with contextlib.suppress(queue.Empty):
            while True:
                change = self._news.get_nowait()
                is_urgent |= self._take(change)
                is_seen |= not isinstance(change, GaugesChange)
        if is_seen:
            self._draw_soon(at_once=is_urgent)

    def _take(self, change: Change | LogPage | LogCount) -> bool:
        """Keep what was told; returns whether somebody waits to see it."""
        match change:
            case RunChange(view):
                old = self._views.get(view.run_id)
                self._views[view.run_id] = view
                is_looked_at = view.run_id == self._chosen or view.run_id in self._compared
                return is_looked_at and (old is None or _is_clearer(old, view))
            case FleetChange(fleet):
                is_new = fleet.is_known and not self._fleet.is_known
                self._fleet, self._is_begun = fleet, True
                self._views = {run: self._views.get(run) or RunView(run) for run in fleet.run_ids}
                return is_new
            case LogChange(run_id, lines):
                is_new = run_id not in self._logs
                self._logs = {run_id: lines}
                return is_new
            case RecipeChange(run_id, recipe):
                self._recipes = {**self._recipes, run_id: recipe}
                return True
            case BoardChange(board):
                self._board = board
            case GaugesChange(gauges):
                self._gauges = gauges
            case LogPage():
                self._main.show_log(change)
            case LogCount():
                self._main.show_count(change)
            case FeedFailure(error):
                self.failure = error
                self.exit(return_code=1)
        return False

    # --- to the screen ---

    def _tick(self) -> None:
        if self._is_active:
            self._draw_soon()  # elapsed and remaining time go on

    def _draw_soon(self, *, at_once: bool = False) -> None:
        if not self._is_begun:
            return  # nothing is known yet
        if self._drawing is not None:
            if not at_once:
                return
            self._drawing.stop()
        wait = 0.0 if at_once else self._drawn_at + self._redraw_s - time.monotonic()
        self._drawing = self.set_timer(max(0.001, wait), self._draw)

    def _draw(self) -> None:
        self._drawing = None
        self._drawn_at = time.monotonic()
        self._is_active = any(view.is_active for view in self._views.values())
        if not self._main.is_standing:
            return  # on the way out, the widgets go one by one
        self._choose()
        chosen = self._views.get(self._chosen) if self._chosen else None
        self._main.call_after_refresh(self._feed.go_on)
        self._main.show(
            Scene(
                self._fleet,
                tuple(self._views[run] for run in self._fleet.run_ids),
                chosen,
                self._logs.get(self._chosen or "", ()),
                self._clock(),
                self._marked & self._views.keys(),
                self._recipes,
                self._board,
                self._gauges,
            )
        )

    def _choose(self) -> None:
        """Keep to the run that was picked; else to the running one, else to the last that was begun."""
        if self._was_picked and self._chosen in self._views:
            return
        views = [self._views[run] for run in self._fleet.run_ids]
        active = [view for view in views if view.is_active]
        begun = [view for view in views if view.started is not None]
        best = next(iter(active or begun[-1:] or views[:1]), None)
        self._look_at(best.run_id if best else None)

    def _look_at(self, run_id: str | None) -> None:
        if run_id != self._chosen:
            self._chosen = run_id
            self._feed.choose(run_id)

    @on(QueueList.Chosen)
    def _pick(self, message: QueueList.Chosen) -> None:
        self._was_picked = True
        self._look_at(message.run_id)
        self._draw()

    @on(QueueList.Marked)
    def _mark(self, message: QueueList.Marked) -> None:
        self._marked = message.run_ids
        self._draw()

    @on(RecipesWanted)
    def _fetch_recipes(self, message: RecipesWanted) -> None:
        for run_id in message.run_ids:
            if run_id not in self._asked_recipes:
                self._asked_recipes.add(run_id)
                self._feed.want_recipe(run_id)

    @on(RunsCompared)
    def _compare(self, message: RunsCompared) -> None:
        self._compared = frozenset(message.run_ids)
        self._feed.compare(message.run_ids)

    # --- what is asked of runs ---

    @on(Asked)
    def _carry_out(self, message: Asked) -> None:
        """Do it in a thread: a writer may hold the queue for moments."""
        request = message.request
        if request.verb in STARTING:
            self.notify("starting, which takes a moment", markup=False)

        def work() -> None:
            self.post_message(Answered(carry_out(self._runs_dir, request)))

        self.run_worker(work, thread=True, group="control")

    @on(Answered)
    def _tell(self, message: Answered) -> None:
        outcome = message.outcome
        if outcome.done:
            self.notify(_shortened(outcome.done), markup=False)
        if outcome.refused:
            self.notify(_shortened(outcome.refused), title="Not done", severity="warning", timeout=10, markup=False)
        for note in outcome.notes:
            self.notify(note, severity="warning", timeout=10, markup=False)
        if outcome.failure:
            self.push_screen(failure_screen(outcome.failure))

    @on(LogWanted)
    def _read_log(self, message: LogWanted) -> None:
        self._log_thread.ask(message.request)

    @on(LogCountWanted)
    def _count_matches(self, message: LogCountWanted) -> None:
        self._count_thread.ask(message.request)

    # --- keys and commands ---

    def on_key(self, event: events.Key) -> None:
        """Hand on what was typed for a field but came before it had opened: over SSH keys come in bursts.

        A field keeps the letters that it gets, so one that arrives here has been elsewhere.
        """
        if isinstance(self.focused, Input) and event.is_printable and event.character:
            event.prevent_default()
            event.stop()
            self.focused.insert_text_at_cursor(event.character)

    def action_leave(self) -> None:
        """Leave; training goes on."""
        self.exit()

    def action_help_quit(self) -> None:
        """Ctrl+C leaves as well."""
        self.exit()

    def action_follow(self) -> None:
        """Follow whichever run is running."""
        self._was_picked = False
        self._draw()

    def action_switch_theme(self) -> None:
        """Dark or light."""
        self.theme = LIGHT if self.theme == DARK else DARK

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:  # noqa: ARG002
        """What the command palette offers."""
        yield SystemCommand("Leave", "Close the dashboard; training goes on", self.action_leave)
        yield SystemCommand("Keys", "Show every key", self._main.action_help)
        yield SystemCommand("Dark or light", "Switch between the two themes", self.action_switch_theme)
        yield SystemCommand("Follow", "Follow whichever run is running", self.action_follow)
        yield from control_commands(self._main)
        yield from view_commands(self._main, lambda run_id: self._pick(QueueList.Chosen(run_id)))



def _is_clearer(old: RunView, new: RunView) -> bool:
    """Whether a run is known in other detail now, not only farther on."""
    return old.is_whole != new.is_whole or (not new.is_whole and old.steps is not new.steps)


def _shortened(lines: tuple[str, ...]) -> str:
    more = len(lines) - _MOST_TOLD
    return "\n".join([*lines[:_MOST_TOLD], *([f"and {more} more"] if more > 0 else [])])

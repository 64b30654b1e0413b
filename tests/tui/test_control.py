"""Every key that acts on runs, against a real queue."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import QueueError
from engine.queuereader import read_queue
from engine.rundir import SUPERVISOR_LOCK, SUPERVISOR_LOG, RunDir, is_locked, lock_holder
from engine.runqueue import RunQueue, State
from tests.builders import process_environment, wait_for
from tests.tui.build import EVENING, claim, enqueue
from tests.tui.test_app import miss, running, screen_text, see, settle, until
from tui import asking
from tui.app import WatchApp
from tui.asking import Request, Verb, carry_out
from tui.screens.dialog import ChoiceDialog, ExplainScreen
from tui.widgets.queue import QueueList, run_lines

MakeApp = Callable[..., WatchApp]

FAILED, DONE, CANCELLED, BUSY = "0002-desk-r50-lr01", "0001-desk-mobilenet", "0003-desk-ssdlite", "0004-desk-r50"
NEXT, LAST = "0005-desk-r50-v2", "0006-desk-r18-long"


def state(runs_dir: Path, run: str) -> str:
    return read_queue(runs_dir).rows[run].state


async def choose(pilot, app: WatchApp, run: str) -> None:
    """Open the queue panel and choose a run."""
    await pilot.press("1")
    await settle(pilot, app)
    table = app._main.panels[0]._table
    await pilot.press("g", *["j"] * table.runs.index(run))
    await until(pilot, lambda: app._main.scene.chosen.run_id == run, run)


async def test_the_first_and_the_last_run_of_the_table(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("1")
        await settle(pilot, app)
        for key, at in (("end", -1), ("up", -2), ("home", 0), ("down", 1)):
            await pilot.press(key)
            run = app._main.panels[0]._table.runs[at]
            await until(pilot, lambda run=run: app._main.scene.chosen.run_id == run, key)


@pytest.mark.parametrize("panel", ["2", "3", "4", "5", "6", "7"])
async def test_a_run_is_explained_on_every_panel(evening: Path, make_app: MakeApp, panel: str) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press(panel, "e")
        await until(pilot, lambda: isinstance(app.screen, ExplainScreen), "explained")
        await see(pilot, app, "0004-desk-r50: running")


async def test_panels_come_into_sight_as_wide_as_they_were_left(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("1")
        await settle(pilot, app)
        panel, cards = app._main.panels[0], app._main.query_one(QueueList)
        columns = panel._table.columns
        await pilot.press("2")
        await settle(pilot, app)
        panel.show(app._main.scene)  # as when its scene is shown before it is laid out
        assert panel._table.columns == columns
        line = cards.render_line(0).text
        cards._lines = {run: run_lines(view, 8, 0.0) for run, view in cards._views.items()}  # as out of sight
        cards._width = 8
        assert cards.render_line(0).text == line


async def test_the_failed_run_is_found_explained_and_retried(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("1", "slash", *"fail", "enter")
        await see(pilot, app, "/fail/ 1 of 6 runs")
        await miss(pilot, app, "desk-mobilenet")
        await until(pilot, lambda: app._main.scene.chosen.run_id == FAILED, "what is in sight is chosen")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ExplainScreen), "explained")
        await see(pilot, app, "lower optimizer.lr")
        await see(pilot, app, "recipes/desk-r50-lr01.toml")
        await pilot.press("r")
        await until(pilot, lambda: state(evening, FAILED) == "queued", "queued")
        await until(pilot, lambda: [n.message for n in app._notifications] == [f"{FAILED} is queued again"], "told")


@pytest.mark.parametrize(
    ("run", "keys", "then"),
    [
        pytest.param(NEXT, ["h"], "held", id="hold"),
        pytest.param(FAILED, ["r"], "queued", id="retry"),
        pytest.param(CANCELLED, ["r"], "queued", id="retry-cancelled"),
        pytest.param(NEXT, ["c", "y"], "cancelled", id="cancel"),
        pytest.param(NEXT, ["h", "r"], "queued", id="release"),
    ],
)
async def test_keys_change_states(evening: Path, make_app: MakeApp, run: str, keys: list[str], then: str) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await choose(pilot, app, run)
        for key in keys:
            await pilot.press(key)
            await pilot.app.workers.wait_for_complete()
            await pilot.pause(0.2)
        await until(pilot, lambda: state(evening, run) == then, then)


@pytest.mark.parametrize(
    ("answer", "asked"), [("s", "stop"), ("e", "stop after epoch"), ("k", "kill"), ("n", ""), ("escape", ""),
                          ("enter", "")],
)  # fmt: skip
async def test_stopping_asks_first(evening: Path, make_app: MakeApp, answer: str, asked: str) -> None:
    app = make_app(evening)
    async with running(app, (80, 24)) as pilot:
        await choose(pilot, app, BUSY)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog), "asked")
        text = screen_text(app)
        assert "Kept: every checkpoint, figure and picture" in text
        assert "epoch 13/30" in text
        assert read_queue(evening).rows[BUSY].asked == ""
        await pilot.press(answer)
        await until(pilot, lambda: not isinstance(app.screen, ChoiceDialog), "answered")
        await app.workers.wait_for_complete()
        await until(pilot, lambda: read_queue(evening).rows[BUSY].asked == asked, asked)


async def test_leaving_stops_nothing(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("1", "q")
        await until(pilot, lambda: not app.is_running, "left")
    row = read_queue(evening).rows[BUSY]
    assert (row.state, row.asked) == ("running", "")


@pytest.mark.parametrize(
    ("run", "key"),
    [(LAST, "K"), (LAST, "shift+up"), (LAST, "F"), (LAST, "plus"), (NEXT, "minus"), (NEXT, "J"), (NEXT, "shift+down")],
)
async def test_moving_in_the_queue(evening: Path, make_app: MakeApp, run: str, key: str) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await choose(pilot, app, run)
        await pilot.press(key)
        await app.workers.wait_for_complete()
        queue = RunQueue(evening)
        try:
            await until(pilot, lambda: queue.rows_in("queued")[0].run == LAST, "the last one goes first")
        finally:
            queue.close()


async def test_pausing_and_going_on(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("1", "p")
        await see(pilot, app, "Pause the queue?")
        await pilot.press("p")
        words = "the queue is paused; what is at work goes on"
        await until(pilot, lambda: words in [n.message for n in app._notifications], words)
        await until(pilot, lambda: app._main.scene.fleet.is_paused, "paused")
        assert read_queue(evening).rows[BUSY].asked == ""
        await pilot.press("p")
        await until(pilot, lambda: read_queue(evening).paused is None, "unpaused")


@pytest.mark.parametrize("key", ["d", "delete"])
async def test_removing_says_what_is_kept(evening: Path, make_app: MakeApp, key: str) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await choose(pilot, app, DONE)
        await pilot.press(key)
        await see(pilot, app, "runs/removed/")
        await see(pilot, app, f"engine remove --undo {DONE}")
        await pilot.press("n")
        assert (evening / DONE).is_dir()
        await pilot.press("d", "y")
        await until(pilot, (evening / "removed" / DONE / "events.jsonl").is_file, "moved")
        await until(pilot, lambda: DONE not in app._main.panels[0]._table.runs, "out of the table")


async def test_marked_runs_are_acted_on_together(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await choose(pilot, app, NEXT)
        await pilot.press("space", "space")
        await see(pilot, app, "2 marked")
        await pilot.press("h")
        await until(pilot, lambda: {state(evening, NEXT), state(evening, LAST)} == {"held"}, "both held")
        await pilot.press("u")
        await miss(pilot, app, "2 marked")
        await pilot.press("m")
        await see(pilot, app, "6 marked")
        await pilot.press("escape")
        await miss(pilot, app, "6 marked")


async def test_sorting_by_key_and_by_mouse(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("1")
        await settle(pilot, app)
        panel = app._main.panels[0]
        assert panel._table.runs[0] == BUSY
        await pilot.press("o")
        assert panel._table.runs == (DONE, FAILED, CANCELLED, BUSY, NEXT, LAST)
        await pilot.press("O")
        assert panel._table.runs == (LAST, NEXT, BUSY, CANCELLED, FAILED, DONE)
        row, line = next((row, line) for row, line in enumerate(screen_text(app).splitlines()) if "AP50" in line)
        await pilot.click(offset=(line.index("AP50"), row))
        assert panel._table.runs[:3] == (DONE, BUSY, FAILED)
        await pilot.click(offset=(2, row + 2))
        await until(pilot, lambda: app._main.scene.marked == {BUSY}, "marked by the mouse")
        await pilot.click(offset=(20, row + 1), times=2)
        await until(pilot, lambda: app._main._open.PANEL == "overview", "opened")
        assert app._main.scene.chosen.run_id == DONE


async def test_a_wrong_pattern_says_so(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app, (80, 24)) as pilot:
        await pilot.press("1", "slash", *"(r50")
        await see(pilot, app, "not a regular expression")
        await pilot.press("escape")
        await miss(pilot, app, "not a regular expression")
        assert len(app._main.panels[0]._table.runs) == 6


async def test_a_copied_folder_without_a_queue_offers_no_control(evening: Path, make_app: MakeApp) -> None:
    (evening / "queue.db").unlink()
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("1")
        await see(pilot, app, "no queue here, only runs to look at")
        for key in "rhxcdp":
            await pilot.press(key)
        words = "There is no queue in runs/: its runs can be looked at, not controlled."
        await until(pilot, lambda: {n.message for n in app._notifications} == {words}, words)
        assert not isinstance(app.screen, ChoiceDialog)
    assert not (evening / "queue.db").exists()


async def test_one_run_alone(evening: Path, make_app: MakeApp) -> None:
    app = WatchApp(evening, only=FAILED, pause_s=0.05, redraw_s=0.05)
    async with running(app) as pilot:
        await pilot.press("1")
        await see(pilot, app, FAILED.partition("-")[2])
        assert app._main.panels[0]._table.runs == (FAILED,)


async def test_the_palette_acts_on_the_chosen_run(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await choose(pilot, app, NEXT)
        await pilot.press("ctrl+p", *"hold: 0005")
        await see(pilot, app, f"Hold: {NEXT}")
        await pilot.press("enter")
        await until(pilot, lambda: state(evening, NEXT) == "held", "held")


async def test_keys_and_palette_offer_only_what_can_be_done(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        for run, offered, missing in (
            (DONE, (), ("r retry", "h hold", "x stop")),
            (FAILED, ("r retry",), ("h hold", "x stop")),
            (NEXT, ("h hold",), ("r retry", "x stop", "S start")),
            (BUSY, ("x stop",), ("r retry", "h hold")),
        ):
            await choose(pilot, app, run)
            await settle(pilot, app)
            line = screen_text(app).splitlines()[-1]
            assert all(words in line for words in offered), run
            assert not any(words in line for words in missing), run
        await choose(pilot, app, DONE)
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert f"Remove: {DONE}" in titles
        assert not {f"Stop: {DONE}", f"Retry: {DONE}", f"Hold: {DONE}", "Start to work on the queue"} & titles


async def test_starting_is_named_on_every_panel_while_nobody_is_at_work(idle_evening: Path, make_app: MakeApp) -> None:
    app = make_app(idle_evening)
    async with running(app, (80, 24)) as pilot:
        for digit in "1234567":
            await pilot.press(digit)
            await settle(pilot, app)
            assert "S start" in screen_text(app).splitlines()[-1]
        assert "Start to work on the queue" in {one.title for one in app.get_system_commands(app.screen)}


async def test_a_chosen_run_that_the_filter_hides_is_not_explained(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await choose(pilot, app, BUSY)
        await pilot.press("slash", *"mobile")
        await see(pilot, app, "chosen, but left out by the filter; Enter chooses the first one shown")
        await pilot.press("enter")
        await miss(pilot, app, "left out by the filter")
        assert app._main.scene.chosen.run_id == DONE


# --- what is asked, without a screen ---

VERBS: tuple[Verb, ...] = (
    "hold", "release", "stop", "stop after epoch", "kill", "cancel", "retry", "go on", "up", "down", "first", "last",
    "raise", "lower", "remove",
)  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_answers_for_a_run_of_every_state(evening: Path, verb: Verb) -> None:
    runs = (DONE, FAILED, CANCELLED, BUSY, NEXT, LAST, "0099-gone")
    outcome = carry_out(evening, Request(verb, runs))
    assert len(outcome.done) + len(outcome.refused) == len(runs)
    assert any("doesn't know this run" in line for line in outcome.refused)


def test_nothing_is_made_where_there_is_no_queue(tmp_path: Path) -> None:
    outcome = carry_out(tmp_path, Request("pause"))
    assert "nothing to control" in outcome.refused[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    queue = RunQueue(tmp_path)
    enqueue(queue, "a")
    queue.close()
    tmp_path.chmod(0o500)
    outcome = carry_out(tmp_path, Request("hold", ("0001-a",)))
    tmp_path.chmod(0o700)
    assert outcome.refused


def test_a_run_moves_by_one_place_among_those_that_wait(tmp_path: Path) -> None:
    queue = RunQueue(tmp_path)
    enqueue(queue, "a", "b", "c", "d")
    claim(queue)
    RunDir(tmp_path / "0001-a").path.mkdir(exist_ok=True)
    carry_out(tmp_path, Request("up", ("0004-d",)))
    assert [row.run for row in queue.rows_in("queued")] == ["0002-b", "0004-d", "0003-c"]
    carry_out(tmp_path, Request("down", ("0002-b", "0004-d")))
    assert [row.run for row in queue.rows_in("queued")] == ["0003-c", "0002-b", "0004-d"]
    assert carry_out(tmp_path, Request("up", ("0003-c",))).done == ("0003-c is first already",)
    queue.close()


# --- starting to work on the queue ---


@pytest.fixture
def idle_evening(built_evening: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The evening's runs folder after everything was killed: nobody is at work on it."""
    monkeypatch.chdir(tmp_path)
    runs_dir = Path("runs")
    shutil.copytree(built_evening, runs_dir)
    return runs_dir


async def test_a_queue_that_nobody_works_on_says_which_key_starts_it(idle_evening: Path, make_app: MakeApp) -> None:
    app = make_app(idle_evening)
    for size in ((120, 40), (80, 24)):
        async with running(app, size) as pilot:
            await pilot.press("1")
            await see(pilot, app, "nobody is at work here: S starts")
            await see(pilot, app, "the queue stands still: S starts it")
            await pilot.press("g")
            await see(pilot, app, "S or `engine run` starts it")
        app = make_app(idle_evening)


@pytest.mark.parametrize("opened_by", ["key", "palette"])
async def test_starting_asks_and_says_what_will_be(
    idle_evening: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, opened_by: str
) -> None:
    started: list[Path] = []
    monkeypatch.setattr(asking, "launch", lambda runs_dir: started.append(runs_dir) or 4711)
    queue = RunQueue(idle_evening)
    queue.change(queue.row(LAST), "held", reason="held by hand")
    queue.set_until(EVENING + 36_000)
    queue.close()
    app = make_app(idle_evening)
    async with running(app, (80, 24)) as pilot:
        await pilot.press("6")  # of any panel
        await pilot.press(*(["S"] if opened_by == "key" else ["ctrl+p", *"start to work"]))
        if opened_by == "palette":
            await see(pilot, app, "Train what waits")
            await pilot.press("enter")
        await see(pilot, app, "Start to work on the queue?")
        text = screen_text(app)
        assert "2 runs wait; 0004-desk-r50 goes first." in text
        assert "1 run held; r releases what is held." in text
        assert "Work ends Sun 07:30, as was asked before." in text
        assert "beyond this dashboard" in text
        assert "runs/supervisor.log" in text
        await pilot.press("enter")  # the answer that changes nothing
        await until(pilot, lambda: not isinstance(app.screen, ChoiceDialog), "left")
        assert started == []
        await pilot.press("S")
        await see(pilot, app, "Start to work on the queue?")
        await pilot.press("s" if opened_by == "key" else "y")
        await app.workers.wait_for_complete()
        told = "at work in the background as process 4711; leave when you like"
        await until(pilot, lambda: told in [n.message for n in app._notifications], told)
        assert started == [idle_evening]


async def test_a_paused_queue_is_unpaused_before_it_is_started(
    idle_evening: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused_at_start: list[str | None] = []
    monkeypatch.setattr(asking, "launch", lambda folder: paused_at_start.append(read_queue(folder).paused) or 1)
    queue = RunQueue(idle_evening)
    queue.pause("by hand")
    queue.close()
    app = make_app(idle_evening)
    async with running(app) as pilot:
        await pilot.press("1", "S")
        await see(pilot, app, "The queue is paused (by hand).")
        await pilot.press("s")
        await until(pilot, lambda: paused_at_start == [None], "started")


async def test_why_it_did_not_start_is_told_in_full(
    idle_evening: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_runs_dir: Path) -> int:
        raise QueueError.of("Q141", "runs/supervisor.log", "it ended at once: " + "word " * 60 + "last", "mend it")

    monkeypatch.setattr(asking, "launch", fail)
    app = make_app(idle_evening)
    async with running(app, (80, 24)) as pilot:
        await pilot.press("1", "S", "s")
        await until(pilot, lambda: isinstance(app.screen, ExplainScreen), "told")
        for words in ("Not started", "runs/supervisor.log", "word last", "mend it"):
            await see(pilot, app, words)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, ExplainScreen), "closed")


@pytest.mark.parametrize(
    ("states", "told"),
    [
        pytest.param(["held"], "Nothing waits for its turn; 1 run held. r releases what is held.", id="held"),
        pytest.param([], "Nothing waits in the queue. `engine run RECIPES` adds runs.", id="empty"),
    ],
)
async def test_nothing_to_start_is_said(
    tmp_path: Path, make_app: MakeApp, states: list[State], told: str
) -> None:
    queue = RunQueue(tmp_path)
    for row, state in zip(enqueue(queue, "a"), states or ["cancelled"], strict=True):
        queue.change(row, state)
    queue.close()
    app = make_app(tmp_path)
    async with running(app) as pilot:
        await pilot.press("1", "S")
        await until(pilot, lambda: [n.message for n in app._notifications] == [told], told)


async def test_a_queue_at_work_is_not_started_twice(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("1", "S")
        words = "Somebody is at work on the queue already; runs are started by their turns."
        await until(pilot, lambda: words in [n.message for n in app._notifications], words)


async def test_a_real_supervisor_goes_on_when_the_dashboard_is_left(
    tmp_path: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in process_environment().items():
        monkeypatch.setenv(name, value)
    queue = RunQueue(tmp_path)
    [row] = enqueue(queue, "later")
    queue.change(row, "queued", not_before=time.time() + 3600)  # it has somebody wait, and trains nothing
    queue.close()
    app = make_app(tmp_path)
    async with running(app) as pilot:
        await pilot.press("1", "S")
        await see(pilot, app, "Start to work on the queue?")
        await pilot.press("s")
        await until(pilot, lambda: app._main.scene.fleet.is_supervised, "at work")
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running, "left")
    process = lock_holder(tmp_path / SUPERVISOR_LOCK)
    assert process is not None
    assert os.getsid(process) != os.getsid(0)
    log = tmp_path / SUPERVISOR_LOG
    wait_for(lambda: log.is_file() and "waiting until" in log.read_text(), 30)
    os.kill(process, signal.SIGTERM)
    wait_for(lambda: not is_locked(tmp_path / SUPERVISOR_LOCK), 30)

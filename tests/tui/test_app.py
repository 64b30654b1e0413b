from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from textual import events
from textual.binding import Binding
from textual.pilot import Pilot

from engine.events import EpochEvent, Event, MessageEvent, RunEnded, RunStarted, StepEvent
from engine.rundir import RunDir
from engine.runqueue import RunQueue
from tests.engine.test_rehearsalmark import rehearsing
from tests.tui.build import EVENING, Course, claim, enqueue, events_of, part_of_epoch, write_events
from tui.app import WatchApp
from tui.screens.help import HelpScreen, key_words
from tui.screens.main import MainScreen
from tui.theme import DARK, LIGHT
from tui.widgets.log import LogView
from tui.widgets.queue import QueueList

MakeApp = Callable[..., WatchApp]


async def settle(pilot: Pilot[None], app: WatchApp) -> None:
    """Wait until everything there is to show is on the screen."""
    for _ in range(3000):
        await pilot.pause(0.01)
        if app.is_settled:
            break
    else:
        raise AssertionError("the dashboard didn't settle")
    await pilot.pause()


@asynccontextmanager
async def running(app: WatchApp, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Pilot[None]]:
    async with app.run_test(size=size) as pilot:
        await settle(pilot, app)
        yield pilot


def screen_text(app: WatchApp) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text for strip in strips)


async def see(pilot: Pilot[None], app: WatchApp, words: str) -> None:
    """Wait until words are on the screen."""
    await until(pilot, lambda: words in screen_text(app), words)


async def miss(pilot: Pilot[None], app: WatchApp, words: str) -> None:
    """Wait until words are no longer on the screen."""
    await until(pilot, lambda: words not in screen_text(app), words)


async def until(pilot: Pilot[None], is_so: Callable[[], bool], what: str) -> None:
    """Wait for something; a busy machine takes its time."""
    for _ in range(3000):
        if is_so():
            return
        await pilot.pause(0.02)
    raise AssertionError(f"{what!r}: waited in vain")


def header(app: WatchApp) -> str:
    return "\n".join(line[41:] for line in screen_text(app).splitlines()[2:8])


async def test_the_running_run_is_shown_first(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app):
        text, head = screen_text(app), header(app)
    assert "▶ 1 running" in text
    assert "2 queued" in text
    assert "diverged · epoch 2/30" in text
    assert "13/30" in head
    assert "cuda:0 (RTX 4070)" in head
    assert "0.661 validation" in text
    assert "Preview · epoch 12 · image 1/4" in text


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (40, 12), (20, 5)])
async def test_every_size_works(evening: Path, make_app: MakeApp, size: tuple[int, int]) -> None:
    app = make_app(evening)
    async with running(app, size) as pilot:
        for key in "1234567":
            await pilot.press(key)
        await settle(pilot, app)


async def test_no_runs_yet(tmp_path: Path, make_app: MakeApp) -> None:
    app = make_app(tmp_path / "runs")
    async with running(app) as pilot:
        await see(pilot, app, "Nothing here yet")
        await see(pilot, app, "engine run recipes/*.toml")
        await pilot.press("j", "k", "left", "n", "1", "2", *"ysxcvhn0", "plus", "3", "pagedown", "a")
        enqueue(RunQueue(tmp_path / "runs"), "first")
        await see(pilot, app, "waits for its turn")
        await miss(pilot, app, "Nothing here yet")


@pytest.mark.parametrize(("next_key", "previous_key"), [("j", "k"), ("down", "up")])
async def test_runs_are_chosen(evening: Path, make_app: MakeApp, next_key: str, previous_key: str) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press(previous_key, previous_key)
        await see(pilot, app, "desk-r50-lr01 0002")
        await see(pilot, app, "lower optimizer.lr")
        await pilot.press(next_key)
        await see(pilot, app, "desk-ssdlite 0003")


@pytest.mark.parametrize(("first_key", "last_key"), [("g", "G"), ("home", "end")])
async def test_first_and_last_run(evening: Path, make_app: MakeApp, first_key: str, last_key: str) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press(first_key)
        await see(pilot, app, "desk-mobilenet 0001")
        await pilot.press(last_key)
        await see(pilot, app, "desk-r18-long 0006")
        await pilot.press("j")
        await see(pilot, app, "desk-r18-long 0006")
        await pilot.press("a")
        await settle(pilot, app)
        await see(pilot, app, "desk-r50 0004")


async def test_runs_are_marked(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("space", "k", "space")
        await see(pilot, app, "•– 0003")
        scene = app._main.scene
        assert scene is not None
        assert scene.marked == {"0003-desk-ssdlite", "0004-desk-r50"}
        await pilot.press("space")
        await miss(pilot, app, "•– 0003")


async def test_panels(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    panels = [
        ("3", "curves", "Learning rate by step"),
        ("4", "pictures", "epoch 12 · latest · image 1/4 · IMG_0088.jpg"),
        ("5", "compare", "the chosen run and the best other finished run"),
        ("6", "log", "evaluating: 100%"),
        ("7", "facts", "AP by class, epoch 12"),
        ("2", "overview", "Loss by step"),
    ]
    async with running(app) as pilot:
        for key, panel, words in panels:
            await pilot.press(key)
            await see(pilot, app, words)
            assert app.screen.query_one(f"#{panel}").display


async def test_scrubbing_through_the_epochs(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("4", "left", "left")
        await settle(pilot, app)
        await see(pilot, app, "epoch 10 · image 1/4")
        await pilot.press("n")
        await see(pilot, app, "epoch 10 · image 2/4 · IMG_0089.jpg")
        await pilot.press("p", "p")
        await see(pilot, app, "epoch 10 · image 4/4")
        await pilot.press(*["left"] * 9)
        await see(pilot, app, "epoch 1 · image 4/4")
        await pilot.press(*["right"] * 11)
        await see(pilot, app, "epoch 12 · latest · image 4/4")


async def test_a_missing_picture_says_so(evening: Path, make_app: MakeApp) -> None:
    shutil.rmtree(evening / "0004-desk-r50" / "previews")
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("4")
        await settle(pilot, app)
        await see(pilot, app, "the file is gone")


async def test_pictures_can_be_switched_off(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening, graphics="none")
    async with running(app) as pilot:
        await pilot.press("4")
        await settle(pilot, app)
        await see(pilot, app, "switched off")


async def test_axis_and_smoothing(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("y")
        await see(pilot, app, "Loss by step · log axis")
        await pilot.press("s")
        await see(pilot, app, "Loss by step · log axis · strong smoothing")
        await pilot.press("s")
        await see(pilot, app, "Loss by step · log axis · raw")
        await pilot.press("y", "s")
        await see(pilot, app, "Loss by step · light smoothing")
        await pilot.press("s")
        await see(pilot, app, "Loss by step · smoothed─")
        await pilot.press("x")
        await see(pilot, app, "Loss by epoch · smoothed─")
        await pilot.press("x")
        await see(pilot, app, "Loss by time · smoothed─")
        await see(pilot, app, "AP by time─")


async def test_full_width(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("f")
        await settle(pilot, app)
        await miss(pilot, app, "0001 desk-mobilenet")
        await pilot.press("f")
        await settle(pilot, app)
        await see(pilot, app, "0001 desk-mobilenet")


async def test_themes(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("t")
        assert app.theme == LIGHT
        await pilot.press("t")
        assert app.theme == DARK


async def test_tab_goes_through_the_panels(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app, (120, 20)) as pilot:
        for keys, panel in (("tab", "curves"), ("tab", "pictures"), ("shift+tab", "curves"), ("7", "facts")):
            await pilot.press(keys)
            await until(pilot, lambda panel=panel: app.screen.query_one(f"#{panel}").display, panel)
            assert app.screen.query_one(f"#{panel}").has_focus


async def test_paging_scrolls_the_panel(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app, (120, 20)) as pilot:
        await pilot.press("6")
        await settle(pilot, app)
        log = app.screen.query_one("#log-lines", LogView)
        await until(pilot, lambda: log.scroll_offset.y == log.max_scroll_y > 0, "at the end")
        end = log.scroll_offset.y
        await pilot.press("pageup")
        await until(pilot, lambda: log.scroll_offset.y < end, "scrolled up")
        await pilot.press("pagedown")
        await until(pilot, lambda: log.scroll_offset.y == end, "scrolled down")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_help_lists_every_key(evening: Path, make_app: MakeApp, size: tuple[int, int]) -> None:
    app = make_app(evening)
    async with running(app, size) as pilot:
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        text = screen_text(app)
        for _ in range(12):
            await pilot.press("pagedown")
            await pilot.pause()
            text += screen_text(app)
        bindings = [*MainScreen.BINDINGS, *(binding for panel in app._main.panels for binding in panel.BINDINGS)]
        for binding in bindings:
            assert isinstance(binding, Binding)
            if not binding.action.startswith("digit("):
                assert binding.description in text
                assert key_words(binding.key) in text
        for panel in app._main.panels:
            assert not panel.BINDINGS or f"{panel.TITLE} panel" in text
        await pilot.press("escape")
        assert isinstance(app.screen, MainScreen)


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
async def test_leaving(evening: Path, make_app: MakeApp, key: str) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press(key)
        await until(pilot, lambda: not app.is_running, "leaving")
    assert app.return_code == 0


async def test_command_palette_opens_a_run(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("ctrl+p")
        await pilot.press(*"lr01")
        await see(pilot, app, "Run 0002-desk-r50-lr01")
        await pilot.press("enter")
        await see(pilot, app, "desk-r50-lr01 0002")


async def test_the_mouse_chooses_runs_and_panels(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.click(QueueList, offset=(10, 5))
        await see(pilot, app, "desk-r50-lr01 0002")
        row, line = next((row, line) for row, line in enumerate(screen_text(app).splitlines()) if "7 Facts" in line)
        await pilot.click(offset=(line.index("Facts"), row))
        await until(pilot, lambda: app.screen.query_one("#facts").display, "facts")
        await pilot.click("KeyLine", offset=(12, 0))
        await until(pilot, lambda: isinstance(app.screen, HelpScreen), "help")


async def test_a_rehearsal_is_told_before_there_are_runs(tmp_path: Path, make_app: MakeApp) -> None:
    runs_dir = tmp_path / "runs"
    rehearsal = rehearsing(runs_dir)
    app = make_app(runs_dir)
    async with running(app, (80, 24)) as pilot:
        await see(pilot, app, "rehearsing desk (2 of 3): largest images")
        await see(pilot, app, "What passes is queued then.")
        rehearsal.communicate()
        await see(pilot, app, "engine run recipes/*.toml")


async def test_new_events_show_by_themselves(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        run_dir = RunDir(evening / "0004-desk-r50")
        write_events(run_dir, part_of_epoch(Course(start=EVENING, epochs=14), 13, 20))
        await see(pilot, app, "1,580/3,600")


async def test_runs_vanish_by_themselves(evening: Path, make_app: MakeApp) -> None:
    (evening / "queue.db").unlink()
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("g")
        shutil.rmtree(evening / "0001-desk-mobilenet")
        await miss(pilot, app, "desk-mobilenet")
        await see(pilot, app, "desk-r50-lr01")


@pytest.mark.parametrize("panel", ["1", "2", "4", "5", "6"])
async def test_the_whole_folder_vanishes(evening: Path, make_app: MakeApp, panel: str) -> None:
    app = make_app(evening)
    async with running(app, (80, 24)) as pilot:
        await pilot.press(panel)
        await settle(pilot, app)
        shutil.rmtree(evening)
        await see(pilot, app, "Nothing here yet")


@pytest.mark.parametrize("size", [(60, 24), (80, 24), (100, 30), (120, 40)])
async def test_a_long_name_leaves_the_figures_their_room(
    evening: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    (evening / "queue.db").unlink()
    shutil.copytree(evening / "0001-desk-mobilenet", evening / f"0009-{'x' * 64}")
    app = make_app(evening)
    async with running(app, size) as pilot:
        await pilot.press("G")
        await see(pilot, app, "x… 0009")
        await see(pilot, app, "3,600/3,600")
        await see(pilot, app, "0.767")


async def test_a_small_screen_tells_what_was_found(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app, (80, 24)) as pilot:
        await pilot.press("4")
        await see(pilot, app, " found, ")
        await see(pilot, app, "epoch 12 · latest · image 1/4")


async def test_long_log_lines_are_wrapped(evening: Path, make_app: MakeApp) -> None:
    words = " ".join(f"word{number}" for number in range(40))
    (evening / "0004-desk-r50" / "worker.log").write_text(f"{words} {'x' * 120}y 漢字{'漢' * 60}z\nthe end\n")
    app = make_app(evening)
    async with running(app, (80, 24)) as pilot:
        await pilot.press("6")
        for part in ("word0 ", "word39", "xy", "漢z", "the end"):
            await see(pilot, app, part)


@pytest.mark.parametrize("columns", [60, 80])
async def test_the_queue_takes_less_than_a_third_of_a_small_screen(
    evening: Path, make_app: MakeApp, columns: int
) -> None:
    app = make_app(evening)
    async with running(app, (columns, 24)) as pilot:
        assert app.screen.query_one(QueueList).size.width * 3 < columns
        await see(pilot, app, "best AP50 0.708")
        await see(pilot, app, " validation")


async def test_text_from_files_cannot_inject(tmp_path: Path, make_app: MakeApp) -> None:
    evil = "[bold red]x[/] \x1b[2J\x1b]0;pwned\x07 \u202eevil [@click=app.quit]y[/]"
    queue = RunQueue(tmp_path)
    enqueue(queue, "a")
    row = claim(queue)
    run_dir = RunDir(tmp_path / row.run)
    first, *rest = events_of(Course(epochs=1))
    assert isinstance(first, RunStarted)
    start = msgspec.structs.replace(first, device=evil, class_names=(evil,), versions={evil: evil})
    renamed: list[Event] = []
    for event in rest:
        if isinstance(event, EpochEvent):
            renamed.append(msgspec.structs.replace(event, ap_per_class={evil: 0.5}))
        elif isinstance(event, StepEvent):
            renamed.append(msgspec.structs.replace(event, losses={evil: 0.5}))
        else:
            renamed.append(event)
    told = MessageEvent(time=0, level="error", text=evil)
    ended = RunEnded(outcome="failed", reason=evil, cause=evil)
    write_events(run_dir, [start, *renamed, told, ended])
    run_dir.worker_log.write_text(evil)
    queue.finish(row, "failed", evil, evil)
    app = make_app(tmp_path)
    async with running(app, (160, 50)) as pilot:
        for key in "1234567":
            await pilot.press(key)
            await settle(pilot, app)
            text = screen_text(app)
            assert "\x1b" not in text
            assert "\u202e" not in text
            assert "\x07" not in text
        assert "[bold red]x[/]" in text


async def test_a_fault_in_the_feed_ends_the_dashboard(
    evening: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.feed.read_queue", lambda *_: 1 / 0)
    app = make_app(evening)
    async with app.run_test() as pilot:
        for _ in range(3000):
            await pilot.pause(0.01)
            if app.failure:
                break
    assert isinstance(app.failure, ZeroDivisionError)


async def test_a_run_without_its_worker(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        view = replace(app._views["0004-desk-r50"], worker_alive=False)
        app._views["0004-desk-r50"] = view
        app._draw()
        await pilot.pause()
        await see(pilot, app, "no worker")
        await see(pilot, app, "its worker is gone")


async def test_events_of_another_version_are_told(evening: Path, make_app: MakeApp) -> None:
    with (evening / "0004-desk-r50" / "events.jsonl").open("ab") as log:
        log.write(b'{"event":"dream","time":1}\n' * 3)
    app = make_app(evening)
    async with running(app, (120, 40)) as pilot:
        await see(pilot, app, "3 lines of its events can't be understood")


@pytest.mark.parametrize(("panel", "found"), [("1", "/fail/ 1 of 6 runs"), ("6", "search: fail")])
async def test_keys_that_come_in_one_burst_are_typed_into_the_field(
    evening: Path, make_app: MakeApp, panel: str, found: str
) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press(panel)
        await settle(pilot, app)
        for key, character in (("slash", "/"), *((letter, letter) for letter in "fail"), ("enter", "\r")):
            app.post_message(events.Key(key, character))
        await see(pilot, app, found)
        assert not app._main.has_class("-full")  # f was a letter, not a key

"""The log panel by its keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tui.test_app import running, screen_text, see, settle, until
from tui.app import WatchApp
from tui.widgets.log import LogView, marked, wrapped

MakeApp = Callable[..., WatchApp]


@pytest.fixture
def long_log(evening: Path) -> Path:
    lines = [f"step {number} loss {1 / (number + 1):.4f}" for number in range(9_000)]
    lines[100] = "UserWarning: a photo without objects"
    lines[200] = "RuntimeError: needle in the hay"
    lines[8_990] = "warning: disk is slow"
    (evening / "0004-desk-r50" / "worker.log").write_text("\n".join(lines) + "\n")
    return evening


def log_of(app: WatchApp) -> LogView:
    return app.screen.query_one("#log-lines", LogView)


async def test_the_end_is_followed(long_log: Path, make_app: MakeApp) -> None:
    app = make_app(long_log)
    async with running(app, (120, 30)) as pilot:
        await pilot.press(app_key(app))
        await see(pilot, app, "step 8999 ")
        await see(pilot, app, "follows")
        with (long_log / "0004-desk-r50" / "worker.log").open("a") as file:
            file.write("one more\n")
        await see(pilot, app, "one more")


async def test_start_and_end(long_log: Path, make_app: MakeApp) -> None:
    app = make_app(long_log)
    async with running(app, (120, 30)) as pilot:
        await pilot.press(app_key(app))
        await see(pilot, app, "step 8999 ")
        await pilot.press("g")
        await see(pilot, app, "step 0 ")
        with (long_log / "0004-desk-r50" / "worker.log").open("a") as file:
            file.write("one more\n")
        await settle(pilot, app)
        assert "step 0 " in screen_text(app)
        await pilot.press("G")
        await see(pilot, app, "one more")


async def test_paging_up_reads_more(long_log: Path, make_app: MakeApp) -> None:
    app = make_app(long_log)
    async with running(app, (120, 30)) as pilot:
        await pilot.press(app_key(app))
        await see(pilot, app, "step 8999 ")
        log = log_of(app)
        log.scroll_home(animate=False, force=True)
        await pilot.press("pageup")
        await until(pilot, lambda: log.virtual_size.height > 2_000, "more lines")
        await settle(pilot, app)
        assert "step 7500 " in screen_text(app)


async def test_search(long_log: Path, make_app: MakeApp) -> None:
    app = make_app(long_log)
    async with running(app, (120, 30)) as pilot:
        await pilot.press(app_key(app))
        await see(pilot, app, "step 8999 ")
        await pilot.press("slash", *"needle", "enter")
        await see(pilot, app, "RuntimeError: needle in the hay")
        await see(pilot, app, "search: needle · 1 of 1")
        await pilot.press("n")
        await see(pilot, app, "not found up to the beginning")
        await pilot.press("slash")
        await pilot.press(*["backspace"] * 6, *"step 8", "enter")
        await pilot.press("escape", "G")
        await see(pilot, app, "follows")


async def test_matches_both_ways_and_line_by_line(long_log: Path, make_app: MakeApp) -> None:
    app = make_app(long_log)
    async with running(app, (120, 30)) as pilot:
        await pilot.press(app_key(app))
        await see(pilot, app, "step 8999 ")
        await pilot.press("slash", *"warning", "enter")
        await see(pilot, app, "disk is slow")
        await see(pilot, app, "search: warning · 2 of 2")
        await pilot.press("n")
        await see(pilot, app, "a photo without objects")
        await see(pilot, app, "search: warning · 1 of 2")
        await pilot.press("N")
        await see(pilot, app, "disk is slow")
        log = log_of(app)
        await settle(pilot, app)
        place = log.scroll_offset.y
        for key, way in (("K", -1), ("shift+up", -1), ("J", 1), ("shift+down", 1)):
            await pilot.press(key)
            await settle(pilot, app)
            moved = log.scroll_offset.y - place
            assert moved * way > 0, key
            place += moved


async def test_levels(long_log: Path, make_app: MakeApp) -> None:
    app = make_app(long_log)
    async with running(app, (120, 30)) as pilot:
        await pilot.press(app_key(app), "v")
        await see(pilot, app, "warnings and errors only")
        await see(pilot, app, "disk is slow")
        await see(pilot, app, "a photo without objects")
        assert "step 8" not in screen_text(app)
        await pilot.press("v")
        await see(pilot, app, "errors only")
        await settle(pilot, app)
        assert "needle" in screen_text(app)
        assert "disk is slow" not in screen_text(app)
        await pilot.press("v")
        await see(pilot, app, "step 8999 ")


async def test_long_lines_may_run_out_of_sight(evening: Path, make_app: MakeApp) -> None:
    (evening / "0004-desk-r50" / "worker.log").write_text(" a" * 150 + " finish\n")
    app = make_app(evening)
    async with running(app, (80, 24)) as pilot:
        await pilot.press(app_key(app))
        await see(pilot, app, "finish")
        await pilot.press("w")
        await until(pilot, lambda: "finish" not in screen_text(app), "not wrapped")
        await pilot.press(*["right"] * 20)
        await see(pilot, app, "finish")


def app_key(app: WatchApp) -> str:
    """The digit that opens the log."""
    panels = [panel.PANEL for panel in app.get_default_screen().panels]  # type: ignore[attr-defined]
    return str(panels.index("log") + 1)


def test_what_is_searched_stands_out() -> None:
    assert marked("a Loss is a loss", "text", "loss") == [
        ("a ", "text"), ("Loss", "accent!"), (" is a ", "text"), ("loss", "accent!"),
    ]  # fmt: skip
    assert marked("a.b", "text", ".") == [("a", "text"), (".", "accent!"), ("b", "text")]
    assert marked("abc", "text", "") == [("abc", "text")]


def test_wrapping_keeps_every_letter() -> None:
    assert "".join(wrapped("漢字" * 30, 10)) == "漢字" * 30


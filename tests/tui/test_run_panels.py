"""Every key and the mouse in the panels of curves, facts and compared runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.events import EventLog, RecoveryEvent
from engine.rundir import RunDir
from tests.tui.test_app import miss, running, screen_text, see, settle
from tui.app import WatchApp
from tui.look import Look
from tui.panels.compare import ComparePanel
from tui.panels.curves import CurvesPanel
from tui.widgets.chart import Chart

MakeApp = Callable[..., WatchApp]


def curves(app: WatchApp) -> CurvesPanel:
    return app.screen.query_one(CurvesPanel)


def look(app: WatchApp) -> Look:
    return curves(app).look


async def test_charts_by_key(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        app._main.action_panel("curves")
        for words in ("AP by epoch · 2/7", "AP of each class · epoch 12 · 3/7", "Learning rate by step · 4/7",
                      "Images a second by step · 5/7", "Share of the time waiting for data by step · 6/7",
                      "Peak memory by epoch · 7/7", "Loss by step · 1/7"):  # fmt: skip
            await pilot.press("v")
            await see(pilot, app, words)
        await pilot.press("V")
        await see(pilot, app, "by an older version")
        await pilot.press("V", "V", "V", "V", "b")
        await see(pilot, app, "AP of each class by epoch · 3/7")
        await pilot.press("b")
        await see(pilot, app, "AP of each class · epoch 12 · 3/7")
        await pilot.press("z")
        await miss(pilot, app, "Learning rate")
        await pilot.press("z")
        await see(pilot, app, "Learning rate")


async def test_a_panel_that_is_opened_is_drawn_at_once(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await pilot.press("g", "1")
        await settle(pilot, app)
        app._draw_soon = lambda **_: None  # type: ignore[method-assign] # nothing more comes from outside
        app._main.action_panel("curves")
        await see(pilot, app, "total")
        await see(pilot, app, "0002 desk-r50-lr01")  # in the list of runs, which comes into sight with the panel
        app._main.action_panel("compare")
        await see(pilot, app, "A 0001 desk-mobilenet")


async def test_which_losses(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        app._main.action_panel("curves")
        await see(pilot, app, "rpn_box_reg")
        await pilot.press("o")
        await see(pilot, app, "Loss by step · 1/7 · total and validation")
        await miss(pilot, app, "rpn_box_reg")
        await pilot.press("o")
        await see(pilot, app, "Loss by step · 1/7 · only classifier")
        await pilot.press("o", "o", "o", "o")
        await see(pilot, app, "Loss by step · 1/7")


async def test_zoom_and_pan(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        app._main.action_panel("curves")
        await settle(pilot, app)
        await pilot.press("plus", "equals_sign")
        window = look(app).window
        assert window is not None
        assert window[0] > 100
        await see(pilot, app, "zoomed, 0: all")
        await pilot.press("h")
        left = look(app).window
        assert left is not None
        assert left[0] < window[0]
        await pilot.press("l", "left", "right")
        assert look(app).window == pytest.approx(window)
        await pilot.press("minus", "minus")
        assert look(app).window is None
        await pilot.press("plus", "x")
        await see(pilot, app, "Loss by epoch")
        epochs = look(app).window
        assert epochs is not None
        assert 0 < epochs[0] < epochs[1] < 13
        await pilot.press("0")
        assert look(app).window is None


async def test_the_cursor(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        app._main.action_panel("curves")
        await see(pilot, app, "▪ 12 checkpoints")
        await pilot.press("c")
        await see(pilot, app, "step 1,487 · epoch 12.4 · 12m13 · its loss ")
        await pilot.press("left")
        at = look(app).cursor
        assert at is not None
        assert 1440 < at < 1487
        await pilot.press("shift+left")
        assert (look(app).cursor or 0) < at - 5 * (1487 - at)
        await pilot.press("shift+right", "right")
        assert look(app).cursor == pytest.approx(1487)
        await pilot.press("p")
        await see(pilot, app, "step 1,440")
        await see(pilot, app, "2 images have no objects")
        await pilot.press("p", "p", "n")
        await see(pilot, app, "step 1,320")
        await see(pilot, app, "the best weights were saved")
        await pilot.press("v", "left")
        await see(pilot, app, "step 1,200")
        await pilot.press("c")
        await see(pilot, app, "▪ 12 checkpoints")


async def test_the_cursor_goes_step_by_step_when_zoomed_in(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        app._main.action_panel("curves")
        await settle(pilot, app)
        await pilot.press("c", *["plus"] * 12, "left", "left", "left")
        await see(pilot, app, "step 1,484")
        await pilot.press("j", "k")
        await settle(pilot, app)
        assert look(app).cursor is None
        assert look(app).window is None


async def test_recoveries_are_marked_on_the_curve(evening: Path, make_app: MakeApp) -> None:
    with EventLog(RunDir(evening / "0004-desk-r50").events) as log:
        log.append(RecoveryEvent(kind="out of memory", text="halved the batch", epoch=5, step=700))
    app = make_app(evening)
    async with running(app) as pilot:
        app._main.action_panel("curves")
        await see(pilot, app, "↺ 1 recovery")
        await pilot.press("c", *["p"] * 8)
        await see(pilot, app, "step 700")
        await see(pilot, app, "↺ out of memory: halved the batch")


async def test_the_mouse_reads_and_zooms(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        app._main.action_panel("curves")
        await settle(pilot, app)
        await pilot.hover("#curves-main", offset=(30, 5))
        await miss(pilot, app, "▪ 12 checkpoints")
        assert look(app).cursor is None
        await pilot.hover("#curves-3", offset=(30, 3))
        await pilot.hover("PanelTabs")
        await see(pilot, app, "▪ 12 checkpoints")
        await pilot.click("#curves-main", offset=(30, 5))
        assert look(app).cursor is not None
        chart = app.screen.query_one("#curves-2", Chart)
        curves(app).post_message(Chart.Wheeled("epoch", 6.0, 2))
        await pilot.pause()
        window = look(app).window
        assert window is not None
        assert window[0] < 720 < window[1]
        assert chart.num_columns > 10


async def test_the_whole_recipe(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app, (120, 60)) as pilot:
        app._main.action_panel("facts")
        await see(pilot, app, "Recipe, what it changes")
        await see(pilot, app, "default 50")
        assert "optimizer.lr" not in screen_text(app)
        await pilot.press("d")
        await see(pilot, app, "Recipe, all of it")
        await see(pilot, app, "dataset.duplicate_boxes")


async def test_two_runs_are_compared_unasked_and_others_when_marked(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        app._main.action_panel("compare")
        await see(pilot, app, "the chosen run and the best other finished run; Space marks others")
        await see(pilot, app, "A 0001 desk-mobilenet")
        await see(pilot, app, "B 0004 desk-r50")
        await see(pilot, app, "0.475★")
        await see(pilot, app, "fasterrcnn_mobilenet_v3_large_fpn")
        app._main.action_panel("facts")
        await pilot.press("space", "k", "k", "space")
        app._main.action_panel("compare")
        await see(pilot, app, "the 2 marked runs")
        await see(pilot, app, "A 0002 desk-r50-lr01")
        await see(pilot, app, "optimizer.lr")
        await settle(pilot, app)


async def test_keys_of_compared_runs(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app, (120, 24)) as pilot:
        app._main.action_panel("compare")
        for words in ("AP50 by epoch", "Validation loss by epoch", "AP by epoch", "Training loss by epoch"):
            await pilot.press("v")
            await see(pilot, app, words)
        await pilot.press("V", "V", "v", "v", "y")
        await see(pilot, app, "Training loss by epoch · log axis")
        await pilot.press("c", "left")
        await see(pilot, app, "· at 29")
        await pilot.press("x")
        await see(pilot, app, "Training loss by time · log axis · smoothed─")
        panel = app.screen.query_one(ComparePanel)
        await pilot.press("equals_sign")
        assert panel.look.window is not None
        await pilot.press("0", "s", "pagedown", "pageup")
        assert panel.look.window is None


@pytest.mark.parametrize("size", [(200, 60), (120, 40), (80, 24), (60, 20), (30, 10)])
async def test_panels_fit_every_size(evening: Path, make_app: MakeApp, size: tuple[int, int]) -> None:
    app = make_app(evening)
    async with running(app, size) as pilot:
        for panel, keys in (("curves", "cvvbzcozs"), ("compare", "cvys"), ("facts", "d")):
            app._main.action_panel(panel)
            for key in keys:
                await pilot.press(key)
            await settle(pilot, app)

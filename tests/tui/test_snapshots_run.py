"""Pictures of the panels of curves, facts and compared runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.events import EventLog, RecoveryEvent
from engine.rundir import RunDir
from tests.tui.test_app import settle
from tui.app import WatchApp
from tui.theme import DARK, LIGHT

MakeApp = Callable[..., WatchApp]
Compare = Callable[..., bool]


@pytest.mark.parametrize(
    ("size", "theme", "panel", "keys"),
    [
        pytest.param((120, 40), DARK, "curves", "p p p", id="curves-cursor"),
        pytest.param((80, 24), DARK, "curves", "o plus x", id="curves-compact"),
        pytest.param((80, 24), LIGHT, "curves", "v v b", id="classes-compact"),
        pytest.param((120, 40), LIGHT, "compare", "", id="compare"),
        pytest.param((80, 24), DARK, "compare", "v c left", id="compare-compact"),
        pytest.param((200, 60), DARK, "curves", "y s", id="curves-vast"),
    ],
)
def test_screens(
    snap_compare: Compare, evening: Path, make_app: MakeApp, size: tuple[int, int], theme: str, panel: str, keys: str
) -> None:
    with EventLog(RunDir(evening / "0004-desk-r50").events) as log:
        text = "step 1,400 needs more memory than there is; goes on with batches of 2 in 2 parts"
        log.append(RecoveryEvent(time=0, kind="out of memory", text=text, epoch=11, step=1400))
    app = make_app(evening, graphics="none", theme=theme)

    async def run_before(pilot: Pilot[None]) -> None:
        await settle(pilot, app)
        app._main.action_panel(panel)
        await settle(pilot, app)
        for key in keys.split():
            await pilot.press(key)
            await settle(pilot, app)

    assert snap_compare(app, terminal_size=size, run_before=run_before)

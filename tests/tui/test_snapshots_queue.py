"""Pictures of the queue panel, its dialogs and the help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.queuereader import read_queue
from engine.runqueue import OVER, RunQueue
from tests.tui.build import EVENING
from tests.tui.test_app import settle
from tui.app import WatchApp
from tui.theme import DARK, LIGHT

MakeApp = Callable[..., WatchApp]
Compare = Callable[..., bool]


@pytest.mark.parametrize(
    ("size", "theme", "keys"),
    [
        pytest.param((120, 40), DARK, ["1"], id="queue"),
        pytest.param((80, 24), LIGHT, ["1", "j", "space"], id="queue-compact"),
        pytest.param((200, 50), DARK, ["1"], id="queue-vast"),
        pytest.param((60, 20), DARK, ["1", "slash", "r", "5", "0"], id="queue-tiny-filtered"),
        pytest.param((80, 24), DARK, ["1", "x"], id="stop"),
        pytest.param((120, 40), LIGHT, ["1", "G", "d"], id="remove"),
        pytest.param((80, 24), LIGHT, ["1", "p"], id="pause"),
        pytest.param((80, 24), DARK, ["1", "G", "k", "e"], id="explain"),
        pytest.param((120, 40), DARK, ["1", "question_mark"], id="help"),
    ],
)
def test_queue(
    snap_compare: Compare, evening: Path, make_app: MakeApp, size: tuple[int, int], theme: str, keys: list[str]
) -> None:
    queue = RunQueue(evening)
    row = read_queue(evening).rows["0006-desk-r18-long"]
    queue.change(row, "held", reason="held by hand")
    for over in queue.rows_in(*OVER):  # they ended when they were built, by the clock of this machine
        queue.change(over, over.state, ended_at=EVENING - 3600 + 60 * over.number)
    queue.close()
    app = make_app(evening, graphics="none", theme=theme)

    async def press(pilot: Pilot[None]) -> None:
        await settle(pilot, app)
        for key in keys:
            await pilot.press(key)
            await settle(pilot, app)

    assert snap_compare(app, terminal_size=size, run_before=press)

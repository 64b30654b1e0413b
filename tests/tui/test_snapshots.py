"""Pictures of the screens. Preview pictures are left out: their pixels depend on the JPEG library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.test_app import settle
from tui.app import WatchApp
from tui.theme import DARK, LIGHT

MakeApp = Callable[..., WatchApp]
Compare = Callable[..., bool]


@pytest.mark.parametrize(
    ("size", "theme", "keys"),
    [
        pytest.param((120, 40), DARK, "2", id="overview"),
        pytest.param((80, 24), DARK, "2", id="overview-compact"),
        pytest.param((120, 40), LIGHT, "3", id="curves-light"),
        pytest.param((80, 24), LIGHT, "6kk", id="failed-log-compact"),
        pytest.param((120, 40), DARK, "7", id="facts"),
        pytest.param((80, 24), DARK, "?", id="help"),
    ],
)
def test_screens(
    snap_compare: Compare, evening: Path, make_app: MakeApp, size: tuple[int, int], theme: str, keys: str
) -> None:
    app = make_app(evening, graphics="none", theme=theme)
    assert snap_compare(app, terminal_size=size, run_before=_press(app, keys))


def test_welcome(snap_compare: Compare, tmp_path: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = make_app(Path("runs"))
    assert snap_compare(app, terminal_size=(80, 24), run_before=_press(app, ""))


def _press(app: WatchApp, keys: str) -> Callable[[Pilot[None]], object]:
    async def run_before(pilot: Pilot[None]) -> None:
        await settle(pilot, app)
        for key in keys:
            await pilot.press("question_mark" if key == "?" else key)
            await settle(pilot, app)

    return run_before

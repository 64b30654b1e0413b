"""Whatever lies in a runs folder, the dashboard reads on, says what is wrong, and never waits for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.events import encode_event
from engine.rundir import QUEUE_FILE
from tests.tui.build import Course, events_of
from tests.tui.test_app import running, screen_text, settle
from tests.tui.test_feed import Listener
from tui.app import WatchApp
from tui.logreader import LogPage, LogReader, LogRequest
from tui.once import print_once
from tui.target import Target
from tui.widgets.queue import run_lines

NAMES = (
    "events.jsonl", "worker.log", "worker.first.log", "worker.lock", "resolved.json", "recipe.toml", "forecast.json",
)  # fmt: skip
WHOLE = b"".join(map(encode_event, events_of(Course(epochs=2, steps_an_epoch=5))))

pytestmark = pytest.mark.timeout(120)


def nothing(_: Path) -> None: ...


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def unreadable(path: Path) -> None:
    path.write_bytes(WHOLE)
    path.chmod(0)


def holding(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


contents = st.one_of(
    st.binary(max_size=200),
    st.integers(0, len(WHOLE)).map(lambda cut: WHOLE[:cut]),
    st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=3)).map(
        lambda hit: WHOLE[: hit[0]] + hit[1] + WHOLE[hit[0] + len(hit[1]) :]
    ),
    st.sampled_from([
        b"", b"\n" * 50, b"\0" * 5000, b"{" * 5000 + b"\n", b"[" * 200_000 + b"\n", b"x" * 300_000, b"null\n{}\n[]\n",
        WHOLE.replace(b'"time":1', b'"time":-9e300,"x":1'), WHOLE.replace(b'"time":1', b'"time":9e300,"x":1'),
        WHOLE.replace(b'"elapsed_s":', b'"elapsed_s":1e300,"x":'), WHOLE.replace(b'"num_epochs":30', b'"num_epochs":0'),
        WHOLE.replace(b'"num_steps":', b'"num_steps":9007199254740992,"x":'), WHOLE.replace(b"step", b"leap"),
        WHOLE.replace(b"previews/", b"../../../etc/"), WHOLE * 60,
    ]),
)  # fmt: skip
kinds = st.one_of(st.sampled_from([nothing, Path.mkdir, os.mkfifo, loop, dangling, unreadable]), contents.map(holding))
folders = st.dictionaries(st.sampled_from(NAMES), kinds, max_size=5)
queues = st.one_of(
    st.sampled_from([nothing, Path.mkdir, os.mkfifo, loop, dangling]), st.binary(max_size=80).map(holding)
)


def fill(runs_dir: Path, runs: list[dict[str, Callable[[Path], None]]], queue: Callable[[Path], None]) -> None:
    for number, files in enumerate(runs, start=1):
        run = runs_dir / f"{number:04d}-run"
        run.mkdir()
        for name, make in files.items():
            make(run / name)
    queue(runs_dir / QUEUE_FILE)
    loop(runs_dir / "0009-loop")
    (runs_dir / "0010-no-folder").write_text("a file")
    (runs_dir / "notes").mkdir()


@given(st.lists(folders, max_size=4), queues)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_rubbish_is_read_on(runs: list[dict[str, Callable[[Path], None]]], queue: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        fill(Path(scratch), runs, queue)
        listener = Listener(Path(scratch))
        for run_id in [f"{number:04d}-run" for number in range(1, len(runs) + 1)] or [None]:
            listener.feed.choose(run_id)
            listener.look(4)
        assert listener.feed.is_read
        assert [run for run in listener.fleet.run_ids if run != "0009-loop"] == [
            f"{number:04d}-run" for number in range(1, len(runs) + 1)
        ]
        for view in listener.views.values():
            for now in (0.0, 1e9, 1e12):  # a clock may jump
                assert run_lines(view, 60, now)
        told: list[LogPage] = []
        for run_id in listener.fleet.run_ids:
            LogReader(Path(scratch), told.append).answer(LogRequest(run_id))
            assert told[-1].is_done


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(Path.mkdir, id="a folder"),
        pytest.param(os.mkfifo, id="a pipe"),
        pytest.param(loop, id="a loop"),
        pytest.param(holding(b"{" * 5000 + b"\n" + b"\xff" * 300_000), id="rubbish"),
        pytest.param(holding(WHOLE.replace(b'"time":1', b'"time":9e300,"x":1')), id="far in the future"),
        pytest.param(holding(WHOLE.replace(b"step", b"leap").replace(b"started", b"begun")), id="another version"),
        pytest.param(holding(WHOLE.replace(b'"elapsed_s":', b'"elapsed_s":1e300,"x":')), id="for ever"),
    ],
)
async def test_every_panel_shows_rubbish(
    tmp_path: Path, make: Callable[[Path], None], make_app: Callable[..., WatchApp], capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, [dict.fromkeys(NAMES, make), {"events.jsonl": holding(WHOLE)}], make)
    app = make_app(tmp_path)
    async with running(app, (120, 40)) as pilot:
        for key in ("k", "k", *"1234567"):
            await pilot.press(key)
            await settle(pilot, app)
            assert "0001" in screen_text(app)
    assert app.failure is None
    print_once(Target(tmp_path))
    assert "0001" in capsys.readouterr().out

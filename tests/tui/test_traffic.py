"""What the real command sends over its terminal, in bytes; and several of them at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.events import StepEvent
from engine.rundir import SUPERVISOR_LOCK, RunDir
from engine.runqueue import RunQueue
from tests.tui.build import Course, an_evening, events_of, write_events
from tests.tui.terminal import Terminal, opened

_LARGE = (40, 120, 1200, 800)
_SIXEL = b"\x1bP"
_HALF = "▀".encode()
_LISTENING_S = 3.0


@pytest.fixture
def runs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold_locks: Callable[..., None]) -> Path:
    """A queue in the middle of its night, its worker alive, as of now; in the current folder, for a short name."""
    monkeypatch.chdir(tmp_path)
    runs_dir = Path("runs")
    run_dir = an_evening(runs_dir, start=time.time() - 780)
    hold_locks(run_dir.worker_lock, runs_dir / SUPERVISOR_LOCK)
    return runs_dir


@pytest.fixture
def terminal(runs_dir: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    """The dashboard at 120x40, everything drawn."""
    with opened(runs_dir, getattr(request, "param", "halfblock"), _LARGE) as terminal:
        assert terminal.read(b"0.708")  # the run's AP50, of its log
        assert terminal.settle(5000)
        yield terminal


def sent_by(terminal: Terminal, keys: bytes, wanted: bytes) -> bytes:
    """What comes of a key, until it is quiet again."""
    begun = len(terminal.output)
    terminal.press(keys)
    deadline = time.monotonic() + 20
    while wanted not in terminal.output[begun:] and time.monotonic() < deadline:
        terminal.listen(0.2)
    assert terminal.settle()
    return terminal.output[begun:]


def test_a_run_that_says_nothing_sends_only_its_clock(terminal: Terminal) -> None:
    sent = terminal.listen(_LISTENING_S)
    assert len(sent) < 2000 * _LISTENING_S
    assert b" left" in sent


def test_a_queue_at_rest_sends_nothing(tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    an_evening(runs_dir)
    queue = RunQueue(runs_dir)
    for row in queue.rows():
        if row.state == "running":
            queue.finish(row, "failed", "made up", "stalled")
    queue.close()
    with opened(runs_dir, "halfblock", _LARGE) as terminal:
        assert terminal.read(b"made up")
        assert terminal.settle()
        terminal.listen(4)  # the machine's load and memory are told now and then
        assert len(terminal.listen(_LISTENING_S)) < 2000 * _LISTENING_S


def test_a_run_at_work_sends_little(terminal: Terminal, runs_dir: Path) -> None:
    run_dir, stop = RunDir(runs_dir / "0004-desk-r50"), threading.Event()

    def train() -> None:
        steps = events_of(Course(epochs=30, start=time.time()), first_epoch=13)
        for step in (event for event in steps if isinstance(event, StepEvent)):
            write_events(run_dir, [step])
            if stop.wait(0.1):
                return

    training = threading.Thread(target=train)
    training.start()
    try:
        terminal.listen(1)
        sent = terminal.listen(2 * _LISTENING_S)
    finally:
        stop.set()
        training.join()
    assert 500 * _LISTENING_S < len(sent) < 60_000 * 2 * _LISTENING_S
    assert b"1,5" in sent  # steps above 1,500 have come


@pytest.mark.parametrize(
    ("terminal", "sign"), [pytest.param("sixel", _SIXEL, id="sixel"), pytest.param("halfblock", _HALF, id="cells")],
    indirect=["terminal"],
)
def test_a_preview_is_sent_once_a_change(terminal: Terminal, sign: bytes) -> None:
    first = sent_by(terminal, b"4", sign)
    assert sign in first
    if sign == _SIXEL:
        assert first.count(sign) == 1  # as it comes into sight
    still = terminal.listen(_LISTENING_S)
    assert still.count(sign) == 0
    assert len(still) < 2000 * _LISTENING_S
    changed = sent_by(terminal, b"h", sign)
    if sign == _SIXEL:
        assert changed.count(sign) == 1
    else:  # a picture of 65 x 22 cells
        assert 100 < changed.count(sign) < 65 * 22
    assert len(changed) < 100_000
    assert terminal.listen(_LISTENING_S).count(sign) == 0


def states_in(runs_dir: Path) -> dict[str, str]:
    queue = RunQueue(runs_dir)
    states = {row.run: row.state for row in queue.rows()}
    queue.close()
    return states


def test_what_one_dashboard_does_the_others_show(runs_dir: Path) -> None:
    with opened(runs_dir, "halfblock", _LARGE) as one, opened(runs_dir, "halfblock", _LARGE) as other:
        for terminal in (one, other):
            assert terminal.read(b"0.708")
            terminal.press(b"1")
            assert terminal.read(b"memory")  # the queue panel is open
        for key in b"gj":  # the first run that waits, after the one at work
            one.press(bytes([key]))
            one.listen(0.7)
        one.press(b"h")
        assert one.read(b"1 queued")
        assert other.read(b"1 queued")
        assert states_in(runs_dir)["0005-desk-r50-v2"] == "held"
        one.output = other.output = b""
        one.press(b"r")
        assert one.read(b"2 queued")
        assert other.read(b"2 queued")
        assert states_in(runs_dir)["0005-desk-r50-v2"] == "queued"
        for terminal in (one, other):
            terminal.press(b"q")
            assert terminal.wait() == 0

"""A long log read by two processes says what it says to one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.events import EventTail, encode_event
from engine.rundir import RunDir
from tests.tui.build import Course, events_of
from tui import farhalf
from tui.eventreading import read_whole
from tui.farhalf import FarHalf, read_half
from tui.runreader import RunReader
from tui.view import RunView, apply_told


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run whose log counts as very long; a line in each half says nothing."""
    monkeypatch.setattr(farhalf, "LEAST_BYTES", 300_000)
    monkeypatch.setattr(farhalf, "num_cores", lambda: 2)
    run_dir = RunDir(tmp_path / "0001-a")
    run_dir.path.mkdir()
    lines = [encode_event(event) for event in events_of(Course(epochs=5, num_epochs=5, steps_an_epoch=300))]
    lines.insert(100, b"rubbish\n")
    lines.insert(1200, b'{"event":"step","step":\n')
    run_dir.events.write_bytes(b"".join(lines) + b'{"event":"st')
    return run_dir


def alone(run_dir: RunDir) -> RunView:
    """The run as one process reads it."""
    told, num_unknown = read_whole(EventTail(run_dir.events).read_lines())
    view = apply_told(RunView(run_dir.run_id), told)
    assert num_unknown == 2
    return view


def looked_at(run_dir: RunDir, reader: RunReader) -> RunView:
    """The run once all of it is read."""
    for _ in range(600):
        reader.look(0.0, is_wanted=True)
        if reader.view.is_whole and reader.is_read:
            return reader.view
    raise AssertionError("it is never read")


def assert_same(view: RunView, other: RunView) -> None:
    assert view.steps.names == other.steps.names
    for name in view.steps.names:
        np.testing.assert_array_equal(view.steps.column(name), other.steps.column(name))
    assert view.epochs == other.epochs
    assert view.progress.step_s == pytest.approx(other.progress.step_s)  # a running mean, begun elsewhere
    assert replace(view.progress, step_s=None) == replace(other.progress, step_s=None)
    assert view.journal == other.journal
    assert view.num_unknown == 2


def test_both_halves_are_the_whole(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[object] = []
    take = FarHalf.take
    monkeypatch.setattr(FarHalf, "take", lambda far: taken.append(take(far)) or taken[-1])
    assert_same(looked_at(run_dir, RunReader(run_dir)), alone(run_dir))
    assert isinstance(taken[0], farhalf.Read)


@pytest.mark.parametrize("program", ["raise SystemExit(1)", "print('rubbish')", "import os; os.kill(os.getpid(), 9)"])
def test_whatever_becomes_of_the_other_process_all_is_read(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(farhalf, "_PROGRAM", program)
    assert_same(looked_at(run_dir, RunReader(run_dir)), alone(run_dir))


def test_a_log_that_was_replaced_meanwhile_is_read_anew(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    content = run_dir.events.read_bytes()
    monkeypatch.setattr(farhalf, "_PROGRAM", "import time; time.sleep(60)")
    reader = RunReader(run_dir)
    for _ in range(5):
        reader.look(0.0, is_wanted=True)
    assert not reader.view.is_whole
    fresh = run_dir.path / "fresh"
    fresh.write_bytes(content)
    fresh.replace(run_dir.events)
    assert_same(looked_at(run_dir, reader), alone(run_dir))


def test_lines_of_a_half_end_with_whole_ones(run_dir: RunDir) -> None:
    size = run_dir.events.stat().st_size
    assert read_half(run_dir.events, 0, size).end == size - len(b'{"event":"st')


def test_short_logs_and_single_processors_need_none(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    assert FarHalf(run_dir.events, 299_999).begin is None
    monkeypatch.setattr(farhalf, "num_cores", lambda: 1)
    assert FarHalf(run_dir.events, 10**9).begin is None

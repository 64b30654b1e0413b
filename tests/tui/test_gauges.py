from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.events import RunEnded
from engine.progress import RunProgress
from engine.queuereader import read_queue
from engine.rundir import SUPERVISOR_LOCK
from engine.runqueue import RunQueue
from engine.standing import Board
from tests.tui.build import an_evening, enqueue
from tui.arranging import SORT_KEYS, Arrangement
from tui.gauges import GaugeReader, Gauges, GpuGauge, parse_gpus
from tui.overseer import BoardChange, GaugesChange, Overseer
from tui.view import RunView


@pytest.mark.parametrize(
    ("told", "gpus"),
    [
        pytest.param("", (), id="nothing"),
        pytest.param("NVIDIA-SMI has failed\n", (), id="no-driver"),
        pytest.param(
            "0, NVIDIA H100, 97, 8100, 81559, 61\n",
            (GpuGauge(0, "NVIDIA H100", 0.97, 8100 * 2**20, 81559 * 2**20, 61),), id="one",
        ),
        pytest.param(
            "1, GRID, [N/A], 10, 20, [Not Supported]\n", (GpuGauge(1, "GRID", None, 10 * 2**20, 20 * 2**20, None),),
            id="tells-little",
        ),
    ],
)  # fmt: skip
def test_what_nvidia_smi_tells(told: str, gpus: tuple[GpuGauge, ...]) -> None:
    assert parse_gpus(told) == gpus


def test_this_machines_gauges(tmp_path: Path, hold_locks: Callable[..., None]) -> None:
    reader = GaugeReader(tmp_path)
    assert reader.read().supervised_since is None
    (tmp_path / SUPERVISOR_LOCK).touch()
    hold_locks(tmp_path / SUPERVISOR_LOCK)
    gauges = reader.read()
    reader.close()
    assert gauges.load is not None
    assert 0 <= gauges.load <= 1
    assert gauges.num_cores >= 1
    assert gauges.used_bytes is not None
    assert gauges.total_bytes is not None
    assert 0 < gauges.used_bytes < gauges.total_bytes
    assert gauges.disk_free_bytes


def test_a_slow_nvidia_smi_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nread wait < fifo; echo '0, A, 5, 1, 2, 40'\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    os.mkfifo(tmp_path / "fifo")
    reader = GaugeReader(tmp_path)
    assert reader.read().gpus == ()
    assert reader.read().gpus == ()
    (tmp_path / "fifo").write_text("go\n")
    while not (gpus := reader.read().gpus):
        pass
    reader.close()
    assert gpus == (GpuGauge(0, "A", 0.05, 2**20, 2 * 2**20, 40),)


def test_a_queue_that_stands_still_is_told_once(tmp_path: Path) -> None:
    an_evening(tmp_path, with_previews=False)
    reading, clock = read_queue(tmp_path), [1_000_000.0]
    progress = {"0004-desk-r50": RunProgress(num_epochs=30, num_steps=3600, step=1200, step_s=0.5)}
    overseer = Overseer(tmp_path, lambda: clock[0], Gauges)
    first = list(overseer.look(reading, progress, 0.0, is_supervised=False))
    [change] = [change for change in first if isinstance(change, BoardChange)]
    assert change.board.queue_done_at is None  # the other queued runs have no forecast
    assert change.board.standings[0].done_at == pytest.approx(clock[0] + 1200)
    clock[0] += 20
    assert list(overseer.look(reading, progress, 100.0, is_supervised=False)) == []
    clock[0] += 60
    later = list(overseer.look(reading, progress, 200.0, is_supervised=False))
    assert [type(change) for change in later] == [BoardChange]
    queue = RunQueue(tmp_path)
    enqueue(queue, "new")
    queue.close()
    [change] = overseer.look(read_queue(tmp_path), progress, 200.1, is_supervised=False)
    assert isinstance(change, BoardChange)
    assert not isinstance(change, GaugesChange)
    assert change.board.standings[-1].row.run == "0007-new"


@pytest.mark.parametrize("key", SORT_KEYS)
@pytest.mark.parametrize("is_reversed", [False, True])
def test_every_order_keeps_every_run(key: str, is_reversed: bool) -> None:
    ended = RunProgress(loss=0.5, best_ap50=0.4, num_steps=10, step=4, ended=RunEnded(outcome="failed", reason=""))
    views = [RunView("0001-b", progress=ended), RunView("0002-a"), RunView("0003-c", progress=RunProgress(loss=0.1))]
    runs = [view.run_id for view in Arrangement(key, is_reversed).apply(views, Board())]
    assert sorted(runs) == ["0001-b", "0002-a", "0003-c"]
    assert Arrangement(key, is_reversed).apply([], Board()) == []


@pytest.mark.parametrize(
    ("pattern", "runs"),
    [("r50", ["0001-r50"]), ("FAILED", ["0002-a"]), ("memory", ["0002-a"]), ("^0", ["0001-r50", "0002-a"]),
     ("nothing", []), ("(", ["0001-r50", "0002-a"])],
)  # fmt: skip
def test_the_filter_looks_at_id_state_cause_and_reason(pattern: str, runs: list[str]) -> None:
    ended = RunEnded(outcome="failed", cause="out of memory", reason="too large")
    views = [RunView("0001-r50"), RunView("0002-a", progress=RunProgress(ended=ended))]
    arrangement = Arrangement("number", pattern=pattern)
    assert [view.run_id for view in arrangement.apply(views, Board())] == runs
    assert bool(arrangement.trouble) == (pattern == "(")

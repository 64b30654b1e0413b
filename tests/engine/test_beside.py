"""Processes beside a run: trackers that are told of it, and an end for those that find none."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from engine.beside import end_all, start_tracking
from engine.guarded import GuardedProcess
from engine.runqueue import RunQueue
from tests.builders import wait_for
from tests.engine.report.nights import add_run, tracked_run


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard isn't installed")
def test_a_run_that_asks_for_it_is_tracked(queue: RunQueue, tmp_path: Path) -> None:
    run_dir = tracked_run(queue, tmp_path)
    [process] = start_tracking(run_dir)
    wait_for(run_dir.tensorboard.is_dir)
    process.stop()
    end_all([process], patience_s=60)
    assert list(run_dir.tensorboard.glob("events.out.tfevents.*")), run_dir.tracking_log.read_text()


def test_a_run_that_does_not_is_not(queue: RunQueue, tmp_path: Path, dataset: Path) -> None:
    assert start_tracking(add_run(queue, tmp_path, dataset, "plain", None)) == []


def test_what_does_not_end_is_killed(tmp_path: Path) -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    process = GuardedProcess(tmp_path / "some.log", [sys.executable, "-c", script])
    process.stop()
    end_all([process], patience_s=0.5)
    assert process.ended()

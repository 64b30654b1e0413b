"""The live table of `engine run`, as a terminal gets it."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from engine.cli.live import LiveTable, RunReader
from engine.events import EpochEvent, EventLog, MessageEvent, RecoveryEvent, RunStarted, StepEvent
from engine.forecast import Figures, Forecast, forecast_bytes
from engine.rundir import RunDir
from engine.runqueue import NewRun, RunQueue
from tests.builders import make_voc_dataset, write_recipe


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_follows_a_run_to_its_end(tmp_path: Path, width: int) -> None:
    queue = RunQueue(tmp_path)
    queue.enqueue([NewRun(name, f"{name}.toml", name, lambda _: None) for name in ("first", "second")])
    out = io.StringIO()
    table = LiveTable(Console(file=out, force_terminal=True, width=width, markup=False), queue)
    row = queue.claim()
    assert row is not None
    table.start(row)
    with EventLog(RunDir(tmp_path / row.run).events) as events:
        events.append(
            RunStarted(
                attempt=1, device="cpu", num_train_images=4, num_val_images=2, num_epochs=2, num_steps=4,
                class_names=("mug",),
            )
        )
        events.append(StepEvent(step=0, epoch=0, elapsed_s=1.0, loss=1.25, losses={}, lr=0.1, step_s=1.0))
        events.append(
            EpochEvent(
                epoch=0, step=1, elapsed_s=2.0, train_loss=1.0, val_loss=1.0, val_losses={}, ap=0.25, ap50=0.5,
                ap75=0.2, ar100=0.3, ap_per_class={}, best=True,
            )
        )
    table.tick()
    table.end(queue.finish(row, "failed", "killed by [bold]signal 9[/bold] \x1b[2J", "killed by signal 9"))
    table.close()
    last = out.getvalue().rpartition("elapsed")[2]
    assert "failed" in last or "killed" in last or "✘" in last
    assert "\x1b[2J" not in out.getvalue()
    assert "1/2" in last
    assert "second" in last


def test_the_table_foretells_runs_that_wait(tmp_path: Path) -> None:
    queue = RunQueue(tmp_path)
    queue.enqueue([NewRun(name, f"{name}.toml", name, lambda _: None) for name in ("first", "second")])
    figures = Figures(
        device="cpu", batch_size=4, micro_batch_size=4, startup_s=10, step_s=1, evaluate_image_s=0, peak_bytes=1,
        available_bytes=2, num_train_images=4, num_val_images=0,
    )
    for run in ("0001-first", "0002-second"):
        forecast = Forecast(figures=figures, num_epochs=1, run_s=187, may_end_early=False, rehearsed_at=time.time())
        RunDir(tmp_path / run).forecast.write_bytes(forecast_bytes(forecast))
    out = io.StringIO()
    table = LiveTable(Console(file=out, force_terminal=True, width=120, markup=False), queue)
    row = queue.claim()
    assert row is not None
    table.start(row)
    table.tick()
    table.close()
    assert out.getvalue().count("3:07 min") >= 2
    assert "queue done about " in out.getvalue()
    queue.close()


def test_run_on_a_real_terminal_shows_the_table_and_no_traceback(tmp_path: Path) -> None:
    make_voc_dataset(tmp_path / "data", num_train=2, num_val=1)
    recipe = write_recipe(tmp_path, tmp_path / "data", training={"epochs": 1})
    screen = _on_a_terminal(["run", "--no-rehearsal", str(recipe), "--runs", str(tmp_path / "runs")])
    assert "Traceback" not in screen
    assert "0001-" in screen
    assert "1/1" in screen
    assert "1 run: 1 finished" in screen


def _on_a_terminal(arguments: list[str]) -> str:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.cli.main", *arguments], stdin=follower, stdout=follower, stderr=follower,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "110", "OMP_NUM_THREADS": "1"},
    )
    os.close(follower)
    output = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        ready, _, _ = select.select([leader], [], [], 0.5)
        try:
            chunk = os.read(leader, 65536) if ready else b""
        except OSError:  # Linux's word for the other end being closed
            break
        output += chunk
        if not chunk and process.poll() is not None:
            break
    process.wait(timeout=10)
    os.close(leader)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode(errors="replace"))


def test_what_stays_in_a_log_that_was_cut_back_is_not_told_again(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "0001-desk")
    run_dir.path.mkdir()
    reader = RunReader(run_dir)
    discarded = RecoveryEvent(kind="discarded step", text="the loss exploded", epoch=0, step=1)
    with EventLog(run_dir.events) as events:
        events.append(discarded)
        length = events.sync()
        careful = MessageEvent(level="warning", text="careful")
        events.append(careful)
        assert reader.read() == [discarded, careful]
        events.rewind(length)
        rolled_back = RecoveryEvent(kind="rolled back", text="to the start", epoch=0, step=0)
        events.append(rolled_back)
    assert reader.read() == [rolled_back]
    assert reader.progress.message == "to the start"

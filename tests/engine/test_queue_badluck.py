"""Bad luck that is really tried: signal 9 in the middle of changes, a disk that is full."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import control
from engine.errors import EngineError
from engine.rundir import RunDir, list_run_dirs
from engine.runqueue import NewRun, QueueRow, RunQueue
from tests.builders import process_environment

_CHANGE_FOR_EVER = """
import itertools, random, sys
from pathlib import Path
from engine import control
from engine.runqueue import NewRun, RunQueue
queue = RunQueue(Path(sys.argv[1]))
chance = random.Random(int(sys.argv[2]))

def create(run_dir):
    run_dir.recipe.write_text("x" * 2000)
    run_dir.resolved.write_text('{"of": "' + run_dir.run_id + '"}')

print("ready", flush=True)
for turn in itertools.count():
    names = [f"k{sys.argv[2]}-{turn}-{part}" for part in range(3)]
    for row, _ in queue.enqueue([NewRun(name, "", name, create) for name in names]):
        print(row.run, flush=True)  # promised to the person
    rows = queue.rows()
    some = chance.sample(rows, min(4, len(rows)))
    chance.choice([control.hold, control.release, control.cancel, control.retry])(queue, some)
    control.move(queue, queue.rows_in("queued", "held")[:2], "last")
    if (row := queue.claim()) is not None:
        queue.finish(row, "queued", "saved")
"""


def make(run_dir: RunDir) -> None:
    run_dir.recipe.write_text("x" * 2000)
    run_dir.resolved.write_text(f'{{"of": "{run_dir.run_id}"}}')


def enqueue(queue: RunQueue, *names: str) -> list[QueueRow]:
    return [row for row, _ in queue.enqueue([NewRun(name, "", name, make) for name in names])]


def test_signal_9_in_the_middle_of_changes_loses_nothing_that_was_promised(tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    chance = random.Random(0)
    promised: set[str] = set()
    for trial in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", _CHANGE_FOR_EVER, str(runs_dir), str(trial)], env=process_environment(),
            stdout=subprocess.PIPE, text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.005, 0.25))
        process.kill()
        promised |= {line.strip() for line in process.stdout if line.endswith("\n")}
        process.wait()
        process.stdout.close()
        told: list[str] = []
        queue = RunQueue(runs_dir, on_rebuild=told.append)
        assert told == []
        assert queue._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = queue.rows()
        assert promised <= {row.run for row in rows}
        assert all(RunDir(runs_dir / row.run).resolved.exists() for row in rows)
        assert len({row.position for row in rows}) == len(rows)
        for row in queue.rows_in("running"):
            queue.finish(row, "queued", "interrupted")
        queue.close()
    assert promised


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], capture_output=True, check=False
    ) if os.geteuid() == 0 else None
    if mounted is None or mounted.returncode != 0:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 1000)


def test_a_full_disk_refuses_in_words_and_goes_on_when_there_is_space(small_disk: Path) -> None:
    queue = RunQueue(small_disk / "runs")
    enqueue(queue, "a", "b")
    row = queue.claim()
    assert row is not None
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        _fill(filler)
    refused = 0
    for action in (
        lambda: queue.finish(row, "finished"), lambda: enqueue(queue, "c", "d"), lambda: queue.pause("x"),
        lambda: control.hold(queue, [queue.row("0002-b")]), lambda: RunQueue(small_disk / "runs").close(),
    ):
        try:
            action()
        except (EngineError, OSError):
            refused += 1
    assert refused >= 3
    # What could not be queued leaves nothing behind.
    assert {run_dir.run_id for run_dir in list_run_dirs(queue.runs_dir)} == {"0001-a", "0002-b"}
    assert queue.row("0001-a").state == "running"
    filler.unlink()
    assert queue.finish(row, "finished").state == "finished"
    assert enqueue(queue, "c")[0].run == "0003-c"
    queue.close()
    again = RunQueue(small_disk / "runs", on_rebuild=pytest.fail)
    assert len(again.rows()) == 3
    again.close()

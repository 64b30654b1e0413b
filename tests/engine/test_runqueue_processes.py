"""The queue between real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from engine.runqueue import RunQueue
from tests.builders import new_run, process_environment

_CLAIM = """
import json, sys
from pathlib import Path
from engine.runqueue import RunQueue
queue = RunQueue(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
mine = []
while (row := queue.claim()) is not None:
    mine.append(row.run)
    queue.finish(row, "finished")
print(json.dumps(mine))
"""

_ENQUEUE = """
import sys
from pathlib import Path
from engine.runqueue import NewRun, RunQueue
queue = RunQueue(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    name = f"{sys.argv[2]}-{number}"
    queue.enqueue([NewRun(name, "", name, lambda run_dir: None), NewRun("shared", "", "shared", lambda run_dir: None)])
"""


def _together(runs_dir: Path, program: str, count: int) -> list[str]:
    """Run a program several times, let all go at once, and return what each printed at its end."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(runs_dir), str(number)], text=True, env=process_environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for number in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=100)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return outputs


def test_no_run_is_claimed_twice(queue: RunQueue) -> None:
    queue.enqueue([new_run(f"r{number}") for number in range(100)])
    claimed = [json.loads(output) for output in _together(queue.runs_dir, _CLAIM, 4)]
    assert sorted(run for runs in claimed for run in runs) == [row.run for row in queue.rows()]
    assert {(row.state, row.attempt) for row in queue.rows()} == {("finished", 1)}


def test_processes_that_queue_at_once_lose_nothing_and_share_no_number(queue: RunQueue) -> None:
    _together(queue.runs_dir, _ENQUEUE, 3)
    rows = queue.rows()
    assert len(rows) == 31
    assert [row.number for row in rows] == list(range(1, 32))
    assert sum(row.recipe_hash == "shared" for row in rows) == 1


def test_processes_that_open_a_new_folder_at_once_make_one_queue(tmp_path: Path) -> None:
    _together(tmp_path / "new", _ENQUEUE, 4)
    queue = RunQueue(tmp_path / "new")
    assert len(queue.rows()) == 41
    queue.close()

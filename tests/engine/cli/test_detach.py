"""The supervisor's log, and what is told when a detached one can't stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from engine.rundir import SUPERVISOR_LOCK, SUPERVISOR_LOG
from engine.runqueue import RunQueue
from tests.builders import process_environment
from tests.engine.cli.conftest import Ask

_TALKS = """
import os, sys
from pathlib import Path
from engine.cli.detach import SupervisorLog
log = SupervisorLog(Path(sys.argv[1]), most_bytes=1000)
log.take_over()
for number in range(300):
    print(f"line {number}", flush=True)
    os.system("echo from a child >&2") if number == 150 else None
    log.look()
"""


def test_a_full_log_makes_way_and_the_one_before_is_kept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _TALKS, str(tmp_path)], check=True, env=process_environment())
    now, before = tmp_path / SUPERVISOR_LOG, tmp_path / "supervisor.1.log"
    assert sorted(tmp_path.iterdir()) == [before, now]
    assert before.stat().st_size < 1200
    lines = (before.read_text() + now.read_text()).splitlines()
    assert lines[-1] == "line 299"
    numbers = [int(line.split()[1]) for line in lines if line.startswith("line")]
    assert numbers == list(range(numbers[0], 300))


def test_a_log_that_cant_be_written_loses_output_only(tmp_path: Path) -> None:
    (tmp_path / SUPERVISOR_LOG).mkdir()
    subprocess.run([sys.executable, "-c", _TALKS, str(tmp_path)], check=True, env=process_environment())


def test_a_queue_that_somebody_works_on_isnt_worked_on_twice(engine: Ask, tmp_path: Path) -> None:
    RunQueue(tmp_path / "runs").close()
    hold = (
        "import sys, time; from pathlib import Path; from engine.rundir import FileLock\n"
        "lock = FileLock(Path(sys.argv[1])); assert lock.acquire(); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "runs" / SUPERVISOR_LOCK)], stdout=subprocess.PIPE,
        env=process_environment(),
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        answer = engine("resume", "--detach")
        holder.kill()
    assert (answer.code, "another `engine run` is at work" in answer.out) == (0, True)

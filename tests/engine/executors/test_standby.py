"""Workers started ahead of their runs: taken by a run they suit, gone with whoever would have needed them."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine import allocator
from engine.executors import UNSEEN, WHOLE_MACHINE, Place, local
from engine.executors.leftovers import MARKER, read_marker
from engine.executors.local import LocalExecutor
from engine.executors.standby import Standby
from engine.rundir import RunDir
from tests.builders import wait_for
from tests.engine.executors.conformance import end_of, is_alive, log_of

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no parent-death signal")

FRESH = "import sys; print('fresh', sys.argv[1:], flush=True)"
# Prints before it has a run, too: that belongs into the run's log.
WAITS = """
import json, os, sys, time
print('early', flush=True)
line = sys.stdin.readline()
if not line: sys.exit(0)
print('waited', json.loads(line), os.environ.get('OMP_NUM_THREADS'), flush=True)
if "hold" in os.environ: time.sleep(60)
sys.exit(6)
"""


def python(program: str) -> list[str]:
    return [sys.executable, "-S", "-c", program]


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    folder = tmp_path / "runs with\nbreaks" / "0001-désk"
    folder.mkdir(parents=True)
    return RunDir(folder)


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalExecutor]:
    monkeypatch.setattr(local, "choose", lambda *_: allocator.SYSTEM)
    made = LocalExecutor(python(FRESH), standby_command=python(WAITS))
    yield made
    made.discard()


def standby_of(executor: LocalExecutor) -> Standby:
    assert executor._standby is not None
    return executor._standby


def processes_of(standby: Standby) -> list[psutil.Process]:
    return [psutil.Process(standby.pid), psutil.Process(standby._link.guardian_pid)]


def test_a_run_gets_the_waiting_worker_with_its_arguments_and_log(executor: LocalExecutor, run_dir: RunDir) -> None:
    executor.prepare(run_dir)
    pid = standby_of(executor).pid
    assert not run_dir.execution.exists()
    execution = executor.start(run_dir, 3)
    assert execution.pid == pid
    assert end_of(execution) == 6
    words = f"waited {[str(run_dir.path), '--attempt', '3']} {os.environ.get('OMP_NUM_THREADS')}"
    assert log_of(run_dir) == f"early\n{words}\n"
    assert not run_dir.execution.exists()
    assert executor._standby is None


def test_its_processes_carry_the_runs_marker(
    executor: LocalExecutor, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("hold", "1")
    executor.prepare(run_dir)
    execution = executor.start(run_dir, 1)
    wait_for(lambda: "waited" in log_of(run_dir), 20, lambda: log_of(run_dir))
    for pid in (execution.pid, execution.guardian_pid):
        assert psutil.Process(pid).environ()[MARKER] == read_marker(run_dir)
    execution.kill()
    assert end_of(execution) == -9


def test_a_run_that_needs_another_environment_is_started_afresh(executor: LocalExecutor, run_dir: RunDir) -> None:
    executor.prepare(run_dir, Place("cpu", 1))
    waiting = standby_of(executor)
    assert end_of(executor.start(run_dir, 1, Place("cpu", 2))) == 0
    assert "fresh" in log_of(run_dir)
    assert standby_of(executor) is waiting
    assert end_of(executor.start(run_dir, 2, Place("cpu", 1))) == 6
    assert "'--device', 'cpu'] 1" in log_of(run_dir)


def test_what_is_ready_stays_while_it_suits_and_is_replaced_when_it_doesnt(
    executor: LocalExecutor, run_dir: RunDir
) -> None:
    executor.prepare(run_dir)
    first = standby_of(executor)
    processes = processes_of(first)
    executor.prepare(run_dir)
    assert standby_of(executor) is first
    executor.prepare(run_dir, Place(num_threads=1))
    assert standby_of(executor) is not first
    assert not [process for process in processes if is_alive(process)]


@pytest.mark.parametrize("victim", ["worker", "guardian"])
def test_one_that_died_costs_its_run_nothing(executor: LocalExecutor, run_dir: RunDir, victim: str) -> None:
    executor.prepare(run_dir)
    standby = standby_of(executor)
    processes = processes_of(standby)
    os.kill(standby.pid if victim == "worker" else standby._link.guardian_pid, signal.SIGKILL)
    wait_for(standby.has_ended, 20)
    assert end_of(executor.start(run_dir, 1)) == 0
    assert log_of(run_dir).startswith("fresh")
    wait_for(lambda: not any(map(is_alive, processes)), 10)


@needs_linux
def test_one_that_ignores_everything_goes_with_its_supervisor_at_once(run_dir: RunDir) -> None:
    stubborn = "import signal, time\nfor n in (15, 1, 2): signal.signal(n, signal.SIG_IGN)\ntime.sleep(60)"
    executor = LocalExecutor(python(FRESH), standby_command=python(stubborn))
    executor.prepare(run_dir)
    standby = standby_of(executor)
    processes = processes_of(standby)
    standby._link.close_lifeline()  # as the kernel does when the supervisor dies
    wait_for(lambda: not any(map(is_alive, processes)), 3)
    executor.discard()


def test_discarding_leaves_no_process(executor: LocalExecutor, run_dir: RunDir) -> None:
    executor.prepare(run_dir)
    processes = processes_of(standby_of(executor))
    executor.discard()
    assert not [process for process in processes if is_alive(process)]
    executor.discard()
    assert end_of(executor.start(run_dir, 1)) == 0


def test_nothing_is_made_ready_where_memory_is_short(
    executor: LocalExecutor, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.prepare(run_dir)
    processes = processes_of(standby_of(executor))
    monkeypatch.setattr(local, "available_memory_bytes", lambda: 10**9)
    executor.prepare(run_dir)
    assert executor._standby is None
    assert not [process for process in processes if is_alive(process)]


def test_one_that_cant_be_started_is_done_without(run_dir: RunDir) -> None:
    executor = LocalExecutor(python(FRESH), standby_command=["no-such-program"])
    executor.prepare(run_dir)
    assert end_of(executor.start(run_dir, 1)) == 0


def test_a_folder_that_went_away_is_an_os_error_that_leaves_nothing(executor: LocalExecutor, run_dir: RunDir) -> None:
    executor.prepare(run_dir)
    processes = processes_of(standby_of(executor))
    run_dir.path.rmdir()
    with pytest.raises(OSError, match="0001"):
        executor.start(run_dir, 1)
    assert not [process for process in processes if is_alive(process)]


def test_a_long_word_is_passed_on_whole(executor: LocalExecutor, tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(12):
        folder = folder / ("ü" * 100)
    folder.mkdir(parents=True)
    executor.prepare(RunDir(folder))
    assert end_of(executor.start(RunDir(folder), 1)) == 6
    assert str(folder) in log_of(RunDir(folder))


# --- allocators ---

TELLS = "import os, time; print(os.environ.get('LD_PRELOAD'), flush=True); time.sleep(60)"


@needs_linux
def test_the_allocator_is_the_workers_alone(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir.resolved.write_text(json.dumps({"hardware": {"allocator": "jemalloc"}}))
    chosen = allocator.Allocator("jemalloc", "/lib/libnosuch.so")
    asked: list[str] = []
    monkeypatch.setattr(local, "choose", lambda wanted, _: asked.append(wanted) or chosen)
    execution = LocalExecutor(python(TELLS)).start(run_dir, 1)
    wait_for(lambda: "/lib/libnosuch.so" in log_of(run_dir), 20, lambda: log_of(run_dir))
    assert "LD_PRELOAD" not in psutil.Process(execution.guardian_pid).environ()
    assert asked == ["jemalloc"]
    execution.kill()
    end_of(execution)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"hardware": 3}', '{"hardware": {}}'])
def test_a_recipe_of_another_version_gets_what_auto_means(
    run_dir: RunDir, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir.resolved.write_text(content)
    asked: list[str] = []
    monkeypatch.setattr(local, "choose", lambda wanted, _: asked.append(wanted) or allocator.SYSTEM)
    assert end_of(LocalExecutor(python(FRESH)).start(run_dir, 1)) == 0
    assert asked == ["auto"]


@needs_linux
@pytest.mark.parametrize(("number", "then"), [(signal.SIGSEGV, "None"), (signal.SIGKILL, "/lib/libnosuch.so")])
def test_after_a_crash_the_run_goes_on_with_the_systems(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch, number: int, then: str
) -> None:
    monkeypatch.setattr(local, "choose", lambda *_: allocator.Allocator("tcmalloc", "/lib/libnosuch.so"))
    program = f"import os, sys; print(os.environ.get('LD_PRELOAD')); sys.stdout.flush(); os.kill(os.getpid(), {number})"
    executor = LocalExecutor(python(program))
    for attempt in (1, 2, 3):
        assert end_of(executor.start(run_dir, attempt)) == -number
    told = [line for line in log_of(run_dir).splitlines() if not line.startswith("ERROR: ld.so")]
    assert told == ["/lib/libnosuch.so", then, then]


def test_a_killed_guardian_of_a_run_that_waited_is_unseen(
    executor: LocalExecutor, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("hold", "1")
    executor.prepare(run_dir, WHOLE_MACHINE)
    execution = executor.start(run_dir, 1)
    wait_for(lambda: "waited" in log_of(run_dir), 20, lambda: log_of(run_dir))
    os.kill(execution.guardian_pid, signal.SIGKILL)
    assert end_of(execution) == UNSEEN
    assert not run_dir.execution.exists()

"""What every executor promises. A new engine's test module subclasses `ExecutorConformance` and says how one is made.

Workers here are small Python programs. They tell by their log and by files in the run directory.
"""

from __future__ import annotations

import subprocess
import sys
import time
from abc import abstractmethod
from pathlib import Path

import psutil
import pytest

from engine.executors import UNSEEN, Execution, Executor
from engine.rundir import FileLock, RunDir
from tests.builders import process_environment, wait_for

# After a supervisor's death nothing may be left after this long.
GONE_WITHIN_S = 5.0

SLEEP = "import time; print('ready', flush=True); time.sleep(60)"
SAVES = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(75)))
print('ready', flush=True)
time.sleep(60)
"""
IGNORES_EVERYTHING = """
import signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
print('ready', flush=True)
time.sleep(60)
"""
# It, a child, a grandchild in a session of its own whose parent is gone, and one that ignores SIGTERM as well.
HAS_FAMILY = """
import os, signal, subprocess, sys, time
print(os.getpid(), flush=True)
sleep = [sys.executable, "-S", "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
subprocess.Popen(sleep)
orphan = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
subprocess.run([sys.executable, "-S", "-c", orphan, *sleep])
stubborn = "import signal; signal.signal(15, signal.SIG_IGN);" + sleep[-1]
subprocess.Popen([sys.executable, "-S", "-c", stubborn], start_new_session=True)
time.sleep(60)
"""

_SUPERVISOR = """
import importlib, sys, time
from pathlib import Path
from engine.rundir import RunDir
module, program, run_dir = sys.argv[1:]
executor = importlib.import_module(module).make_executor(program)
execution = executor.start(RunDir(Path(run_dir)), 1)
print("started", flush=True)
time.sleep(60)
"""


def log_of(run_dir: RunDir) -> str:
    return run_dir.worker_log.read_text() if run_dir.worker_log.exists() else ""


def end_of(execution: Execution, timeout_s: float = 20) -> int:
    codes: list[int] = []

    def ended() -> bool:
        code = execution.poll()
        codes.extend([] if code is None else [code])
        return bool(codes)

    wait_for(ended, timeout_s)
    assert execution.poll() == codes[0]
    return codes[0]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family_of(run_dir: RunDir) -> list[psutil.Process]:
    """HAS_FAMILY's process and the three it started."""
    wait_for(lambda: len(log_of(run_dir).split()) == 4, 20, lambda: log_of(run_dir))
    return [psutil.Process(int(pid)) for pid in log_of(run_dir).split()]


class ExecutorConformance:
    """The promises, each with its test."""

    # A module whose `make_executor(program)` makes an executor that runs a Python program as the worker.
    module: str

    @abstractmethod
    def make(self, program: str) -> Executor:
        """An executor that runs a Python program as the worker."""

    @pytest.fixture
    def run_dir(self, tmp_path: Path) -> RunDir:
        path = tmp_path / "runs with spaces" / "0001-désk"
        path.mkdir(parents=True)
        return RunDir(path)

    def start(self, run_dir: RunDir, program: str) -> Execution:
        return self.make(program).start(run_dir, 3)

    def ready(self, run_dir: RunDir, program: str) -> Execution:
        execution = self.start(run_dir, program)
        wait_for(lambda: "ready" in log_of(run_dir), 20, lambda: log_of(run_dir))
        return execution

    # --- ends ---

    def test_a_workers_code_output_and_arguments(self, run_dir: RunDir) -> None:
        run_dir.worker_log.write_text("before\n")
        program = "import sys; print('out', sys.argv[1:]); print('err', file=sys.stderr); sys.exit(7)"
        assert end_of(self.start(run_dir, program)) == 7
        lines = log_of(run_dir).splitlines()
        assert lines[0] == "before"
        assert sorted(lines[1:]) == ["err", f"out ['{run_dir.path}', '--attempt', '3']"]

    @pytest.mark.parametrize("number", [9, 11, 15])
    def test_a_signal_is_told_as_such(self, run_dir: RunDir, number: int) -> None:
        assert end_of(self.start(run_dir, f"import os; os.kill(os.getpid(), {number})")) == -number

    def test_a_run_can_be_started_again(self, run_dir: RunDir) -> None:
        for code in (1, 0):
            assert end_of(self.start(run_dir, f"raise SystemExit({code})")) == code

    def test_a_worker_that_cant_be_started_is_an_os_error(self, run_dir: RunDir) -> None:
        with pytest.raises(OSError, match="worker"):
            self.make("").start(RunDir(run_dir.path / "missing"), 1)

    # --- stop and kill ---

    def test_a_worker_is_asked_to_stop_and_may_finish(self, run_dir: RunDir) -> None:
        execution = self.ready(run_dir, SAVES)
        assert execution.poll() is None
        execution.stop()
        assert end_of(execution) == 75
        assert "saved" in log_of(run_dir)
        execution.stop()  # harmless once it has ended
        execution.kill()
        assert execution.poll() == 75

    def test_a_worker_that_ignores_being_asked_goes_on_until_it_is_killed(self, run_dir: RunDir) -> None:
        execution = self.ready(run_dir, IGNORES_EVERYTHING)
        execution.stop()
        time.sleep(0.3)
        assert execution.poll() is None
        execution.kill()
        assert end_of(execution) == -9

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere an orphan in a session of its own is lost sight of")
    @pytest.mark.parametrize("way", ["killed on purpose", "killed by a stranger", "ended by itself"])
    def test_an_ended_worker_leaves_no_process_behind(self, run_dir: RunDir, way: str) -> None:
        program = HAS_FAMILY.replace("time.sleep(60)\n", "time.sleep(1)\n") if way == "ended by itself" else HAS_FAMILY
        execution = self.start(run_dir, program)
        family = family_of(run_dir)
        if way == "killed on purpose":
            execution.kill()
        elif way == "killed by a stranger":
            family[0].kill()
        assert end_of(execution) == (0 if way == "ended by itself" else -9)
        assert not [process for process in family if is_alive(process)]

    # --- a supervisor that dies ---

    def orphaned(self, run_dir: RunDir, program: str, ready: str) -> float:
        """Start a worker from another process and kill that with signal 9; returns when, by the monotonic clock."""
        supervisor = subprocess.Popen(
            [sys.executable, "-c", _SUPERVISOR, self.module, program, str(run_dir.path)], env=process_environment(),
        )
        try:
            wait_for(lambda: ready in log_of(run_dir), 20, lambda: log_of(run_dir))
        finally:
            supervisor.kill()
            supervisor.wait()
        return time.monotonic()

    def adopt_to_the_end(self, run_dir: RunDir) -> None:
        leftover = self.make(SLEEP).adopt(run_dir)
        if leftover is not None:
            assert end_of(leftover, GONE_WITHIN_S + 2) == UNSEEN
        assert self.make(SLEEP).adopt(run_dir) is None

    def test_what_a_dead_supervisor_left_can_be_adopted_to_its_end(self, run_dir: RunDir) -> None:
        died = self.orphaned(run_dir, SAVES, "ready")
        self.adopt_to_the_end(run_dir)
        assert time.monotonic() - died < GONE_WITHIN_S
        assert log_of(run_dir) == "ready\nsaved\n"

    @pytest.mark.parametrize("adopted", [True, False], ids=["adopted", "left alone"])
    def test_what_a_dead_supervisor_left_doesnt_stay(self, run_dir: RunDir, adopted: bool) -> None:
        program = IGNORES_EVERYTHING.replace("'ready'", "__import__('os').getpid(), 'ready'")
        died = self.orphaned(run_dir, program, "ready")
        worker = psutil.Process(int(log_of(run_dir).split()[0]))
        if adopted:
            self.adopt_to_the_end(run_dir)
        wait_for(lambda: not is_alive(worker), GONE_WITHIN_S + 2)
        assert time.monotonic() - died < GONE_WITHIN_S

    def test_a_run_nobody_works_on_cant_be_adopted(self, run_dir: RunDir) -> None:
        assert self.make(SLEEP).adopt(run_dir) is None
        assert end_of(self.start(run_dir, "pass")) == 0
        assert self.make(SLEEP).adopt(run_dir) is None

    def test_a_worker_that_cant_be_reached_is_waited_for(self, run_dir: RunDir) -> None:
        """As on another machine that shares the folder: only its lock is seen."""
        hold = (
            "import sys, time; from pathlib import Path; from engine.rundir import FileLock\n"
            "lock = FileLock(Path(sys.argv[1])); assert lock.acquire(); print('held', flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", hold, str(run_dir.worker_lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=process_environment(),
        ) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            leftover = self.make(SLEEP).adopt(run_dir)
            assert leftover is not None
            leftover.stop()
            assert leftover.poll() is None
        assert end_of(leftover) == UNSEEN
        lock = FileLock(run_dir.worker_lock)
        assert lock.acquire()
        lock.release()

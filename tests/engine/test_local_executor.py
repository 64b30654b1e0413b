"""Workers as processes, with small programs in their place."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from engine.executors.local import LocalExecution, LocalExecutor
from engine.rundir import RunDir
from tests.builders import wait_for

Start = Callable[[str], LocalExecution]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def start_program(program: str) -> LocalExecution:
        return LocalExecutor([sys.executable, "-S", "-c", program]).start(RunDir(tmp_path), 3)

    return start_program


def end_of(execution: LocalExecution) -> int:
    codes: list[int] = []

    def ended() -> bool:
        code = execution.poll()
        codes.extend([] if code is None else [code])
        return bool(codes)

    wait_for(ended, 20)
    return codes[0]


def test_a_workers_code_and_output_are_kept(tmp_path: Path, start: Start) -> None:
    RunDir(tmp_path).worker_log.write_text("before\n")
    code = end_of(start("import sys; print('out', sys.argv[1:]); print('err', file=sys.stderr); sys.exit(7)"))
    assert code == 7
    assert RunDir(tmp_path).worker_log.read_text() == f"before\nout ['{tmp_path}', '--attempt', '3']\nerr\n"


def test_a_worker_is_told_to_stop_and_may_finish(tmp_path: Path, start: Start) -> None:
    execution = start(
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(75))\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    wait_for(lambda: "ready" in RunDir(tmp_path).worker_log.read_text(), 20)
    assert execution.poll() is None
    execution.stop()
    assert end_of(execution) == 75
    execution.stop()  # harmless once it has ended
    execution.kill()


@pytest.mark.parametrize("way", ["killed on purpose", "killed by a stranger"])
def test_a_killed_worker_leaves_no_process_behind(tmp_path: Path, start: Start, way: str) -> None:
    execution = start(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    log = RunDir(tmp_path).worker_log
    wait_for(lambda: log.read_text().endswith("\n"), 20)
    child = psutil.Process(int(log.read_text()))
    if way == "killed on purpose":
        execution.kill()
    else:
        execution._process.kill()
    assert end_of(execution) == -9
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10)


def test_a_worker_leads_a_session_of_its_own(start: Start) -> None:
    execution = start("import time; time.sleep(60)")
    assert os.getsid(execution.pid) == execution.pid != os.getsid(0)
    execution.kill()
    assert end_of(execution) == -9


def test_a_workers_lifeline_ends_with_its_supervisor(start: Start) -> None:
    execution = start("import sys; sys.stdin.read(); sys.exit(5)")
    assert execution.poll() is None
    assert execution._process.stdin is not None
    execution._process.stdin.close()  # as the kernel does when the supervisor dies
    assert end_of(execution) == 5


def test_a_worker_that_cant_be_started_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no-such-program"):
        LocalExecutor(["no-such-program"]).start(RunDir(tmp_path), 1)
    with pytest.raises(OSError, match=r"worker\.log"):
        LocalExecutor().start(RunDir(tmp_path / "missing"), 1)

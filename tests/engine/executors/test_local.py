"""Runs as processes of this machine: the promises of every executor, and what only processes can suffer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from engine.executors import UNSEEN, WHOLE_MACHINE, Place
from engine.executors.leftovers import MARKER, kill_marked, mark, marked, read_marker
from engine.executors.local import LocalExecution, LocalExecutor
from engine.rundir import RunDir
from tests.builders import wait_for
from tests.engine.executors.conformance import (
    GONE_WITHIN_S,
    HAS_FAMILY,
    IGNORES_EVERYTHING,
    SAVES,
    SLEEP,
    ExecutorConformance,
    end_of,
    family_of,
    is_alive,
    log_of,
)

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no parent-death signal")


def make_executor(program: str) -> LocalExecutor:
    return LocalExecutor([sys.executable, "-S", "-c", program])


class TestConformance(ExecutorConformance):
    module = __name__

    def make(self, program: str) -> LocalExecutor:
        return make_executor(program)


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def start(run_dir: RunDir, program: str, place: Place = WHOLE_MACHINE) -> LocalExecution:
    return make_executor(program).start(run_dir, 3, place)


def ready(run_dir: RunDir, program: str) -> LocalExecution:
    execution = start(run_dir, program)
    wait_for(lambda: "ready" in log_of(run_dir), 20, lambda: log_of(run_dir))
    return execution


def test_a_missing_program_is_an_os_error_that_leaves_nothing(run_dir: RunDir) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        LocalExecutor(["no-such-program"]).start(run_dir, 1)
    assert not run_dir.execution.exists()


def test_a_worker_leads_a_session_of_its_own(run_dir: RunDir) -> None:
    execution = start(run_dir, SLEEP)
    sessions = {os.getsid(execution.pid), os.getsid(execution.guardian_pid), os.getsid(0)}
    assert len(sessions) == 3
    assert os.getsid(execution.pid) == execution.pid
    execution.kill()
    assert end_of(execution) == -9


def test_a_workers_input_ends_with_its_supervisor(run_dir: RunDir) -> None:
    execution = ready(run_dir, "import sys, signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True);"
                               "sys.stdin.read(); sys.exit(5)")
    assert execution.poll() is None
    execution._link.close_lifeline()  # as the kernel does when the supervisor dies
    assert end_of(execution) == 5


# --- the guardian killed ---


@needs_linux
@pytest.mark.parametrize("program", [SAVES, IGNORES_EVERYTHING, HAS_FAMILY], ids=["saves", "ignores all", "family"])
def test_a_killed_guardian_leaves_nothing_behind(run_dir: RunDir, program: str) -> None:
    execution = start(run_dir, program)
    family = family_of(run_dir) if program == HAS_FAMILY else [psutil.Process(execution.pid)]
    wait_for(lambda: bool(log_of(run_dir)), 20)
    os.kill(execution.guardian_pid, signal.SIGKILL)
    killed = time.monotonic()
    assert end_of(execution) == UNSEEN
    assert time.monotonic() - killed < GONE_WITHIN_S
    assert not [process for process in family if is_alive(process)]
    assert not run_dir.execution.exists()


@needs_linux
def test_a_worker_that_saves_doesnt_wait_for_the_sweep(run_dir: RunDir) -> None:
    execution = ready(run_dir, SAVES)
    os.kill(execution.guardian_pid, signal.SIGKILL)
    killed = time.monotonic()
    assert end_of(execution) == UNSEEN
    assert time.monotonic() - killed < 2


def test_a_guardian_that_is_stuck_is_killed_with_all_it_guards(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.executors.local._KILL_PATIENCE_S", 0.2)
    execution = ready(run_dir, IGNORES_EVERYTHING)
    worker = psutil.Process(execution.pid)
    os.kill(execution.guardian_pid, signal.SIGSTOP)
    execution.kill()
    assert end_of(execution) == UNSEEN
    assert not is_alive(worker)


# --- leftovers ---


def test_a_marked_process_is_found_and_killed_and_no_other(run_dir: RunDir) -> None:
    marker = mark(run_dir, 1)
    assert read_marker(run_dir) == marker
    sleep = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen(sleep, env=os.environ | {MARKER: marker}) as ours,
        subprocess.Popen(sleep, env=os.environ | {MARKER: marker + "0"}) as other,
    ):
        wait_for(lambda: [process.pid for process in marked(marker)] == [ours.pid], 20)
        assert kill_marked(marker)
        assert ours.wait() == -9
        assert other.poll() is None
        other.kill()
    assert not kill_marked(marker)


def test_a_reused_pid_is_spared(run_dir: RunDir) -> None:
    """What was recorded names a process that is now another one: no bare pid is ever believed."""
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]) as stranger:
        run_dir.execution.write_text(json.dumps({"marker": "of-old", "attempt": 1, "pid": stranger.pid}))
        run_dir.worker_lock.write_text(str(stranger.pid))
        assert make_executor(SLEEP).adopt(run_dir) is None
        assert stranger.poll() is None
        stranger.kill()


def test_a_process_found_before_its_pid_was_reused_is_spared(run_dir: RunDir) -> None:
    """Between looking and killing a process may end and its id be given to another: the start time tells."""
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]) as stranger:
        seen = psutil.Process(stranger.pid)
        seen._ident = (seen.pid, seen.create_time() - 100)  # looked at in an earlier life of the id
        with pytest.raises(psutil.NoSuchProcess):
            seen.kill()
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"marker": ""}', '{"marker": 3}', "\x00"])
def test_rubbish_marks_nothing(run_dir: RunDir, content: str) -> None:
    run_dir.execution.write_text(content)
    assert read_marker(run_dir) is None
    assert make_executor(SLEEP).adopt(run_dir) is None


# --- the log ---


def test_binary_output_stays_as_it_is(run_dir: RunDir) -> None:
    program = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 500); sys.stdout.flush()"
    assert end_of(start(run_dir, program)) == 0
    assert run_dir.worker_log.read_bytes() == bytes(range(256)) * 500


def test_a_flooded_log_keeps_its_beginning_and_its_end(run_dir: RunDir) -> None:
    program = (
        "import sys\nprint('the beginning')\nline = b'x' * 999 + b'\\n'\n"
        "for _ in range(60): sys.stdout.buffer.write(line * 1000)\n"
        "sys.stdout.flush(); print('the end')"
    )
    assert end_of(start(run_dir, program)) == 0
    sizes = [path.stat().st_size for path in (run_dir.worker_log_first, run_dir.worker_log_before, run_dir.worker_log)]
    assert sum(sizes) <= 24_000_000
    assert run_dir.worker_log_first.read_bytes().startswith(b"the beginning\n")
    assert run_dir.worker_log.read_bytes().endswith(b"the end\n")
    assert min(sizes[:2]) > 7_000_000


def test_a_log_that_cant_be_written_loses_output_and_no_run(run_dir: RunDir) -> None:
    program = (
        "import os, sys, time\nos.rename('worker.log', 'aside'); os.mkdir('worker.log')\n"
        "for _ in range(200): sys.stdout.buffer.write(b'x' * 99_999 + b'\\n')\nsys.exit(4)"
    )
    execution = make_executor(f"import os, sys; os.chdir(sys.argv[1])\n{program}").start(run_dir, 1)
    assert end_of(execution) == 4


# --- places ---

_TELL = "import os, sys; print(sys.argv[4:], [os.environ.get(name) for name in {names}])"
_NAMES = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")


@pytest.mark.parametrize(
    ("place", "visible", "told"),
    [
        (Place(), None, "[] ['7', None, None]"),
        (Place(num_threads=2), None, "[] ['2', None, None]"),
        (Place("cuda:1"), None, "['--device', 'cuda'] ['7', '1', 'PCI_BUS_ID']"),
        (Place("cuda:1"), "4,6", "['--device', 'cuda'] ['7', '6', 'PCI_BUS_ID']"),
        (Place("cuda:3"), "GPU-a", "['--device', 'cuda'] ['7', '3', 'PCI_BUS_ID']"),
        (Place("cpu", 1), "4", "['--device', 'cpu'] ['1', '4', None]"),
    ],
)
def test_a_place_gives_device_and_threads(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch, place: Place, visible: str | None, told: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert end_of(start(run_dir, _TELL.format(names=_NAMES), place)) == 0
    assert log_of(run_dir).strip() == told

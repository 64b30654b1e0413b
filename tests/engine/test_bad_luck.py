"""Nights that go wrong, with real processes: killed, hung up, started twice, out of disk, in odd folders.

Workers are `tests.fakeworker`, which needs no torch; `tests/bench/torture.py` does the same with real ones.
"""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from engine.events import StepEvent
from engine.queuereader import read_queue
from engine.rundir import SUPERVISOR_LOG, RunDir, is_locked
from engine.runqueue import QueueRow, RunQueue
from tests.bench.torture import torture
from tests.builders import events_of, new_run, process_environment, steps_of, wait_for

GONE_WITHIN_S = 5.0
needs_mounts = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(
        ["unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True, check=False,
    ).returncode != 0,
    reason="this system lets nobody mount a small disk",
)


@dataclass
class Crew:
    """`engine run` with fake workers, in a folder whose name has spaces and letters of other tongues."""

    runs_dir: Path
    settings: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.output = self.runs_dir.parent / "output.txt"
        self.mark = f"{self.runs_dir}-{time.time_ns()}"

    @property
    def environment(self) -> dict[str, str]:
        return process_environment() | {"BAD_LUCK": self.mark, "FAKE_STEP_S": "0.02"} | self.settings

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.fakecrew", "--runs", str(self.runs_dir), *arguments]

    def start(self, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as output:
            self.started.append(
                subprocess.Popen(
                    [*prefix, *self.command("--plain", *arguments)], stdin=subprocess.DEVNULL, stdout=output,
                    stderr=output, env=self.environment,
                )
            )
        return self.started[-1]

    def told(self) -> str:
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def alive(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["environ", "status"]):
            environ, status = process.info["environ"], process.info["status"]
            if environ and environ.get("BAD_LUCK") == self.mark and status != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def rows(self) -> list[QueueRow]:
        return list(read_queue(self.runs_dir, 10).rows.values())

    def states(self) -> list[str]:
        return [row.state for row in self.rows()]

    def run_dir(self, run: str) -> RunDir:
        return RunDir(self.runs_dir / run)

    def wait_for_step(self, run: str, step: int = 1) -> None:
        wait_for(lambda: len(steps_of(self.run_dir(run))) > step, 60, self.told)

    def assert_each_step_once(self, num_steps: int = 20) -> None:
        for row in self.rows():
            steps = [event.step for event in steps_of(self.run_dir(row.run))]
            assert steps == list(range(num_steps)), (row.run, steps)


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    crew = Crew(tmp_path / "Läufe – 実行 100%" / "runs")
    crew.runs_dir.parent.mkdir()
    yield crew
    for process in crew.alive():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    for process in crew.started:
        process.wait()


# --- killed ---


def test_everything_killed_in_the_middle_one_command_and_all_runs_finish(crew: Crew) -> None:
    crew.start("anna", "bert", "carl")
    crew.wait_for_step("0002-bert", 7)
    for process in crew.alive():
        with contextlib.suppress(psutil.NoSuchProcess):  # the first one's end may have ended it
            process.kill()
    crew.started[0].wait()
    wait_for(lambda: not crew.alive(), GONE_WITHIN_S)  # the kernel takes its time over the dead on a busy machine
    assert [row.state for row in crew.rows()] == ["finished", "running", "queued"]
    assert crew.start().wait(60) == 0, crew.told()
    assert [(row.state, row.attempt) for row in crew.rows()] == [("finished", 1), ("finished", 2), ("finished", 1)]
    crew.assert_each_step_once()
    assert not crew.alive()


def test_a_killed_supervisor_leaves_nothing_and_its_run_has_saved(crew: Crew) -> None:
    first = crew.start("anna")
    crew.wait_for_step("0001-anna", 6)
    first.kill()
    killed = time.monotonic()
    wait_for(lambda: not crew.alive(), GONE_WITHIN_S, crew.told)
    assert time.monotonic() - killed < GONE_WITHIN_S
    made = len(steps_of(crew.run_dir("0001-anna")))
    assert crew.start().wait(60) == 0, crew.told()
    crew.assert_each_step_once()
    [resumed] = [event for event in events_of(crew.run_dir("0001-anna")) if getattr(event, "first_step", 0)]
    assert resumed.first_step == made  # type: ignore[union-attr]  # nothing was done twice: it had saved


def test_a_torture_in_small(tmp_path: Path) -> None:
    figures = torture(tmp_path, 3, fake=True, seed=int(time.time()), num_steps=60)
    assert figures.trials == 3
    assert figures.is_clean(), "\n".join(figures.lines())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_torture_with_real_workers(tmp_path: Path) -> None:
    figures = torture(tmp_path, 12, fake=False, seed=int(time.time()), num_steps=100)
    assert figures.is_clean(), "\n".join(figures.lines())


# --- started twice ---


def test_two_started_at_the_same_moment_work_as_one(crew: Crew) -> None:
    for round_number in range(2):
        names = [f"r{round_number}-{letter}" for letter in "ab"]
        both = [crew.start(*names) for _ in range(2)]
        assert [process.wait(60) for process in both] == [0, 0], crew.told()
    assert [(row.state, row.attempt) for row in crew.rows()] == [("finished", 1)] * 4
    crew.assert_each_step_once()


# --- detached ---


def test_a_closed_terminal_doesnt_stop_the_queue(crew: Crew) -> None:
    """As when an SSH connection drops: the kernel hangs the session up."""
    pid, leader = pty.fork()
    if pid == 0:
        os.execve(sys.executable, crew.command("anna", "bert"), crew.environment | {"TERM": "xterm"})  # noqa: S606
    screen: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(leader, screen), daemon=True)
    reader.start()
    crew.wait_for_step("0001-anna")
    os.close(leader)
    try:
        wait_for(lambda: crew.states() == ["finished", "finished"], 60)
        _, status = os.waitpid(pid, 0)
    finally:
        reader.join(5)
    assert os.waitstatus_to_exitcode(status) == 0
    log = (crew.runs_dir / SUPERVISOR_LOG).read_text()
    assert "going on without" in log
    assert "2 runs: 2 finished" in log
    assert [row.attempt for row in crew.rows()] == [1, 1]
    assert not crew.alive()


def _read_all(descriptor: int, into: list[bytes]) -> None:
    try:
        while data := os.read(descriptor, 65_536):
            into.append(data)
    except OSError:
        return


def test_a_reader_that_goes_away_doesnt_stop_the_queue(crew: Crew) -> None:
    """`engine run | head -1`, or a `tee` that is killed."""
    process = subprocess.Popen(
        crew.command("--plain", "anna", "bert"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=crew.environment
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    assert crew.states() == ["finished", "finished"]
    assert "2 runs: 2 finished" in (crew.runs_dir / SUPERVISOR_LOG).read_text()


def test_detached_it_survives_the_session_that_started_it(tmp_path: Path) -> None:
    """A shell of its own session and terminal runs `engine resume --detach` and is torn down with all its children."""
    runs_dir = tmp_path / "my runs"
    queue = RunQueue(runs_dir)
    queue.pause("so that it stays at work")
    queue.enqueue([new_run("a")])
    command = f"{sys.executable} -m engine.cli.main resume --detach --runs '{runs_dir}'; echo code $?; sleep 60"
    pid, leader = pty.fork()
    if pid == 0:
        os.execve("/bin/sh", ["sh", "-c", command], process_environment() | {"TERM": "dumb"})  # noqa: S606
    screen: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(leader, screen), daemon=True)
    reader.start()
    wait_for(lambda: b"code 0" in b"".join(screen), 60, lambda: b"".join(screen).decode())
    told = b"".join(screen).decode()
    supervisor = psutil.Process(int(told.partition("process ")[2].split(";")[0]))
    os.close(leader)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    reader.join(5)
    time.sleep(1)
    assert supervisor.is_running()
    assert is_locked(runs_dir / "supervisor.lock")
    assert os.getsid(supervisor.pid) == supervisor.pid
    assert "engine watch" in told
    assert "supervisor.log" in told
    supervisor.terminate()  # as it said how
    wait_for(lambda: not supervisor.is_running() or supervisor.status() == psutil.STATUS_ZOMBIE, 20)
    assert "stopped" in (runs_dir / SUPERVISOR_LOG).read_text()
    assert [row.state for row in queue.rows()] == ["queued"]
    queue.close()


# --- side by side ---


def test_two_runs_side_by_side_share_the_threads(crew: Crew) -> None:
    crew.settings["OMP_NUM_THREADS"] = "64"
    assert crew.start("--parallel", "2", "anna", "bert", "carl").wait(60) == 0, crew.told()
    crew.assert_each_step_once()
    spans = {
        row.run: [event.time for event in events_of(crew.run_dir(row.run)) if isinstance(event, StepEvent)]
        for row in crew.rows()
    }
    assert spans["0002-bert"][0] < spans["0001-anna"][-1]
    assert spans["0003-carl"][0] > min(spans["0001-anna"][-1], spans["0002-bert"][-1])


# --- the clock ---

_SET_BACK = """
import os, time
real, flag = time.time, os.environ["CLOCK_FLAG"]
time.time = lambda: real() - (86_400 if os.path.exists(flag) else 0)
"""


def test_a_clock_set_back_a_day_changes_nothing(crew: Crew, tmp_path: Path) -> None:
    folder, flag = tmp_path / "site", tmp_path / "set back"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_SET_BACK)
    crew.settings |= {
        "PYTHONPATH": os.pathsep.join([str(folder), process_environment()["PYTHONPATH"]]), "CLOCK_FLAG": str(flag),
        "FAKE_STEPS": "40",
    }
    process = crew.start("anna", "bert")
    crew.wait_for_step("0001-anna", 5)
    flag.touch()
    assert process.wait(60) == 0, crew.told()
    assert crew.states() == ["finished", "finished"]
    crew.assert_each_step_once(40)
    times = [event.time for event in steps_of(crew.run_dir("0001-anna"))]
    assert times[0] - times[-1] > 80_000
    assert "0002-bert: first step" in crew.told()


# --- two versions, and folders that refuse ---


def test_a_queue_of_a_newer_version_is_left_alone(crew: Crew) -> None:
    assert crew.start("anna").wait(60) == 0
    queue = RunQueue(crew.runs_dir)
    queue._db.execute("PRAGMA user_version=99")
    queue.close()
    before = (crew.runs_dir / "queue.db").read_bytes()
    process = subprocess.run(
        [sys.executable, "-m", "engine.cli.main", "resume", "--runs", str(crew.runs_dir)], env=crew.environment,
        capture_output=True, text=True, check=False,
    )
    assert process.returncode == 1
    assert "Q102" in process.stderr
    assert (crew.runs_dir / "queue.db").read_bytes() == before


def resume(crew: Crew, mount: str) -> subprocess.CompletedProcess[str]:
    """`engine resume` where the runs folder is another disk."""
    script = f'{mount} && exec "$0" -m engine.cli.main resume --runs "$1"'
    return subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script, sys.executable, str(crew.runs_dir)],
        env=crew.environment, capture_output=True, text=True, check=False, timeout=100,
    )


@needs_mounts
def test_a_folder_that_may_only_be_read_is_told(crew: Crew) -> None:
    assert crew.start("anna").wait(60) == 0
    told = resume(crew, 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"')
    assert told.returncode == 1, told.stderr
    assert "ead-only file system" in told.stderr
    assert "fix:" in told.stderr
    assert "Traceback" not in told.stderr


@needs_mounts
def test_a_full_disk_is_told(crew: Crew) -> None:
    crew.runs_dir.mkdir()
    told = resume(crew, 'mount -t tmpfs -o size=64k tmpfs "$1" && cat /dev/zero > "$1/filler" 2> /dev/null; true')
    assert told.returncode == 1, told.stderr
    assert "Q101" in told.stderr
    assert "Traceback" not in told.stderr


_FILLS_UP = """
import os, subprocess, sys, threading, time
runs = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", runs], check=True)
supervisor = subprocess.Popen([sys.executable, "-c", sys.argv[2], runs])
def steps():
    try: return open(runs + "/0001-a/events.jsonl", "rb").read().count(b'"event":"step"')
    except OSError: return 0
while steps() < 5: time.sleep(0.02)
filler = os.open(runs + "/filler", os.O_CREAT | os.O_WRONLY)
try:
    while True: os.write(filler, bytes(4096))
except OSError: pass
try:
    while True: os.write(filler, b"0")
except OSError: pass
time.sleep(6)
os.ftruncate(filler, 0)
code = supervisor.wait(60)
os.unlink(runs + "/filler")
subprocess.run(["cp", "-r", runs, runs + ".kept"], check=True)
sys.exit(code)
"""
# Without the steward that looks after the disk, which would start nothing on one so small.
_SUPERVISE = """
import sys
from pathlib import Path
from engine.executors.local import LocalExecutor
from engine.runqueue import RunQueue
from engine.supervisor import Observer, StopRequest, supervise, supervisor_lock
from tests.builders import new_run
queue = RunQueue(Path(sys.argv[1]))
queue.enqueue([new_run("a"), new_run("b")])
lock = supervisor_lock(queue.runs_dir)
assert lock.acquire()
executor = LocalExecutor([sys.executable, "-m", "tests.fakeworker"])
supervise(queue, executor, lock, StopRequest(), Observer(on_note=lambda text: print(text, flush=True)))
"""


@needs_mounts
def test_a_disk_that_fills_up_and_is_emptied_again_loses_no_run(crew: Crew) -> None:
    crew.runs_dir.mkdir()
    crew.settings |= {"FAKE_STEPS": "60", "FAKE_STEP_S": "0.03"}
    told = subprocess.run(
        ["unshare", "--mount", "--map-root-user", sys.executable, "-c", _FILLS_UP, str(crew.runs_dir), _SUPERVISE],
        env=crew.environment, capture_output=True, text=True, check=False, timeout=90,
    )
    crew.runs_dir = Path(f"{crew.runs_dir}.kept")
    assert told.returncode == 0, told.stderr
    assert "waiting for the queue" in told.stdout
    assert len(crew.rows()) == 2
    assert crew.states()[1] == "finished"
    for row in crew.rows():  # the first may have used its tries up meanwhile; it says why, and nothing is torn
        assert row.state == "finished" or "times in a row" in row.reason, row
        steps = [event.step for event in steps_of(crew.run_dir(row.run))]
        assert steps == list(range(len(steps)))

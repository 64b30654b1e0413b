"""File names, atomic writes, finding a run, and locks between real processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from engine.errors import QueueError
from engine.rundir import (
    FileLock,
    RunDir,
    find_run_dir,
    is_locked,
    list_run_dirs,
    lock_holder,
    run_number,
    write_atomic,
    write_bytes_atomic,
)
from tests.builders import process_environment


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("0004-desk-r50", 4), ("12345-a", 12345), ("0000-a", 0), ("004-a", None), ("0004", None), ("0004-", None),
        ("0004--a", None), ("0004-.a", None), ("queue.db", None), ("", None), ("0004-a/b", None),
    ],
)
def test_a_run_id_begins_with_its_number(name: str, number: int | None) -> None:
    assert run_number(name) == number


def test_names_under_a_run_directory() -> None:
    run_dir = RunDir(Path("runs/0004-desk"))
    assert run_dir.run_id == "0004-desk"
    assert run_dir.preview(3, 2) == Path("runs/0004-desk/previews/0003/02.jpg")
    assert run_dir.relative(run_dir.best_checkpoint) == "checkpoints/best.pt"


def test_runs_are_listed_by_number_and_strangers_left_out(tmp_path: Path) -> None:
    for name in ("0010-b", "0002-a", "12345-c", "notes", "0003-file"):
        (tmp_path / name).mkdir() if name != "0003-file" else (tmp_path / name).touch()
    assert [run_dir.run_id for run_dir in list_run_dirs(tmp_path)] == ["0002-a", "0010-b", "12345-c"]
    assert list_run_dirs(tmp_path / "missing") == []


# --- finding ---


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    for run in ("0001-desk", "0002-other", "0003-desk", "0004-0002"):
        (tmp_path / "runs" / run).mkdir(parents=True)
        (tmp_path / "runs" / run / "resolved.json").touch()
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("name", "run"),
    [
        pytest.param("0001-desk", "0001-desk", id="id"),
        pytest.param("2", "0002-other", id="number"),
        pytest.param("0002", "0002-other", id="number as in the id, before a recipe's name"),
        pytest.param("desk", "0003-desk", id="recipe's name, newest"),
    ],
)
def test_a_run_is_found_by(runs_dir: Path, name: str, run: str) -> None:
    assert find_run_dir(runs_dir, name).path == runs_dir / run


def test_a_run_is_found_by_path(runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_run_dir(tmp_path / "elsewhere", str(runs_dir / "0001-desk")).run_id == "0001-desk"
    assert find_run_dir(tmp_path / "elsewhere", f"{runs_dir / '0001-desk'}/").run_id == "0001-desk"
    monkeypatch.chdir(runs_dir / "0002-other")
    assert find_run_dir(tmp_path / "elsewhere", ".").run_id == "0002-other"


@pytest.mark.parametrize(
    "name", ["", "9", "nobody", "0001", "x" * 5000, "a\0b", "²"],
    ids=["empty", "number", "name", "number of none", "too long", "zero byte", "superscript"],
)
def test_a_run_that_isnt_there_is_told_with_those_that_are(runs_dir: Path, name: str) -> None:
    if name == "0001":
        (runs_dir / "0001-desk").rename(runs_dir / "0009-desk")
    with pytest.raises(QueueError) as caught:
        find_run_dir(runs_dir, name)
    [problem] = caught.value.problems
    assert problem.code == "Q103"
    assert "0003-desk" in problem.fix


def test_no_runs_at_all(tmp_path: Path) -> None:
    with pytest.raises(QueueError, match="train something first"):
        find_run_dir(tmp_path / "runs", "desk")


# --- atomic writes ---


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    for content in (b"first", b"second, longer", b""):
        write_bytes_atomic(path, content)
        assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["a.json"]


def test_the_old_file_stays_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_bytes_atomic(path, b"old")

    def fail(file: BinaryIO) -> None:
        file.write(b"half of the n")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space") as raised:
        write_atomic(path, fail)
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_refusal_names_the_file_that_a_person_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _mode: str) -> BinaryIO:
        [hidden] = tmp_path.iterdir()
        raise PermissionError(13, "Permission denied", str(hidden))

    monkeypatch.setattr(os, "fdopen", refuse)
    with pytest.raises(PermissionError) as raised:
        write_bytes_atomic(tmp_path / "a.json", b"")
    assert raised.value.filename == str(tmp_path / "a.json")


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes_atomic(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


# --- locks ---

_HOLD = """
import sys, time
from pathlib import Path
from engine.rundir import FileLock
lock = FileLock(Path(sys.argv[1])); assert lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def _holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE, text=True, env=process_environment()
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_lock_keeps_other_processes_out_until_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "worker.lock"
    lock = FileLock(path)
    assert not is_locked(path)  # the file is missing
    with _holder(path) as process:
        assert is_locked(path)
        assert not lock.acquire()
        assert lock_holder(path) == process.pid
        assert not lock.acquire(patience_s=0.1)
        process.send_signal(signal.SIGKILL)
        begun = time.monotonic()
        assert lock.acquire(patience_s=10)
        assert time.monotonic() - begun < 5
    lock.release()
    assert not is_locked(path)


def test_a_lock_can_be_given_back_and_taken_again(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "a.lock")
    lock.release()  # harmless
    for _ in range(2):
        assert lock.acquire()
        lock.release()


def test_a_lock_in_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        FileLock(tmp_path / "missing" / "a.lock").acquire()

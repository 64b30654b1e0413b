"""The queue's file: older versions, damage at every page, a file that is replaced or lost, what is found again."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import control
from engine.errors import QueueError
from engine.events import EventLog, RunEnded
from engine.progress import fold
from engine.queuefile import SCHEMA_VERSION, QueueUnavailable
from engine.queuereader import read_queue
from engine.queuerebuild import figures_json, figures_progress
from engine.rundir import QUEUE_FILE, RunDir
from engine.runqueue import NewRun, QueueRow, RunQueue
from tests.builders import measured, new_run, process_environment, started, stepped

# As the first version made it.
_VERSION_1 = """
CREATE TABLE runs (
    run TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, recipe_path TEXT NOT NULL, recipe_hash TEXT NOT NULL,
    state TEXT NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
    cause TEXT NOT NULL DEFAULT '', queued_at REAL NOT NULL, started_at REAL, ended_at REAL,
    priority INTEGER NOT NULL DEFAULT 0, retries_left INTEGER NOT NULL DEFAULT 0, not_before REAL
);
CREATE INDEX runs_by_state ON runs (state, number);
INSERT INTO runs VALUES ('0001-a', 1, 'a.toml', 'ha', 'finished', 2, 'early', '', 10.0, 11.0, 12.0, 0, 0, NULL);
INSERT INTO runs VALUES ('0002-b', 2, 'b.toml', 'hb', 'queued', 0, '', '', 20.0, NULL, NULL, 0, 1, 99.5);
INSERT INTO runs VALUES ('0003-c', 3, 'c.toml', 'hc', 'queued', 0, '', '', 30.0, NULL, NULL, 7, 0, NULL);
PRAGMA user_version=1;
"""


def make(run_dir: RunDir) -> None:
    run_dir.resolved.write_text(f'{{"of": "{run_dir.run_id}"}}')


def enqueue(queue: RunQueue, *names: str) -> list[QueueRow]:
    return [row for row, _ in queue.enqueue([new_run(name, create=make) for name in names])]


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    db = sqlite3.connect(tmp_path / QUEUE_FILE)
    db.executescript(_VERSION_1)
    db.close()
    return tmp_path


# --- versions ---


def test_a_file_of_the_first_version_is_brought_up_to_date(version_1: Path) -> None:
    told: list[str] = []
    queue = RunQueue(version_1, on_rebuild=told.append)
    a, b, c = queue.rows()
    assert (a.run, a.state, a.attempt, a.reason, a.started_at, a.ended_at) == ("0001-a", "finished", 2, "early", 11, 12)
    assert (b.not_before, b.retries_left, c.priority) == (99.5, 1, 7)
    assert [(row.position, row.asked, row.interruptions, row.device, row.max_hours) for row in (a, b, c)] == [
        (1.0, "", 0, "", None), (2.0, "", 0, "", None), (3.0, "", 0, "", None),
    ]
    assert [row.run for row in queue.rows_in("queued")] == ["0003-c", "0002-b"]
    assert told == []
    assert enqueue(queue, "d")[0].position == 4.0
    queue.close()
    again = RunQueue(version_1)
    assert [row.run for row in again.rows()] == ["0001-a", "0002-b", "0003-c", "0004-d"]
    again.close()


def test_new_and_updated_files_have_the_same_tables(version_1: Path, tmp_path: Path) -> None:
    def tables(runs_dir: Path) -> list[tuple[str, ...]]:
        RunQueue(runs_dir).close()
        db = sqlite3.connect(runs_dir / QUEUE_FILE)
        found = db.execute("SELECT m.name, c.name, c.type, c.dflt_value FROM sqlite_master m JOIN pragma_table_info"
                           "(m.name) c WHERE m.type = 'table' ORDER BY 1, c.cid").fetchall()
        found += db.execute("SELECT name, '', '', '' FROM sqlite_master WHERE type = 'index' ORDER BY 1").fetchall()
        db.close()
        return found

    assert tables(version_1) == tables(tmp_path / "new")


def test_looking_at_an_old_file_doesnt_change_it(version_1: Path) -> None:
    before = (version_1 / QUEUE_FILE).read_bytes()
    reading = read_queue(version_1)
    assert reading.trouble == ""
    assert [(row.run, row.position, row.asked) for row in reading.rows.values()] == [
        ("0001-a", 0.0, ""), ("0002-b", 0.0, ""), ("0003-c", 0.0, ""),
    ]
    assert (reading.paused, reading.until) == (None, None)
    assert (version_1 / QUEUE_FILE).read_bytes() == before


def test_a_newer_file_is_refused_by_writers_and_readers(queue: RunQueue) -> None:
    queue._db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(QueueError) as caught:
        RunQueue(queue.runs_dir)
    assert caught.value.problems[0].code == "Q102"
    assert "newer engine" in read_queue(queue.runs_dir).trouble


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / QUEUE_FILE)
    db.execute("CREATE TABLE jobs (id INTEGER)")
    db.close()
    before = (tmp_path / QUEUE_FILE).read_bytes()
    with pytest.raises(QueueUnavailable, match="another program"):
        RunQueue(tmp_path)
    assert (tmp_path / QUEUE_FILE).read_bytes() == before


# --- damage ---


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A queue of 60 runs in all states, over many pages; read only."""
    runs_dir = tmp_path_factory.mktemp("large") / "runs"
    queue = RunQueue(runs_dir)
    long_path = "recipes/" + "x" * 900
    queue.enqueue([NewRun(f"r{number}", long_path, f"h{number}", make) for number in range(60)])
    for _ in range(10):
        row = queue.claim()
        assert row is not None
        with EventLog(RunDir(runs_dir / row.run).events) as events:
            for event in (started(), stepped(0), measured(0), RunEnded(outcome="finished", reason="well", attempt=1)):
                events.append(event)
        queue.finish(row, "finished", "well")
    control.hold(queue, queue.rows_in("queued")[:5])
    control.cancel(queue, queue.rows_in("queued")[:5])
    queue.close()
    return runs_dir


def _page_size(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[16:18], "big")


def _opened_after(large: Path, folder: Path, damage: Callable[[bytes], bytes]) -> tuple[list[str], list[str], Path]:
    """The states after the file was damaged, what was told, and the runs folder."""
    runs_dir = folder / "runs"
    if not runs_dir.exists():
        shutil.copytree(large, runs_dir)
    for kept in runs_dir.glob("queue.damaged-*"):
        kept.unlink()
    damaged = damage((large / QUEUE_FILE).read_bytes())
    (runs_dir / QUEUE_FILE).write_bytes(damaged)
    told: list[str] = []
    queue = RunQueue(runs_dir, on_rebuild=told.append)
    states = [row.state for row in queue.rows()]
    assert queue.rows() == [queue.row(row.run) for row in queue.rows()]  # by the index too
    assert queue._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    queue.close()
    kept_files = list(runs_dir.glob("queue.damaged-*"))
    assert [kept.read_bytes() for kept in kept_files] == ([damaged] if told and damaged else [])
    return states, told, runs_dir


AS_BEFORE = ["finished"] * 10 + ["held"] * 5 + ["cancelled"] * 5 + ["queued"] * 40


def test_a_queue_cut_at_every_page_is_found_again(large: Path, tmp_path: Path) -> None:
    size = (large / QUEUE_FILE).stat().st_size
    page = _page_size(large / QUEUE_FILE)
    num_pages = size // page
    assert num_pages > 15
    for kept_pages in range(num_pages):
        states, told, _ = _opened_after(large, tmp_path, lambda data, kept=kept_pages: data[: kept * page])
        assert states == AS_BEFORE, f"{kept_pages} of {num_pages} pages"
        assert len(told) == 1
        assert "60 run folders" in told[0]


@pytest.mark.parametrize("cut", [1, 50, 99, 100, 4095, 4097])
def test_a_queue_cut_within_a_page_is_found_again(large: Path, tmp_path: Path, cut: int) -> None:
    states, told, _ = _opened_after(large, tmp_path, lambda data: data[:cut])
    assert states == AS_BEFORE
    assert told


def test_a_queue_with_rubbish_in_any_page_is_found_again(large: Path, tmp_path: Path) -> None:
    page = _page_size(large / QUEUE_FILE)
    num_pages = (large / QUEUE_FILE).stat().st_size // page
    for index in range(num_pages):

        def spoil(data: bytes, at: int = index * page) -> bytes:
            return data[:at] + b"\xde\xad\xbe\xef" * (page // 4) + data[at + page :]

        states, _, _ = _opened_after(large, tmp_path, spoil)
        assert states == AS_BEFORE, f"page {index}"


@pytest.mark.parametrize(
    "rubbish", [b"x", b"\0" * 8192, b"not a database " * 1000, random.Random(0).randbytes(20_000)],
    ids=["a letter", "zeros", "text", "noise"],
)
def test_a_queue_replaced_by_rubbish_is_found_again(large: Path, tmp_path: Path, rubbish: bytes) -> None:
    states, told, _ = _opened_after(large, tmp_path, lambda _: rubbish)
    assert states == AS_BEFORE
    assert "was damaged; it is kept as queue.damaged-" in told[0]


def test_figures_and_wishes_are_found_again(tmp_path: Path) -> None:
    queue = RunQueue(tmp_path)

    def create(run_dir: RunDir) -> None:
        run_dir.resolved.write_text('{"recipe": {"queue": {"priority": 5, "retries": 2, "max_hours": 8.0}}}')

    enqueue(queue, "done")
    queue.enqueue([NewRun("b", "b.toml", "b", create)])
    row = queue.claim()
    assert row is not None
    with EventLog(RunDir(tmp_path / row.run).events) as events:
        for event in (started(), stepped(0), measured(0), RunEnded(outcome="finished", reason="", attempt=1)):
            events.append(event)
    finished = queue.finish(row, "finished")
    queue.close()
    (tmp_path / QUEUE_FILE).write_bytes(b"rubbish")
    again = RunQueue(tmp_path)
    done, b = again.rows()
    assert (done.state, done.figures) == ("finished", finished.figures)
    assert (b.priority, b.retries_left, b.max_hours) == (5, 2, 8.0)
    again.close()


def test_a_lost_queue_is_made_anew_but_starts_nothing(queue: RunQueue) -> None:
    enqueue(queue, "a", "b")
    queue.close()
    (queue.runs_dir / QUEUE_FILE).unlink()
    told: list[str] = []
    again = RunQueue(queue.runs_dir, on_rebuild=told.append)
    assert [(row.state, row.attempt) for row in again.rows()] == [("held", 0)] * 2
    assert "engine release" in again.rows()[0].reason
    assert "was missing" in told[0]
    assert again.claim() is None
    again.close()


def test_a_run_whose_queueing_was_cut_short_isnt_doubled(queue: RunQueue) -> None:
    enqueue(queue, "a")
    # The process died after the folder was made and before the row was written; the person typed it again.
    copy = RunDir(queue.runs_dir / "0002-a")
    shutil.copytree(queue.runs_dir / "0001-a", copy.path)
    queue.close()
    (queue.runs_dir / QUEUE_FILE).write_bytes(b"rubbish")
    again = RunQueue(queue.runs_dir)
    assert [row.run for row in again.rows()] == ["0002-a"]
    again.close()


# --- while it is open ---


def test_a_file_that_is_damaged_while_open_is_mended_and_a_change_goes_through(queue: RunQueue) -> None:
    told: list[str] = []
    queue._on_rebuild = told.append
    enqueue(queue, "a", "b")
    with (queue.runs_dir / QUEUE_FILE).open("r+b") as file:
        file.seek(0)
        file.write(b"\0" * 5000)
    queue._db.execute("PRAGMA shrink_memory")
    row = queue.claim()
    assert row is not None
    assert (row.run, row.state) == ("0001-a", "running")
    assert len(told) == 1


def test_a_file_that_another_process_replaced_is_followed(queue: RunQueue) -> None:
    enqueue(queue, "a", "b")
    (queue.runs_dir / QUEUE_FILE).rename(queue.runs_dir / "aside.db")
    other = RunQueue(queue.runs_dir)
    control.cancel(other, [other.row("0001-a")])
    assert queue.row("0001-a").state == "cancelled"
    other.close()


_HOLD_WORKER_LOCK = """
import sys, time
from pathlib import Path
from engine.rundir import FileLock
lock = FileLock(Path(sys.argv[1]))
assert lock.acquire(5)
print("held", flush=True)
sys.stdin.readline()
"""


def test_a_run_that_is_at_work_is_found_at_work(queue: RunQueue) -> None:
    enqueue(queue, "a")
    row = queue.claim()
    assert row is not None
    run_dir = RunDir(queue.runs_dir / row.run)
    with EventLog(run_dir.events) as events:
        events.append(started(attempt=1))
    worker = subprocess.Popen(
        [sys.executable, "-c", _HOLD_WORKER_LOCK, str(run_dir.worker_lock)], env=process_environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"held\n"
    other = RunQueue(queue.runs_dir)
    other.close()
    (queue.runs_dir / QUEUE_FILE).write_bytes(b"rubbish" * 100)
    RunQueue(queue.runs_dir).close()  # another command meets the damage
    assert (queue.row(row.run).state, queue.row(row.run).attempt) == ("running", 1)
    assert queue.finish(row, "finished").state == "finished"  # the supervisor goes on as if nothing had been
    worker.communicate(b"\n", timeout=30)


def test_a_busy_queue_says_so(queue: RunQueue) -> None:
    enqueue(queue, "a")
    other = RunQueue(queue.runs_dir)
    other._db.execute("PRAGMA busy_timeout=20")
    queue._db.execute("BEGIN IMMEDIATE")
    with pytest.raises(QueueUnavailable, match="locked"):
        other.claim()
    queue._db.execute("ROLLBACK")
    assert other.claim() is not None
    other.close()


_AS_NOBODY = """
import os, sys
from pathlib import Path
from engine.errors import EngineError
from engine.queuereader import read_queue
from engine.runqueue import RunQueue
runs_dir = Path(sys.argv[1])
os.setuid(65534)
print(len(read_queue(runs_dir).rows), read_queue(runs_dir).trouble)
try:
    RunQueue(runs_dir).claim()
except EngineError as error:
    print(error.problems[0].code)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
def test_a_folder_that_may_not_be_written_is_shown_and_refused(queue: RunQueue) -> None:
    enqueue(queue, "a")
    queue.close()
    for folder in (queue.runs_dir, *queue.runs_dir.parents):
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp"):  # noqa: S108
            folder.chmod(folder.stat().st_mode | 0o055)
    told = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(queue.runs_dir)], env=process_environment(),
        capture_output=True, text=True, check=False,
    )
    assert told.stdout.split() == ["1", "Q101"], told.stderr


def test_paths_with_blanks_and_letters_of_all_kinds(tmp_path: Path) -> None:
    runs_dir = tmp_path / "läufe der nacht #1?%20 杯"
    queue = RunQueue(runs_dir)
    enqueue(queue, "a")
    queue.close()
    assert list(read_queue(runs_dir).rows) == ["0001-a"]
    (runs_dir / QUEUE_FILE).write_bytes(b"rubbish")
    again = RunQueue(runs_dir)
    assert [row.run for row in again.rows()] == ["0001-a"]
    again.close()


# --- figures ---


def test_figures_come_back_as_they_were() -> None:
    progress = fold([started(), stepped(0), measured(0), stepped(5, loss=None)])
    assert figures_progress(figures_json(progress)) == progress


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '{"unknown": 1}x', "3"])
def test_rubbish_instead_of_figures_is_none(text: str) -> None:
    assert figures_progress(text) is None


def test_figures_of_another_version_are_read_as_far_as_they_are_known() -> None:
    progress = figures_progress('{"best_ap50": 0.5, "from_the_future": 1}')
    assert progress is not None
    assert progress.best_ap50 == 0.5

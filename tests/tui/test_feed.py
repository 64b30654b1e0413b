from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.events import MessageEvent, RunStarted, StepEvent, encode_event
from engine.queuereader import read_queue
from engine.rundir import QUEUE_FILE, RunDir
from engine.runqueue import RunQueue
from tests.tui.build import an_evening, claim, enqueue, write_events
from tui.feed import (
    Change,
    Feed,
    FeedFailure,
    FeedThread,
    Fleet,
    FleetChange,
    LogChange,
    RecipeChange,
    RunChange,
)
from tui.gauges import Gauges
from tui.view import RunView


class Listener:
    """Asks a feed and keeps the latest of everything; time passes only here."""

    def __init__(self, runs_dir: Path) -> None:
        self.feed = Feed(runs_dir, read_gauges=Gauges)
        self.now = 0.0
        self.fleet = Fleet()
        self.views: dict[str, RunView] = {}
        self.log: tuple[str, ...] = ()

    def look(self, times: int = 3) -> list[Change]:
        changes = []
        for _ in range(times):
            self.now += 10
            for change in self.feed.poll(self.now):
                changes.append(change)
                self._take(change)
        return changes

    def _take(self, change: Change) -> None:
        match change:
            case FleetChange(fleet):
                self.fleet = fleet
            case RunChange(view):
                self.views[view.run_id] = view
            case LogChange(_, lines):
                self.log = lines


def step(number: int) -> StepEvent:
    return StepEvent(time=0, step=number, epoch=0, elapsed_s=1, loss=1.0, losses={}, lr=0.1)


def started() -> RunStarted:
    return RunStarted(
        attempt=1, device="cpu", num_train_images=1, num_val_images=1, num_epochs=1, num_steps=9, class_names=()
    )


def test_a_missing_folder_is_waited_for(tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    listener = Listener(runs_dir)
    listener.look()
    assert listener.fleet == Fleet(exists=False, is_known=True, is_read=True)
    enqueue(RunQueue(runs_dir), "a")
    listener.look()
    assert listener.fleet.run_ids == ("0001-a",)
    assert listener.views["0001-a"].state == "queued"


def test_looking_writes_nothing(tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    Listener(runs_dir).look()
    assert not runs_dir.exists()
    runs_dir.mkdir()
    Listener(runs_dir).look()
    assert list(runs_dir.iterdir()) == []


def test_a_whole_evening(tmp_path: Path) -> None:
    an_evening(tmp_path, with_previews=False)
    listener = Listener(tmp_path)
    listener.feed.choose("0004-desk-r50")
    listener.look()
    states = [listener.views[run].state for run in listener.fleet.run_ids]
    assert states == ["finished", "failed", "cancelled", "running", "queued", "queued"]
    assert listener.views["0002-desk-r50-lr01"].cause == "diverged"
    assert listener.views["0004-desk-r50"].steps.length == 12 * 120 + 47
    assert listener.fleet.is_read


def test_nothing_new_means_no_changes(tmp_path: Path) -> None:
    an_evening(tmp_path, with_previews=False)
    listener = Listener(tmp_path)
    listener.look()
    assert listener.look() == []


def test_events_are_followed_and_a_torn_line_waits(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "0001-a")
    run_dir.path.mkdir()
    write_events(run_dir, [started(), step(0)])
    listener = Listener(tmp_path)
    listener.look()
    line = encode_event(step(1))
    with run_dir.events.open("ab") as file:
        file.write(line[:20])
    listener.look()
    assert listener.views["0001-a"].steps.length == 1
    with run_dir.events.open("ab") as file:
        file.write(line[20:])
    listener.look()
    assert listener.views["0001-a"].steps.length == 2


def test_rubbish_is_passed_over(tmp_path: Path) -> None:
    for name in ("notes", "0001", ".hidden", "0002-"):
        (tmp_path / name).mkdir()
    (tmp_path / "0003-file").write_text("not a folder")
    run_dir = RunDir(tmp_path / "0004-a")
    run_dir.path.mkdir()
    run_dir.events.write_bytes(b'\xff\xfe{{{\n{"event":"of the future","x":1}\n[]\n' + encode_event(step(0)))
    listener = Listener(tmp_path)
    listener.look()
    assert listener.fleet.run_ids == ("0004-a",)
    assert listener.views["0004-a"].steps.length == 1


def test_an_event_log_that_is_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "0001-a" / "events.jsonl").mkdir(parents=True)
    listener = Listener(tmp_path)
    listener.look()
    assert "can't be read" in listener.views["0001-a"].trouble


def test_a_folder_may_vanish(tmp_path: Path) -> None:
    queue = RunQueue(tmp_path)
    enqueue(queue, "a", "b")
    listener = Listener(tmp_path)
    listener.look()
    shutil.rmtree(tmp_path / "0001-a")
    listener.look()
    assert listener.views["0001-a"].trouble == "its folder is gone"
    shutil.rmtree(tmp_path)
    listener.look()
    assert listener.fleet.run_ids == ()


def test_a_replaced_log_is_read_again(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "0001-a")
    run_dir.path.mkdir()
    write_events(run_dir, [step(number) for number in range(5)])
    listener = Listener(tmp_path)
    listener.look()
    run_dir.events.unlink()
    (tmp_path / "0001-a" / "other").write_bytes(encode_event(step(0)))
    (tmp_path / "0001-a" / "other").rename(run_dir.events)
    listener.look()
    assert listener.views["0001-a"].steps.length == 1


@pytest.mark.parametrize(
    "content", [b"not a database", b"", b"SQLite format 3\0" + b"\xff" * 4000], ids=["text", "empty", "torn"]
)
def test_a_damaged_queue_falls_back_to_the_folders(tmp_path: Path, content: bytes) -> None:
    an_evening(tmp_path, with_previews=False)
    (tmp_path / QUEUE_FILE).write_bytes(content)
    listener = Listener(tmp_path)
    listener.look()
    assert "can't be read" in listener.fleet.trouble
    states = [listener.views[run].state for run in listener.fleet.run_ids]
    assert states == ["finished", "failed", "queued", "unknown", "queued", "queued"]
    assert (tmp_path / QUEUE_FILE).read_bytes() == content


def test_rows_of_another_version_are_refused(tmp_path: Path) -> None:
    enqueue(RunQueue(tmp_path), "a")
    with sqlite3.connect(tmp_path / QUEUE_FILE) as db:
        db.execute("UPDATE runs SET state = 'dreaming'")
    db.close()
    assert "this version" in read_queue(tmp_path).trouble


def test_while_the_queue_is_locked_the_last_rows_stay(tmp_path: Path) -> None:
    queue = RunQueue(tmp_path)
    enqueue(queue, "a")
    listener = Listener(tmp_path)
    listener.look()
    claim(queue)
    writer = sqlite3.connect(tmp_path / QUEUE_FILE, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    listener.look(1)
    assert listener.views["0001-a"].state == "queued"
    writer.execute("ROLLBACK")
    writer.close()
    listener.look()
    assert listener.views["0001-a"].state == "running"
    assert listener.fleet.trouble == ""


def test_a_living_worker_is_seen(tmp_path: Path, hold_locks: Callable[..., None]) -> None:
    run_dir = an_evening(tmp_path, with_previews=False)
    listener = Listener(tmp_path)
    listener.look()
    assert listener.views[run_dir.run_id].is_orphaned
    hold_locks(run_dir.worker_lock, tmp_path / "supervisor.lock")
    listener.look()
    assert listener.views[run_dir.run_id].worker_alive
    assert listener.fleet.is_supervised


def test_a_paused_queue_is_seen(tmp_path: Path) -> None:
    queue = RunQueue(tmp_path)
    listener = Listener(tmp_path)
    listener.look()
    assert not listener.fleet.is_paused
    queue.pause("by hand")
    listener.look()
    assert listener.fleet.is_paused


def test_the_log_of_the_chosen_run_is_followed(tmp_path: Path) -> None:
    run_dir = an_evening(tmp_path, with_previews=False)
    listener = Listener(tmp_path)
    listener.feed.choose(run_dir.run_id)
    listener.look()
    assert listener.log[-1] == "evaluating: 100%"
    with run_dir.worker_log.open("a") as file:
        file.write("one more\n")
    listener.look()
    assert listener.log[-1] == "one more"


def test_recipes_are_read_when_asked_for(tmp_path: Path) -> None:
    an_evening(tmp_path, with_previews=False)
    listener = Listener(tmp_path)
    assert not [change for change in listener.look() if isinstance(change, RecipeChange)]
    for run_id in ("0004-desk-r50", "0099-unknown", "0004-desk-r50"):
        listener.feed.want_recipe(run_id)
    known, unknown = (change for change in listener.look() if isinstance(change, RecipeChange))
    assert known.run_id == "0004-desk-r50"
    assert known.recipe.values["training.epochs"] == "30"
    assert unknown.recipe.trouble


def test_a_long_log_is_known_by_its_ends_and_then_read_in_pieces(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "0001-a")
    run_dir.path.mkdir()
    lines = [encode_event(step(number)) for number in range(60_000)]
    run_dir.events.write_bytes(b"".join(lines))
    listener = Listener(tmp_path)
    listener.feed.choose("0001-a")
    listener.look(2)
    view = listener.views["0001-a"]
    assert view.progress.step == 60_000
    assert not view.is_whole
    assert not listener.feed.is_read
    assert 60 < view.steps.length < 200
    listener.look(6)
    assert listener.views["0001-a"].steps.length == 60_000
    assert listener.feed.is_read


def test_the_thread_tells_and_ends(tmp_path: Path) -> None:
    enqueue(RunQueue(tmp_path), "a")
    told = threading.Event()
    thread = FeedThread(Feed(tmp_path), lambda change: told.set() if isinstance(change, RunChange) else None, 0.01)
    thread.start()
    assert told.wait(5)
    thread.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_a_fault_of_our_own_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Change] = []
    feed = Feed(tmp_path)
    monkeypatch.setattr(feed, "poll", lambda: 1 / 0)
    thread = FeedThread(feed, heard.append)
    thread.start()
    thread.join(5)
    assert [type(change) for change in heard] == [FeedFailure]


def test_messages_reach_the_view(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "0001-a")
    run_dir.path.mkdir()
    write_events(run_dir, [MessageEvent(time=1, level="warning", text="dust")])
    listener = Listener(tmp_path)
    listener.look()
    assert listener.views["0001-a"].progress.message == "dust"

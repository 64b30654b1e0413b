"""The commands that control the queue, as they are typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.cli.main import _COMMANDS
from engine.cli.work import Manner, until_of
from engine.clock import next_time
from engine.events import EventLog, RunEnded
from engine.rundir import QUEUE_FILE, SUPERVISOR_LOCK, RunDir
from engine.runqueue import QueueRow, RunQueue
from tests.builders import measured, new_run, process_environment, start_engine, started, stepped, write_recipe
from tests.engine.cli.conftest import Ask


def make(run_dir: RunDir) -> None:
    run_dir.resolved.write_text(f'{{"of": "{run_dir.run_id}"}}')


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A finished, a failed and three queued runs; nobody at work."""
    queue = RunQueue(tmp_path / "runs")
    queue.enqueue([new_run(name, create=make) for name in ("done", "broken", "desk-r50", "desk-r18", "mugs")])
    for state, ended in (
        ("finished", RunEnded(outcome="finished", reason="", attempt=1)),
        ("failed", RunEnded(outcome="failed", reason="the loss exploded", cause="diverged", attempt=1)),
    ):
        row = queue.claim()
        assert row is not None
        with EventLog(RunDir(queue.runs_dir / row.run).events) as log:
            for event in (started(), stepped(0), measured(0), ended):
                log.append(event)
        queue.finish(row, state, ended.reason, ended.cause)  # type: ignore[arg-type]
    queue.close()
    return tmp_path / "runs"


def rows(runs: Path) -> dict[str, QueueRow]:
    queue = RunQueue(runs)
    found = {row.run: row for row in queue.rows()}
    queue.close()
    return found


def states(runs: Path) -> list[str]:
    return [row.state for row in rows(runs).values()]


# --- queue ---


def test_queue_shows_turns_and_reasons(engine: Ask, runs: Path) -> None:
    engine("hold", "mugs")
    answer = engine("queue")
    assert answer.code == 0
    lines = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert lines[1] == "○ 0003-desk-r50 queued - - is next"
    assert lines[2] == "○ 0004-desk-r18 queued - - after 0003-desk-r50"
    assert lines[3] == "◌ 0005-mugs held - - held by hand"
    assert lines[4:] == [
        "over: 1 finished, 1 failed; `engine status` lists them",
        "nobody is at work on the queue; `engine run` starts it",
    ]


def test_queue_as_json(engine: Ask, runs: Path) -> None:
    engine("pause", "--reason", "dinner")
    told = json.loads(engine("queue", "--json").out)
    assert (told["paused"], told["supervised"], told["until"]) == ("dinner", False, None)
    assert told["counts"] == {"finished": 1, "failed": 1, "queued": 3}
    first = told["runs"][0]
    assert (first["run"], first["turn"], first["state"], first["left_s"]) == ("0003-desk-r50", 1, "queued", None)
    assert [reason["words"] for reason in first["why"]] == [
        "the queue is paused (dinner)", "nobody is at work on the queue", "is next",
    ]


def test_queue_of_a_run_at_work(engine: Ask, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("engine.queuereader", "engine.control"):
        monkeypatch.setattr(f"{module}.is_locked", lambda path: path.name == SUPERVISOR_LOCK)
    queue = RunQueue(runs)
    row = queue.claim()
    assert row is not None
    queue.set_device(row, "cuda:1")
    with EventLog(RunDir(runs / row.run).events) as log:
        for event in (started(), stepped(0)):
            log.append(event)
    queue.close()
    assert engine("stop", "3", "--after-epoch").code == 0
    assert "epoch 1/2, is asked to stop after this epoch, cuda:1" in " ".join(engine("queue").out.split())
    assert "is at work" not in engine("explain", "3").out
    assert engine("release", "3").out == "0003-desk-r50 goes on after this epoch\n"
    assert "`engine stop 3` saves and stops it" in engine("explain", "3").out


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_queue_fits_the_terminal(engine: Ask, runs: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    queue = RunQueue(runs)
    queue.enqueue([new_run("a-name-that-is-longer-than-any-reasonable-name-" * 3, create=make)])
    queue.close()
    monkeypatch.setenv("COLUMNS", str(width))
    table = engine("queue").out.splitlines()[:-2]
    assert max(map(len, table)) <= width
    assert any("0006-a-" in line for line in table)


@pytest.mark.parametrize("command", ["queue", "status"])
def test_an_empty_or_missing_folder(engine: Ask, tmp_path: Path, command: str) -> None:
    answer = engine(command)
    assert (answer.code, answer.out.startswith("no runs in runs yet")) == (0, True)
    assert not (tmp_path / "runs").exists()


def test_a_damaged_queue_is_told_by_looking_and_mended_by_acting(engine: Ask, runs: Path) -> None:
    (runs / QUEUE_FILE).write_bytes(b"rubbish" * 1000)
    answer = engine("queue")
    assert answer.code == 1
    assert "Q106" in answer.err
    answer = engine("hold", "5")
    assert answer.code == 0
    assert "queue.damaged-" in answer.err
    assert states(runs) == ["finished", "failed", "queued", "queued", "held"]


# --- acting on runs ---


def test_ranges_patterns_and_states(engine: Ask, runs: Path) -> None:
    assert engine("hold", "desk-*").code == 0
    assert states(runs) == ["finished", "failed", "held", "held", "queued"]
    assert engine("release", "held").code == 0
    assert engine("cancel", "4-").code == 0
    assert states(runs) == ["finished", "failed", "queued", "cancelled", "cancelled"]
    answer = engine("retry", "failed", "cancelled")
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == "nobody is at work on the queue; `engine run` starts it"
    assert states(runs) == ["finished"] + ["queued"] * 4


def test_what_is_refused_is_told_and_gives_exit_code_one(engine: Ask, runs: Path) -> None:
    answer = engine("hold", "1", "3")
    assert answer.code == 1
    assert "0003-desk-r50 is held" in answer.out
    assert "Q108" in answer.err
    assert "0001-done" in answer.err
    assert states(runs)[2] == "held"


@pytest.mark.parametrize("command", ["hold", "release", "stop", "cancel", "retry", "remove", "explain"])
def test_a_run_that_isnt_there(engine: Ask, runs: Path, command: str) -> None:
    answer = engine(command, "nobody")
    assert answer.code == 1
    assert 'Q103 no run "nobody"' in answer.err


@pytest.mark.parametrize("command", ["hold", "release", "stop", "cancel", "retry", "pause", "unpause", "remove"])
def test_a_folder_that_isnt_there_is_not_made(engine: Ask, tmp_path: Path, command: str) -> None:
    answer = engine(command, *([] if "pause" in command else ["1"]))
    assert (answer.code, "there is no runs folder here" in answer.err) == (1, True)
    assert not (tmp_path / "runs").exists()


def test_move_and_priority(engine: Ask, runs: Path) -> None:
    assert engine("move", "mugs", "--first").code == 0
    assert engine("move", "3", "--after", "desk-r18").out == "0003-desk-r50 comes after 0004-desk-r18\n"
    assert engine("priority", "4", "-5").code == 0
    queue = RunQueue(runs)
    assert [row.number for row in queue.rows_in("queued")] == [5, 3, 4]
    queue.close()


@pytest.mark.parametrize("arguments", [("3",), ("3", "--first", "--last"), ("3", "--first", "--before", "4")])
def test_move_wants_one_place(engine: Ask, runs: Path, arguments: tuple[str, ...]) -> None:
    answer = engine("move", *arguments)
    assert (answer.code, "say where to" in answer.err) == (2, True)


def test_move_beside_several_runs_or_itself_is_refused(engine: Ask, runs: Path) -> None:
    assert "Q109" in engine("move", "5", "--before", "desk-*").err
    assert "beside itself" in engine("move", "5", "--before", "5").err
    assert "doesn't wait" in engine("move", "5", "--before", "1").err


@pytest.mark.parametrize("priority", ["1001", "-1001", "high"])
def test_a_priority_out_of_range(engine: Ask, runs: Path, priority: str) -> None:
    assert engine("priority", "3", priority).code == 2


def test_pause_and_unpause(engine: Ask, runs: Path) -> None:
    assert engine("pause").code == 0
    assert "the queue is paused (paused by hand)" in engine("queue").out
    assert engine("unpause").out.splitlines()[0] == "the queue goes on"
    assert engine("unpause").out.splitlines()[0] == "the queue wasn't paused"


def test_remove_asks_and_needs_a_yes_where_nobody_can_answer(
    engine: Ask, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = engine("remove", "2")
    assert (answer.code, "Q111" in answer.err) == (1, True)
    assert engine("remove", "2", "3", "--yes").code == 0
    assert list(rows(runs)) == ["0001-done", "0004-desk-r18", "0005-mugs"]
    assert (runs / "removed" / "0002-broken" / "events.jsonl").exists()
    assert engine("remove", "--undo", "0002-broken", "0003-desk-r50").code == 0
    assert [row.state for row in rows(runs).values()] == ["finished", "failed", "held", "queued", "queued"]


_TYPE = """
import os, pty, sys
answer = sys.argv[1]
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.executable, [sys.executable, "-m", "engine.cli.main", *sys.argv[2:]])
seen = b""
while b"[y/N]" not in seen:
    seen += os.read(terminal, 1000)
os.write(terminal, answer.encode() + b"\\n")
try:
    while piece := os.read(terminal, 1000):
        seen += piece
except OSError:
    pass
_, status = os.waitpid(child, 0)
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 4), ("n", 1, 5), ("", 1, 5)])
def test_remove_asks_on_a_terminal(runs: Path, answer: str, code: int, left: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TYPE, answer, "remove", "2"], cwd=runs.parent, env=process_environment(),
        capture_output=True, timeout=60, check=False,
    )
    assert (done.returncode, len(rows(runs))) == (code, left), done.stdout
    assert b"0002-broken  failed" in done.stdout


# --- explain ---


def test_explain_tells_why_and_what_to_do(engine: Ask, runs: Path) -> None:
    answer = engine("explain", "broken")
    assert answer.code == 0
    assert answer.out.splitlines()[:2] == ["0002-broken  failed", "  failed (diverged): the loss exploded"]
    assert "    correct broken.toml and `engine run` it, which makes a new run; `engine retry 2` would" in answer.out
    assert "best AP50 0.200 (epoch 1)" in engine("explain", "1").out
    waits = engine("explain", "4").out
    assert "nobody is at work on the queue" in waits
    assert "after 0003-desk-r50" in waits


def test_explain_still_explains_recipes(engine: Ask, runs: Path, tmp_path: Path, dataset: Path) -> None:
    write_recipe(tmp_path, dataset, "tiny")
    assert "batch_size" in engine("explain", "tiny.toml").out
    assert "optimizer.lr = 0.01" in engine("explain", "tiny.toml", "optimizer.lr").out
    assert engine("explain", "missing.toml").code == 1


# --- add, clean ---


def test_add_queues_without_training(engine: Ask, tmp_path: Path, dataset: Path) -> None:
    recipes = [write_recipe(tmp_path, dataset, name, training={"seed": seed}) for seed, name in enumerate("ab")]
    answer = engine("add", "--no-rehearsal", *recipes)
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[:2] == ["queued 0001-a", "queued 0002-b"]
    other = write_recipe(tmp_path, dataset, "c", training={"seed": 7})
    again = engine("add", "--no-rehearsal", "--hold", recipes[0], other)
    assert "0001-a is the same recipe and queued already" in again.out
    assert states(tmp_path / "runs") == ["queued", "queued", "held"]
    write_recipe(tmp_path, dataset, "d", training={"seed": 9})
    assert engine("add", "--no-rehearsal", "--first", "d.toml").code == 0
    queue = RunQueue(tmp_path / "runs")
    assert [row.run[5:] for row in queue.rows_in("queued")] == ["d", "a", "b"]
    queue.close()
    assert not list((tmp_path / "runs").glob("*/events.jsonl"))


def test_add_refuses_what_is_wrong(engine: Ask, tmp_path: Path, dataset: Path) -> None:
    (tmp_path / "bad.toml").write_text("name = 3\n")
    good = write_recipe(tmp_path, dataset)
    assert engine("add", "--no-rehearsal", good, "bad.toml").code == 1
    assert not (tmp_path / "runs").exists() or states(tmp_path / "runs") == []
    assert engine("add", "--no-rehearsal", "--skip-bad", good, "bad.toml").code == 1
    assert states(tmp_path / "runs") == ["queued"]


def test_clean_lists_first_and_deletes_when_told(engine: Ask, runs: Path) -> None:
    run_dir = RunDir(runs / "0001-done")
    run_dir.last_checkpoint.parent.mkdir()
    for path in (run_dir.best_checkpoint, run_dir.last_checkpoint):
        path.write_bytes(b"x" * 2_000_000)
    answer = engine("clean")
    assert answer.code == 0
    assert "   2 MB  runs/0001-done/checkpoints/last.pt  (the last state of a finished run)" in answer.out
    assert "2 MB in all; nothing was deleted" in answer.out
    assert run_dir.last_checkpoint.exists()
    assert engine("clean", "2").out == "nothing could go\n"
    assert engine("clean", "--yes").out == "2 MB freed\n"
    assert (run_dir.last_checkpoint.exists(), run_dir.best_checkpoint.exists()) == (False, True)
    engine("remove", "1", "--yes")
    assert engine("clean", "--removed", "--yes").code == 0
    assert not (runs / "removed" / "0001-done").exists()


# --- settings and until ---


def test_wrong_settings_are_told_before_anything_is_queued(
    engine: Ask, tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "engine").mkdir(parents=True)
    (tmp_path / "config" / "engine" / "settings.toml").write_text("[notice]\nbel = true\n")
    answer = engine("run", "--no-rehearsal", write_recipe(tmp_path, dataset))
    assert answer.code == 1
    assert "E110" in answer.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("until", ["7:00", "25:00", "tomorrow", "2026-13-01T07:00", "2026-02-30T07:00"])
def test_a_time_that_is_none_is_refused(engine: Ask, tmp_path: Path, until: str) -> None:
    assert engine("run", "--until", until).code == 2


# --- completion ---


def complete(folder: Path, *words: str, shell: str = "bash") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli.main"], cwd=folder, check=True, capture_output=True, text=True,
        env={
            **process_environment(), "_ENGINE_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": " ".join(("engine", *words)), "COMP_CWORD": str(len(words)),
        },
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_the_shell_completes_commands_runs_and_states(runs: Path) -> None:
    folder = runs.parent
    assert complete(folder, "re") == [name for name in _COMMANDS if name.startswith("re")]
    assert complete(folder, "hold", "desk") == ["desk-r18", "desk-r50"]
    assert complete(folder, "hold", "000") == [f"000{number}-{name}" for number, name in (
        (5, "mugs"), (4, "desk-r18"), (3, "desk-r50"), (2, "broken"), (1, "done"))]
    assert complete(folder, "retry", "fa") == ["failed"]
    assert complete(folder, "move", "5", "--before", "mu") == ["mugs"]
    assert complete(folder, "move", "5", "--fi") == ["--first"]
    (runs / QUEUE_FILE).write_bytes(b"rubbish" * 100)
    assert complete(folder, "hold", "desk") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_what_to_load(engine: Ask, shell: str) -> None:
    answer = engine("completion", shell)
    assert answer.code == 0
    assert "_ENGINE_COMPLETE" in answer.out


# --- a folder that may not be written, and letters of all kinds ---

_AS_NOBODY = """
import os, sys
from engine.cli import queue, hold, status
from engine.cli.main import main
import engine.standing, engine.selection, rich.table
os.setuid(65534)
sys.argv = ["engine", *sys.argv[1:]]
main()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
def test_a_folder_that_may_only_be_read(runs: Path) -> None:
    for folder in (runs, *runs.parents[:-2]):
        folder.chmod(0o755)

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, *arguments], cwd=runs.parent, env=process_environment(),
            capture_output=True, text=True, check=False,
        )

    told = ask("queue")
    assert (told.returncode, "0003-desk-r50" in told.stdout) == (0, True), told.stderr
    told = ask("hold", "3")
    assert (told.returncode, "Q101" in told.stderr) == (1, True), told.stderr
    assert "make the runs folder writable" in told.stderr
    assert states(runs)[2] == "queued"


def test_a_folder_with_blanks_and_letters_of_all_kinds(engine: Ask, runs: Path) -> None:
    moved = runs.rename(runs.with_name("läufe der nacht 杯"))
    assert engine("hold", "3", "--runs", moved).code == 0
    assert engine("queue", "--runs", moved).code == 0
    assert states(moved)[2] == "held"
    assert engine("release", "3", "--runs", moved).out.splitlines()[-1].endswith(f"--runs {moved}` starts it")


# --- the end of a night ---


@pytest.mark.parametrize(
    ("typed", "former", "expected"),
    [
        ("", None, None), ("", 50.0, None), ("", 4e9, 4e9), ("never", 4e9, None), ("2033-05-18T07:00", 4e9, "typed"),
    ],
    ids=["no end", "an end long past", "the end of a night cut short", "no end by will", "as typed"],
)
def test_until_when_work_goes_on(tmp_path: Path, typed: str, former: float | None, expected: object) -> None:
    queue = RunQueue(tmp_path)
    queue.set_until(former)
    wanted = next_time(typed, 0.0) if expected == "typed" else expected
    assert until_of(queue, Manner(tmp_path, until=typed)) == wanted
    queue.close()


@pytest.mark.slow
def test_a_night_ends_on_time_and_goes_on(tmp_path: Path, dataset: Path) -> None:
    recipe = write_recipe(tmp_path, dataset, training={"epochs": 10_000}, previews={"num_images": 0})
    seconds = 60 - time.localtime().tm_sec
    until = time.strftime("%H:%M", time.localtime(time.time() + seconds + 65))
    night = start_engine(tmp_path, "run", "--no-rehearsal", str(recipe), "--until", until)
    assert night.wait(300) == 0, night.output
    assert "time is up" in night.output
    [row] = rows(tmp_path / "runs").values()
    assert (row.state, row.cause) == ("queued", "parked")
    assert RunDir(tmp_path / "runs" / row.run).last_checkpoint.exists()

"""`engine status` and `engine logs`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.cli.status import reason_lines
from engine.events import EventLog, RunEnded
from engine.forecast import Figures, Forecast, forecast_bytes
from engine.rundir import SUPERVISOR_LOCK, FileLock, RunDir
from engine.runqueue import RunQueue
from tests.builders import measured, new_run, process_environment, started, stepped
from tests.engine.cli.conftest import Ask

# What the first issue promises to scripts.
PROMISED = {"run", "state", "reason", "epoch", "epochs", "best_ap", "best_ap50", "elapsed_s", "eta_s"}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished, a failed, a running and a queued run; somebody is at work on them."""
    monkeypatch.setattr("engine.queuereader.is_locked", lambda path: path.name == SUPERVISOR_LOCK)
    queue = RunQueue(tmp_path / "runs")
    queue.enqueue([new_run(name) for name in ("done", "broken", "busy", "waiting")])
    steps = [stepped(step) for step in range(5)]
    for name, events in {
        "0001-done": [started(), *steps, measured(0), RunEnded(outcome="finished", reason="", elapsed_s=60)],
        "0002-broken": [started(), RunEnded(outcome="failed", reason="the loss\x1b[31m", cause="diverged")],
        "0003-busy": [started(), *steps, measured(0, ap=None, ap50=None), stepped(5)],
    }.items():
        with EventLog(RunDir(queue.runs_dir / name).events) as log:
            for event in events:
                log.append(event)
    for state, reason, cause in (("finished", "", ""), ("failed", "the loss\x1b[31m", "diverged")):
        row = queue.claim()
        assert row is not None
        queue.finish(row, state, reason, cause)  # type: ignore[arg-type]
    queue.claim()
    queue.close()
    return tmp_path / "runs"


def test_status_as_json(engine: Ask, runs: Path) -> None:
    answer = engine("status", "--json")
    assert answer.code == 0
    done, broken, busy, waiting = json.loads(answer.out)
    assert all(one.keys() >= PROMISED for one in (done, broken, busy, waiting))
    assert (done["run"], done["state"], done["epoch"], done["epochs"]) == ("0001-done", "finished", 1, 2)
    assert (done["best_ap"], done["best_ap50"], done["elapsed_s"], done["eta_s"]) == (0.1, 0.2, 60.0, None)
    assert (broken["state"], broken["reason"], broken["cause"]) == ("failed", "the loss\x1b[31m", "diverged")
    assert (busy["state"], busy["epoch"], busy["best_ap50"]) == ("running", 2, None)
    assert busy["eta_s"] == pytest.approx(4 * 2.0 + 3.0)
    assert (waiting["state"], waiting["epoch"], waiting["epochs"], waiting["eta_s"]) == ("queued", 0, None, None)


def test_status_as_a_table(engine: Ask, runs: Path) -> None:
    answer = engine("status")
    assert answer.code == 0
    lines = answer.out.splitlines()
    for run, state in (("done", "finished"), ("broken", "failed"), ("busy", "running"), ("waiting", "queued")):
        [line] = [line for line in lines if run in line and state in line]
        assert line.index(run) < line.index(state)
    assert "the loss\\x1b[31m" in answer.out
    assert "\x1b" not in answer.out


def foretell(runs: Path, run: str, *, may_end_early: bool = False) -> None:
    """Say of a run that it takes 100 s, as a rehearsal would."""
    figures = Figures(
        device="cpu", batch_size=4, micro_batch_size=4, startup_s=10, step_s=1, evaluate_image_s=0, peak_bytes=1,
        available_bytes=2, num_train_images=4, num_val_images=0,
    )
    forecast = Forecast(
        figures=figures, num_epochs=1, run_s=100, may_end_early=may_end_early, rehearsed_at=time.time()
    )
    RunDir(runs / run).forecast.write_bytes(forecast_bytes(forecast))


def test_a_rehearsed_run_that_waits_is_foretold(
    engine: Ask, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.control.is_locked", lambda path: path.name == SUPERVISOR_LOCK)
    assert "queue done" not in engine("status").out
    foretell(runs, "0004-waiting", may_end_early=True)
    begun = time.time()
    waiting = json.loads(engine("status", "--json").out)[3]
    assert waiting["left_s"] == 100
    assert waiting["done_at"] - begun == pytest.approx(4 * 2.0 + 3.0 + 100, abs=30)
    assert waiting["at_the_latest"]
    answer = engine("status")
    assert "queue done about " in answer.out
    assert answer.out.rstrip().endswith("at the latest")
    assert "1:40 min" in answer.out


def test_without_anybody_at_work_only_the_duration_is_told(engine: Ask, tmp_path: Path) -> None:
    queue = RunQueue(tmp_path / "runs")
    queue.enqueue([new_run("waiting")])
    queue.close()
    foretell(tmp_path / "runs", "0001-waiting")
    assert "nobody is at work; what is queued takes about 1:40 min" in engine("status").out


@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=["table", "json"])
def test_status_of_no_runs(engine: Ask, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    answer = engine("status", *arguments)
    assert answer.code == 0
    assert json.loads(answer.out) == [] if arguments else "no runs in runs yet" in answer.out
    assert not (tmp_path / "runs").exists()


def test_the_runs_folder_may_be_named_by_option_or_environment(
    engine: Ask, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = runs.rename(runs.with_name("elsewhere"))
    assert len(json.loads(engine("status", "--json", "--runs", moved).out)) == 4
    monkeypatch.setenv("ENGINE_RUNS", str(moved))
    assert len(json.loads(engine("status", "--json").out)) == 4


def test_the_runs_folder_may_be_named_as_for_the_dashboard(engine: Ask, runs: Path) -> None:
    moved = runs.rename(runs.with_name("night"))
    assert "0001" in engine("status", str(moved)).out
    assert "no runs" in engine("status").out


def test_status_of_a_run_whose_folder_is_gone(engine: Ask, runs: Path) -> None:
    (runs / "0001-done" / "events.jsonl").unlink()
    (runs / "0001-done").rmdir()
    done, broken, *_ = json.loads(engine("status", "--json").out)
    assert (done["state"], done["epoch"], done["best_ap50"]) == ("finished", 1, 0.2)  # its row remembers
    (runs / "0002-broken" / "events.jsonl").unlink()
    assert broken["epoch"] == 0


_DIVERGED = "T201 the loss diverged at step 5 (fix: lower optimizer.lr (try a tenth))"


def test_a_reason_is_told_in_words_and_what_to_do_below(runs: Path) -> None:
    queue = RunQueue(runs)
    row = queue.finish(queue.rows_in("running")[0], "failed", _DIVERGED, "diverged")
    queue.close()
    assert reason_lines(row).plain == "✘ 3 the loss diverged at step 5 (T201) → lower optimizer.lr (try a tenth)"
    assert reason_lines(row, 44).plain.splitlines() == [
        "✘ 3 the loss diverged at step 5 (T201)", "    → lower optimizer.lr (try a tenth)",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 99, 120])
def test_every_width_shows_the_best_ap(engine: Ask, runs: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    head, done, *_ = engine("status").out.splitlines()
    assert len(head.rstrip()) <= width
    assert "best AP" in head
    assert "0.100" in done


# --- logs ---


@pytest.mark.parametrize("name", ["0001-done", "1", "done"])
def test_logs_prints_what_the_worker_wrote(engine: Ask, runs: Path, name: str) -> None:
    RunDir(runs / "0001-done").worker_log.write_text("one\n\ttwo é\n\x1b[31mthree\r\n")
    answer = engine("logs", name)
    assert (answer.code, answer.out) == (0, "one\n\ttwo é\n\\x1b[31mthree\\r\n")


@pytest.mark.parametrize(
    ("lines", "printed"),
    [("1", "c\n"), ("2", "b\nc\n"), ("3", "a\nb\nc\n"), ("9", "a\nb\nc\n"), ("0", "a\nb\nc\n")],
)
def test_the_last_lines_of_a_log(engine: Ask, runs: Path, lines: str, printed: str) -> None:
    RunDir(runs / "0001-done").worker_log.write_text("a\nb\nc\n")
    assert engine("logs", "1", "-n", lines).out == printed


def test_an_empty_and_a_missing_log(engine: Ask, runs: Path) -> None:
    RunDir(runs / "0001-done").worker_log.touch()
    assert engine("logs", "1", "-n", "3").out == ""
    answer = engine("logs", "4")
    assert answer.code == 1
    assert "no log yet" in answer.err


def test_logs_of_several_runs_each_under_its_name(engine: Ask, runs: Path) -> None:
    for name, text in (("0001-done", "a\n"), ("0002-broken", "b\n")):
        RunDir(runs / name).worker_log.write_text(text)
    for words in (("1-2",), ("done", "broken"), ("1", "0002-broken", "1")):
        assert engine("logs", *words).out == "==> 0001-done <==\na\n==> 0002-broken <==\nb\n"
    answer = engine("logs", "2-3", "-n", "1")
    assert answer.out.splitlines()[-1] == "==> 0003-busy has no log yet <=="
    assert (engine("logs", "3-4").code, engine("logs", "1-2", "--follow").code) == (1, 2)
    assert 'no run "9"' in engine("logs", "1", "9").err


def test_following_a_run_that_is_over_ends(engine: Ask, runs: Path) -> None:
    RunDir(runs / "0001-done").worker_log.write_text("a\n")
    assert engine("logs", "1", "--follow").out == "a\n"


def test_a_log_that_grew_too_long_is_printed_from_its_beginning(engine: Ask, runs: Path) -> None:
    run_dir = RunDir(runs / "0001-done")
    run_dir.worker_log_first.write_text("a\n")
    run_dir.worker_log_before.write_text("y\n")
    run_dir.worker_log.write_text("z\n")
    assert engine("logs", "1").out == "a\n[... some of the log may not have been kept ...]\ny\nz\n"
    assert engine("logs", "1", "-n", "1").out == "z\n"


def test_following_goes_on_in_the_new_part_of_a_log(runs: Path) -> None:
    run_dir = RunDir(runs / "0001-done")
    run_dir.worker_log.write_text("a\n")
    lock = FileLock(run_dir.worker_lock)
    assert lock.acquire()
    command = [sys.executable, "-m", "engine.cli.main", "logs", "1", "-f", "--runs", str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=process_environment()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "a\n"
        with run_dir.worker_log.open("a") as file:
            file.write("b\n")
        run_dir.worker_log.rename(run_dir.worker_log_first)
        run_dir.worker_log.write_text("c\n")
        assert [process.stdout.readline() for _ in range(2)] == ["b\n", "c\n"]
        lock.release()
        assert process.wait(20) == 0


def test_a_letter_across_two_pieces_of_a_long_log_is_whole(
    engine: Ask, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cli.logs._CHUNK_BYTES", 3)
    RunDir(runs / "0001-done").worker_log.write_text("aéébü杯\n", encoding="utf-8")
    assert engine("logs", "1").out == "aéébü杯\n"

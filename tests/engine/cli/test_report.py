"""`engine report`, and the report that a queue makes at its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.nightreport import report_night
from engine.rundir import RunDir
from engine.runqueue import RunQueue
from tests.builders import process_environment
from tests.engine.cli.conftest import Ask
from tests.engine.report.nights import add_run, training_events


@pytest.fixture
def runs(tmp_path: Path, dataset: Path, queue: RunQueue) -> Path:
    for name in ("a", "b"):
        add_run(queue, tmp_path, dataset, name, training_events(), training={"seed": ord(name)})
    return queue.runs_dir


def test_a_night_gets_a_new_file_each_time(runs: Path, engine: Ask) -> None:
    for _ in range(2):
        answer = engine("report")
        assert answer.code == 0, answer.err
        assert "2 runs: runs/reports/" in answer.out
    reports = list((runs / "reports").glob("*.html"))
    assert len(reports) == 2
    assert all("0002-b" in report.read_text() for report in reports)


@pytest.mark.parametrize("name", ["1", "0001-a", "a", "runs/0001-a"])
def test_one_run_has_its_own(runs: Path, engine: Ask, name: str) -> None:
    assert engine("report", name).code == 0
    report = RunDir(runs / "0001-a").html_report.read_text()
    assert "0001-a" in report
    assert "0002-b" not in report


def test_a_file_is_never_overwritten(runs: Path, tmp_path: Path, engine: Ask) -> None:
    (tmp_path / "mine.html").write_text("mine")
    answer = engine("report", "all", "--out", "mine.html")
    assert answer.code == 1
    assert "X104" in answer.err
    assert (tmp_path / "mine.html").read_text() == "mine"
    assert engine("report", "all", "--out", "new.html").code == 0


@pytest.mark.parametrize(("arguments", "code"), [((), "Q103"), (("nothing",), "Q103")])
def test_without_runs_there_is_nothing_to_report(engine: Ask, arguments: tuple[str, ...], code: str) -> None:
    answer = engine("report", *arguments)
    assert answer.code == 1
    assert code in answer.err


def test_a_run_explained_tells_its_curve(runs: Path, engine: Ask) -> None:
    answer = engine("explain", "1")
    assert "smooth downward curve that plateaus" in answer.out


def work_off(folder: Path, *names: str) -> str:
    command = [sys.executable, "-m", "tests.fakecrew", "--plain", *names]
    environment = {**process_environment(), "FAKE_STEP_S": "0", "FAKE_STEPS": "40"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def test_a_queue_ends_with_its_report(tmp_path: Path) -> None:
    told = work_off(tmp_path, "a", "b")
    [report] = (tmp_path / "runs" / "reports").glob("*.html")
    assert f"report: runs/reports/{report.name}" in told
    assert "0001-a: the loss stays flat" in told  # the fake's is always 1
    assert "2 finished" in report.read_text()
    run_dir = RunDir(tmp_path / "runs" / "0001-a")
    assert run_dir.html_report.exists()
    assert run_dir.loss_curve.exists()


def test_a_report_that_cannot_be_made_harms_nothing(runs: Path) -> None:
    (runs / "reports").write_text("a file where the folder should be")
    assert report_night(runs, ["0001-a", "0002-b"]) is None


def test_a_report_that_takes_too_long_is_given_up(runs: Path) -> None:
    assert report_night(runs, ["0001-a", "0002-b"], patience_s=0) is None
    assert report_night(runs, ["0001-a", "0002-b"], lambda: True) is None
    assert report_night(runs, []) is None

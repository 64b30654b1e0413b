"""What `engine run` says without a terminal, and the words that commands share."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from engine.cli.live import LiveTable, PlainLines, plain_line
from engine.cli.options import count, duration, figure
from engine.cli.printing import print_problems, shown_path
from engine.errors import Problem, Where
from engine.events import Event, EventLog, MessageEvent, RunEnded, rewind
from engine.progress import RunProgress, fold
from engine.rundir import RunDir
from engine.runqueue import QueueRow, RunQueue
from tests.builders import measured, new_run, started, stepped


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, "-"), (math.nan, "-"), (math.inf, "-"), (0, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"),
        (187, "3:07 min"), (3599.9, "1:00 h"), (7500, "2:05 h"), (360_000, "100:00 h"),
    ],
)
def test_durations(seconds: float | None, told: str) -> None:
    assert duration(seconds) == told


def test_numbers_and_nouns() -> None:
    assert (figure(None), figure(0.12345), figure(2, 1)) == ("-", "0.123", "2.0")
    assert (count(0, "run"), count(1, "run"), count(2, "run")) == ("0 runs", "1 run", "2 runs")


def test_paths_are_told_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(str(tmp_path / "a" / "b")) == "a/b"
    assert shown_path("/elsewhere/b") == "/elsewhere/b"
    assert shown_path("") == ""


def test_a_hostile_name_is_told_safely(capsys: pytest.CaptureFixture[str]) -> None:
    print_problems([Problem("D109", Where("a\x1b[31m.jpg"), "[bold]not markup[/] \x1b[2J", "remove \u202e it")])
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "[bold]not markup[/]" in told


@pytest.mark.parametrize(
    ("event", "line"),
    [
        pytest.param(stepped(0), "first step, loss 1.000", id="first step"),
        pytest.param(stepped(1), "", id="another step"),
        pytest.param(stepped(0, loss=None), "first step, loss -", id="a loss that isn't a number"),
        pytest.param(MessageEvent(level="warning", text="careful"), "warning: careful", id="message"),
    ],
)
def test_an_event_as_a_line(event: Event, line: str) -> None:
    assert plain_line(event, RunProgress()) == line


def test_an_epoch_as_a_line() -> None:
    event = measured(0, ap=None, best=True)
    line = plain_line(event, fold([started(), stepped(0), event]))
    for part in ("epoch 1/2", "val loss 1.000", "AP -", "AP50 0.200", "best so far"):
        assert part in line


# --- shows ---


@pytest.fixture
def row(queue: RunQueue) -> QueueRow:
    queue.enqueue([new_run("a")])
    claimed = queue.claim()
    assert claimed is not None
    return claimed


def write(run_dir: RunDir, *events: Event) -> int:
    with EventLog(run_dir.events) as log:
        for event in events:
            log.append(event)
        return log.sync()


def test_plain_lines_tell_a_resumed_run_without_its_past(queue: RunQueue, row: QueueRow) -> None:
    run_dir = RunDir(queue.runs_dir / row.run)
    saved_at = write(run_dir, started(time=1), stepped(0, time=2), measured(0, time=3))
    write(run_dir, RunEnded(outcome="stopped", reason="asked", time=4))
    output = io.StringIO()
    show = PlainLines(Console(file=output, width=200), queue.runs_dir)
    show.start(replace(row, attempt=2))
    show.tick()
    rewind(run_dir.events, saved_at)
    write(run_dir, started(attempt=2, first_step=5), MessageEvent(level="note", text="going on"), measured(1))
    show.tick()
    show.end(row)
    told = output.getvalue()
    assert "epoch 1/2" not in told
    assert "first step" not in told
    assert told.count("training on cpu") == 1
    assert "note: going on" in told
    assert "epoch 2/2" in told


def test_the_live_table_shows_a_run_and_its_rest(queue: RunQueue, row: QueueRow) -> None:
    queue.enqueue([new_run(f"next{number}") for number in range(40)])
    write(RunDir(queue.runs_dir / row.run), started(), stepped(0), measured(0))
    output = io.StringIO()
    table = LiveTable(Console(file=output, width=200, force_terminal=True, markup=False, highlight=False), queue)
    table.start(row)
    table.tick()
    table.note("a \x1b[31mnote")
    table.end(queue.finish(row, "failed", "why"))
    table.close()
    told = output.getvalue()
    for part in ("0001-a", "1/2", "why", "more runs not shown", "a \\x1b[31mnote"):
        assert part in told

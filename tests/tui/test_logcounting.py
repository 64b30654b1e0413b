"""How many lines of a log hold what is searched, and which one is looked at."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.rundir import RunDir
from tui.logcounting import CountRequest, CountThread, LogCount, count_matches
from tui.logreader import Level


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    run_dir = RunDir(tmp_path / "0001-a")
    run_dir.path.mkdir()
    return run_dir


class Counter:
    """A thread that counts, and what it told."""

    def __init__(self, run_dir: RunDir) -> None:
        self.told: list[LogCount] = []
        self.thread = CountThread(run_dir.path.parent, self.told.append)

    def count(self, found: int, needle: str = "x", level: Level = "all") -> LogCount:
        request = CountRequest("0001-a", needle, level, found)
        self.thread.ask(request)
        deadline = time.monotonic() + 60
        while not (self.told and self.told[-1].request == request and self.told[-1].is_done):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return self.told[-1]


def test_a_match_has_a_number_and_more_are_counted_as_the_log_grows(run_dir: RunDir) -> None:
    lines = [b"a x x\n", b"b\n", b"c X\n", b"d\n", b"e x\n"]
    run_dir.worker_log.write_bytes(b"".join(lines) + b"begun x")
    counter = Counter(run_dir)
    places = [sum(map(len, lines[:index])) for index in (0, 2, 4)]
    assert [counter.count(place).number for place in places] == [1, 2, 3]
    assert counter.told[-1].total == 3
    begun = counter.count(sum(map(len, lines)))
    assert (begun.number, begun.total) == (None, 3)  # of a line that isn't whole yet
    with run_dir.worker_log.open("ab") as file:
        file.write(b" and done\nx\n")
    assert counter.count(places[1]).total == 5
    counter.thread.stop()


def test_a_log_of_many_pieces_and_files_is_counted_once(run_dir: RunDir) -> None:
    line = b"step %07d loss 0.1\n"
    content = b"".join(line % number for number in range(120_000))
    run_dir.worker_log_first.write_bytes(content[: len(content) // 2 // 25 * 25])
    run_dir.worker_log.write_bytes(content[len(content) // 2 // 25 * 25 :])
    counter = Counter(run_dir)
    size = len(line % 0)
    for number in (0, 5, 60_000, 119_999):
        found = counter.count(number * size, "loss")
        assert (found.number, found.total) == (number + 1, 120_000)
    every = counter.count(119_990 * size, "9990 loss")
    assert (every.number, every.total) == (12, 12)
    counter.thread.stop()


@pytest.mark.parametrize(
    ("some", "needle", "level", "number"),
    [
        pytest.param(b"", "a", "all", 0, id="nothing"),
        pytest.param(b"Loss\nloss\nLOSS loss\n", "loss", "all", 3, id="any case"),
        pytest.param(b"Loss\nloss\n", "Loss", "all", 1, id="this case"),
        pytest.param(b"a.b\naxb\n", ".", "all", 1, id="no pattern"),
        pytest.param(b"\x1b[31mred\x1b[0m 31\n\x1b[31mred\n", "31", "all", 1, id="not in colours"),
        pytest.param(b"10 %\r50 %\n", "10", "all", 0, id="not in what was written over"),
        pytest.param(b"error a\nb a\nwarning a\n", "a", "errors", 1, id="errors"),
        pytest.param(b"error a\nb a\nwarning a\n", "a", "warnings", 2, id="warnings"),
    ],
)
def test_lines_that_show_it_count(some: bytes, needle: str, level: Level, number: int) -> None:
    assert count_matches(some, needle, level) == number


def test_a_vanished_log_is_no_failure(run_dir: RunDir) -> None:
    counter = Counter(run_dir)
    assert counter.count(0).total == 0
    counter.thread.stop()
    counter.thread.join(10)
    assert not counter.thread.is_alive()

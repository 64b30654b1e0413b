from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.rundir import RunDir
from tui.logreader import PAGE_LINES, Asked, Level, LogPage, LogReader, LogRequest, LogThread


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    run_dir = RunDir(tmp_path / "0001-a")
    run_dir.path.mkdir()
    return run_dir


def ask(run_dir: RunDir, asked: Asked = "end", place: int = 0, level: Level = "all", needle: str = "") -> LogPage:
    told: list[LogPage] = []
    LogReader(run_dir.path.parent, told.append).answer(LogRequest(run_dir.run_id, asked, place, level, needle))
    assert all(not page.is_done for page in told[:-1])
    assert told[-1].is_done
    return told[-1]


def texts(page: LogPage) -> list[str]:
    return [line.text for line in page.lines]


def numbered(count: int) -> bytes:
    return b"".join(b"line %d of the log\n" % number for number in range(count))


def test_no_log_is_an_empty_page(run_dir: RunDir) -> None:
    assert ask(run_dir) == LogPage(LogRequest("0001-a"))


def test_the_end_is_a_page_and_the_rest_can_be_reached(run_dir: RunDir) -> None:
    content = numbered(100_000)
    run_dir.worker_log.write_bytes(content)
    page = ask(run_dir)
    assert texts(page)[-1] == "line 99999 of the log"
    assert len(page.lines) == PAGE_LINES
    assert page.end == page.size_bytes == len(content)
    seen = texts(page)
    while page.begin > 0:
        page = ask(run_dir, "before", page.begin)
        seen[:0] = texts(page)
    assert seen == content.decode().splitlines()


def test_the_start_is_a_page_and_the_rest_can_be_reached(run_dir: RunDir) -> None:
    content = numbered(20_000)
    run_dir.worker_log.write_bytes(content)
    page = ask(run_dir, "start")
    seen = texts(page)
    while page.end < page.size_bytes:
        page = ask(run_dir, "after", page.end)
        seen += texts(page)
    assert seen == content.decode().splitlines()


def test_a_line_that_has_not_ended_is_read_again(run_dir: RunDir) -> None:
    run_dir.worker_log.write_bytes(b"one\ntwo")
    page = ask(run_dir)
    assert texts(page) == ["one", "two"]
    with run_dir.worker_log.open("ab") as file:
        file.write(b" and more\nthree\n")
    assert texts(ask(run_dir, "after", page.end)) == ["two and more", "three"]


def test_the_parts_of_a_long_log_come_in_order(run_dir: RunDir) -> None:
    run_dir.worker_log_first.write_bytes(b"first\n")
    run_dir.worker_log_before.write_bytes(b"before\n")
    run_dir.worker_log.write_bytes(b"last\n")
    assert texts(ask(run_dir)) == ["first", "before", "last"]
    files = ask(run_dir).files
    run_dir.worker_log.replace(run_dir.worker_log_before)
    run_dir.worker_log.write_bytes(b"new\n")
    page = ask(run_dir)
    assert texts(page) == ["first", "last", "new"]
    assert page.files != files


@pytest.mark.parametrize(
    ("level", "kept"),
    [
        pytest.param("all", 5, id="all"),
        pytest.param("warnings", 4, id="warnings"),
        pytest.param("errors", 2, id="errors"),
    ],
)
def test_levels(run_dir: RunDir, level: Level, kept: int) -> None:
    run_dir.worker_log.write_bytes(
        b"step 1\nUserWarning: dust\n\x1b[33mwarn\x1b[0m\nValueError: no\nTraceback (most recent call last):\n"
    )
    assert len(ask(run_dir, level=level).lines) == kept


def test_errors_far_from_the_end_are_found(run_dir: RunDir) -> None:
    run_dir.worker_log.write_bytes(b"RuntimeError: early\n" + numbered(200_000))
    page = ask(run_dir, level="errors")
    assert texts(page) == ["RuntimeError: early"]
    assert page.begin == 0


def test_search_goes_both_ways_and_comes_with_what_is_around(run_dir: RunDir) -> None:
    run_dir.worker_log.write_bytes(numbered(100_000))
    size = run_dir.worker_log.stat().st_size
    page = ask(run_dir, "find before", size, needle="line 77777 ")
    assert page.found is not None
    around = texts(page)
    assert around[around.index("line 77777 of the log") - 1] == "line 77776 of the log"
    assert len(around) == PAGE_LINES // 2 * 2
    again = ask(run_dir, "find after", 0, needle="line 77777 ")
    assert again.found == page.found
    older = ask(run_dir, "find before", page.found, needle="line 7777")
    assert older.found is not None
    assert older.found < page.found
    assert ask(run_dir, "find before", size, needle="nowhere").found is None


@pytest.mark.parametrize(
    ("needle", "is_found"),
    [
        pytest.param("loss", True, id="small letters find capitals"),
        pytest.param("LOSS", True, id="capitals find capitals"),
        pytest.param("Loss", False, id="but no other case"),
        pytest.param("[31m", False, id="colours are not text"),
        pytest.param("10%", False, id="nor what was drawn over"),
        pytest.param("100%", True, id="the last state is"),
    ],
)
def test_what_is_shown_is_searched(run_dir: RunDir, needle: str, is_found: bool) -> None:
    run_dir.worker_log.write_bytes(b"\x1b[31mLOSS\x1b[0m\n 10%\r100%\n")
    page = ask(run_dir, "find before", run_dir.worker_log.stat().st_size, needle=needle)
    assert (page.found is not None) == is_found


def test_huge_lines_and_rubbish_are_shown_short(run_dir: RunDir) -> None:
    run_dir.worker_log.write_bytes(b"x" * 3_000_000 + b"\n\xff\xfe\x1b]0;title\x07\n" + b"\0" * 1000)
    page = ask(run_dir)
    assert not any("\x1b" in line.text or "\0" in line.text for line in page.lines)
    assert sum(len(line.text) for line in page.lines) < 50_000


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_told(run_dir: RunDir, kind: str) -> None:
    if kind == "folder":
        run_dir.worker_log.mkdir()
    else:
        os.mkfifo(run_dir.worker_log)
    assert ask(run_dir).trouble.startswith("its log can't be read")


def test_another_request_stops_a_search(run_dir: RunDir) -> None:
    run_dir.worker_log.write_bytes(numbered(500_000))
    told: list[LogPage] = []
    reader = LogReader(run_dir.path.parent, told.append, lambda: len(told) >= 2)
    reader.answer(LogRequest(run_dir.run_id, "find after", 0, needle="nowhere"))
    assert len(told) == 2
    assert not told[-1].is_done


def test_the_thread_answers_the_latest_and_ends(run_dir: RunDir) -> None:
    run_dir.worker_log.write_bytes(numbered(3))
    told: list[LogPage] = []
    thread = LogThread(run_dir.path.parent, told.append)
    thread.ask(LogRequest(run_dir.run_id, "start"))
    thread.ask(LogRequest(run_dir.run_id, "end"))
    thread.stop()
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert not told
    thread = LogThread(run_dir.path.parent, told.append)
    thread.start()
    thread.ask(LogRequest(run_dir.run_id))
    while not any(page.is_done for page in told):
        pass
    thread.stop()
    thread.join(10)
    assert texts(told[-1]) == ["line 0 of the log", "line 1 of the log", "line 2 of the log"]

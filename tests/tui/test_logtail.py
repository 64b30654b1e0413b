from __future__ import annotations

import re
from pathlib import Path

import pytest

from tui.logtail import ERROR_WORDS, WARNING_WORDS, LogTail, clean_line


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        pytest.param("plain", "plain", id="plain"),
        pytest.param("\x1b[31mred\x1b[0m", "red", id="colour"),
        pytest.param("\x1b]0;title\x07text", "text", id="title"),
        pytest.param("\x1b]52;c;ZXZpbA==\x1b\\text", "text", id="clipboard"),
        pytest.param("\x1bPq#0;2;0;0;0\x1b\\text", "text", id="sixel"),
        pytest.param("\x1b[2J\x1b[Htext", "text", id="clear screen"),
        pytest.param("  5%\r 50%\r100%", "100%", id="progress bar"),
        pytest.param("  5%\r 50%\r", " 50%", id="progress bar ends at the start of the line"),
        pytest.param("a\tb", "a       b", id="tab"),
        pytest.param("a\x00b\x07", "a\\x00b\\x07", id="control characters"),
        pytest.param("right\u202eleft", "right\\u202eleft", id="reversed text"),
        pytest.param("\x9b31mtext", "\\x9b31mtext", id="eight-bit CSI"),
        pytest.param("[bold]text[/bold]", "[bold]text[/bold]", id="markup stays text"),
        pytest.param("", "", id="empty"),
    ],
)
def test_lines_are_made_safe(raw: str, shown: str) -> None:
    assert clean_line(raw) == shown


def test_a_missing_log_is_no_lines(tmp_path: Path) -> None:
    tail = LogTail(tmp_path / "worker.log")
    assert tail.read()
    assert tail.lines == ()
    assert not tail.read()


def test_a_growing_line_shows(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    path.write_text("one\ntw")
    tail = LogTail(path)
    tail.read()
    assert list(tail.lines) == ["one", "tw"]
    with path.open("a") as file:
        file.write("o\nthree\n")
    assert tail.read()
    assert list(tail.lines) == ["one", "two", "three"]
    assert not tail.read()


def test_only_the_end_of_a_large_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    with path.open("wb") as file:
        file.seek(3_000_000_000)  # sparse: takes no room
        file.write(b"cut off\n" + b"".join(b"line %d\n" % number for number in range(20_000)))
    tail = LogTail(path)
    tail.read()
    assert tail.lines[-1] == "line 19999"
    assert all(line.startswith("line ") for line in tail.lines)
    assert len(tail.lines) == 2000


def test_a_log_that_begins_anew_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    path.write_text("old one\nold two\n")
    tail = LogTail(path)
    tail.read()
    path.write_text("new\n")
    tail.read()
    assert tail.lines == ("new",)


@pytest.mark.parametrize(
    ("line", "is_error", "is_warning"),
    [
        ("RuntimeError: no", True, False),
        ("Traceback (most recent call last):", True, False),
        ("UserWarning: this", False, True),
        ("all is well", False, False),
        ('2026-11-26 10:32:35 INFO set dataset.empty_boxes = "error"; a warning', False, False),
        ("2026-11-26 10:32:35 WARNING discarded step: error in it", False, True),
        ("2026-11-26 10:32:35 ERROR warning", True, True),
        ("2026-11-26 10:32:35 error by another program", True, False),
    ],
)
def test_a_line_that_says_its_level_is_of_that_level(line: str, is_error: bool, is_warning: bool) -> None:
    assert (re.search(ERROR_WORDS, line, re.IGNORECASE) is not None) == is_error
    assert (re.search(WARNING_WORDS, line, re.IGNORECASE) is not None) == is_warning

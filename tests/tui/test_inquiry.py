"""Answers of a terminal among what is typed, on a pseudo-terminal's two ends."""

from __future__ import annotations

import os
import pty
import tty
from collections.abc import Iterator

import pytest

from tui.inquiry import Features, Inquiry

_VT = b"\x1b[?62;22c"
_SIXEL_VT = b"\x1b[?62;4;22c"
_CELL = b"\x1b[6;18;9t"
_KITTY = b"\x1b_Gi=31;OK\x1b\\"


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """A terminal's own end, and its program's."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


@pytest.fixture
def inquiry(ends: tuple[int, int]) -> Inquiry:
    inquiry = Inquiry(ends[1], ends[1])
    inquiry.ask()
    return inquiry


@pytest.mark.parametrize(
    ("answers", "features"),
    [
        pytest.param(_VT, Features(), id="nothing"),
        pytest.param(_CELL + _SIXEL_VT, Features(has_sixel=True, cell=(9, 18)), id="sixel"),
        pytest.param(_KITTY + _VT, Features(has_kitty=True), id="kitty"),
        pytest.param(b"\x1b_Gi=31;ENOTSUP\x1b\\" + _VT, Features(), id="a kitty that won't"),
        pytest.param(b"\x1b[6;0;0t" + _VT, Features(), id="no size"),
        pytest.param(b"", Features(), id="silence"),
    ],
)
def test_what_a_terminal_says_of_itself(
    ends: tuple[int, int], inquiry: Inquiry, answers: bytes, features: Features
) -> None:
    os.write(ends[0], b"j" + answers + b"\x1b[B")
    assert inquiry.features() == features
    assert inquiry.early() == (b"j\x1b[B")
    assert inquiry.early() == b""


@pytest.mark.parametrize("size", range(1, 12))
def test_answers_in_pieces_leave_the_keys_among_them(inquiry: Inquiry, size: int) -> None:
    stream = b"a" + _CELL + b"\x1b[6~" + _KITTY + b"\x1b[?2026;2$y" + b"b" + _VT + b"\x1b[1;5A"
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    typed = b"".join(inquiry.typed(piece) for piece in pieces)
    assert typed == b"a\x1b[6~\x1b[?2026;2$yb\x1b[1;5A"
    assert not inquiry.is_open


def test_a_lone_escape_is_a_key_when_nothing_follows(inquiry: Inquiry) -> None:
    assert inquiry.typed(b"\x1b") == b""
    assert inquiry.kept() == b"\x1b"
    assert inquiry.typed(_VT[:4]) == b""
    assert inquiry.kept() == b""  # no key begins so
    assert inquiry.typed(_VT[4:] + b"\x1b") == b"\x1b"  # nothing more can come: it isn't kept back


def test_each_question_has_its_answer(inquiry: Inquiry) -> None:
    assert inquiry.asked_more() == "\x1b[c"
    inquiry.typed(_VT)
    assert inquiry.is_open
    inquiry.typed(_VT)
    assert not inquiry.is_open


def test_draining_takes_what_is_still_to_come(ends: tuple[int, int], inquiry: Inquiry) -> None:
    os.write(ends[0], _KITTY + _VT)
    inquiry.drain()
    assert not inquiry.is_open
    os.write(ends[0], b"ls")
    inquiry.drain()  # nothing is to come: what is typed now is the shell's
    assert os.read(ends[1], 10) == b"ls"

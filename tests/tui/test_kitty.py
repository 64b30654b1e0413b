"""Pictures by kitty's protocol, as a terminal and tmux take them apart."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

from tui.kitty import MARKS, KittyId, forgetting, placeholders, png_of, sending

_NAME = KittyId(7, 30)


def photo(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))


def test_a_picture_keeps_its_size_and_nearly_its_colours() -> None:
    flat = Image.new("RGB", (40, 30), (200, 100, 50))
    shown = Image.open(io.BytesIO(png_of(flat))).convert("RGB")
    assert shown.size == (40, 30)
    assert np.abs(np.asarray(shown, int) - np.asarray(flat, int)).max() <= 8


@pytest.mark.parametrize("size", [(1, 1), (64, 48), (200, 150)])
@pytest.mark.parametrize("through_tmux", [False, True])
def test_commands_carry_the_whole_picture(size: tuple[int, int], through_tmux: bool) -> None:
    png = png_of(photo(*size))
    text = sending(_NAME, png, 20, 10, through_tmux=through_tmux)
    if through_tmux:
        parts = re.findall(r"\x1bPtmux;((?:[^\x1b]|\x1b\x1b)*)\x1b\\", text)
        assert "".join(f"\x1bPtmux;{part}\x1b\\" for part in parts) == text  # as tmux reads it
        text = "".join(part.replace("\x1b\x1b", "\x1b") for part in parts)
    commands = re.findall(r"\x1b_G([^;\x1b]*);([^\x1b]*)\x1b\\", text)
    assert "".join(f"\x1b_G{head};{chunk}\x1b\\" for head, chunk in commands) == text
    assert commands[0][0].startswith(f"a=T,U=1,f=100,t=d,i={7 << 24 | 30},c=20,r=10,q=2,")
    assert [head[-3:] for head, _ in commands] == ["m=1"] * (len(commands) - 1) + ["m=0"]
    assert all(len(chunk) == 4096 for _, chunk in commands[:-1])
    assert base64.b64decode("".join(chunk for _, chunk in commands)) == png


def test_placeholders_tell_picture_row_and_column() -> None:
    rows = placeholders(_NAME, 3, 2)
    assert all(row.startswith("\x1b[38;5;30m") and row.endswith("\x1b[39m") for row in rows)
    cells = [re.findall("\U0010eeee...", row) for row in rows]
    assert [len(row) for row in cells] == [3, 3]
    marks = "\u0305\u030d\u030e\u0310\u0312\u033d\u033e\u033f"  # the protocol's marks for 0 to 7
    assert [[(marks.index(cell[1]), marks.index(cell[2])) for cell in row] for row in cells] == [
        [(0, 0), (0, 1), (0, 2)], [(1, 0), (1, 1), (1, 2)],
    ]  # fmt: skip
    assert {marks.index(cell[3]) for row in cells for cell in row} == {7}
    assert {cell_len(cell) for row in cells for cell in row} == {1}


def test_a_picture_is_forgotten_by_its_name() -> None:
    assert forgetting(_NAME, through_tmux=False) == f"\x1b_Ga=d,d=I,i={7 << 24 | 30},q=2\x1b\\"
    assert forgetting(_NAME, through_tmux=True) == (
        f"\x1bPtmux;\x1b\x1b_Ga=d,d=I,i={7 << 24 | 30},q=2\x1b\x1b\\\x1b\\"
    )


def test_marks_are_those_of_another_program_for_kitty() -> None:
    from textual_image.renderable.tgp import _NUMBER_TO_DIACRITIC

    assert list(MARKS) == list(_NUMBER_TO_DIACRITIC)

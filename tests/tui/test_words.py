from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

from engine.cli import options
from engine.cli.status import STATE_LOOKS
from tui.blocks import draw_blocks, fitted
from tui.words import SIGNS, bar, duration, figure, fit, precision, rate, short_count, sparkline


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"), (math.nan, "-"), (-3, "0 s"), (47.9, "48 s"), (725, "12:05 min"), (3780, "1:03 h"),
        (187_200, "52:00 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize("seconds", [None, 0, 42, 59.7, 187, 7503, 187_200])
def test_durations_and_signs_look_like_the_command_lines(seconds: float | None) -> None:
    assert duration(seconds) == options.duration(seconds)
    assert {state: look[0] for state, look in STATE_LOOKS.items()} == SIGNS


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [("", 3, ""), ("abc", 3, "abc"), ("abcd", 3, "ab…"), ("漢字漢", 4, "漢…"), ("abc", 0, "")],
)
def test_text_is_cut_with_an_ellipsis(text: str, width: int, cut: str) -> None:
    assert fit(text, width) == cut


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "-"), (math.inf, "-"), (0, "0"), (0.4123, "0.412"), (12.34, "12.3"), (4.1e-5, "4.1e-05"), (2e6, "2.0e+06")],
)
def test_figures(value: float | None, words: str) -> None:
    assert figure(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "-"), (0, "0"), (0.005, "0.005"), (0.00125, "0.00125"), (5e-5, "5e-05"), (1.25e-4, "1.25e-04")],
)
def test_rates(value: float | None, words: str) -> None:
    assert rate(value) == words


def test_precisions() -> None:
    assert (precision(0.7314), precision(None), precision(math.nan)) == ("0.731", "-", "-")


@pytest.mark.parametrize(("value", "words"), [(0, "0"), (800, "800"), (1500, "1.5k"), (20_000, "20k"), (1e6, "1M")])
def test_short_counts(value: float, words: str) -> None:
    assert short_count(value) == words


@pytest.mark.parametrize("fraction", [-1, 0, 0.01, 0.5, 0.99, 1, 7])
def test_bars_are_as_wide_as_asked(fraction: float) -> None:
    done, rest = bar(fraction, 20)
    assert len(done + rest) == 20
    assert set(done) <= {"━", "╸"}
    assert set(rest) <= {"─"}


def test_signs_are_one_cell_wide_and_all_different() -> None:
    assert {cell_len(sign) for sign in SIGNS.values()} == {1}
    assert len(set(SIGNS.values())) == len(SIGNS)


def test_sparklines() -> None:
    assert sparkline(np.array([], dtype=np.float32), 8) == ""
    assert sparkline(np.array([np.nan, 1], dtype=np.float32), 8) == "▁"
    assert sparkline(np.array([3, 2, 1], dtype=np.float32), 0) == ""
    falling = sparkline(np.linspace(1, 0, 1000, dtype=np.float32), 8)
    assert falling == "█▇▆▅▄▃▂▁"


def test_pictures_keep_their_proportions() -> None:
    assert fitted((480, 320), 60, 40) == (60, 20)
    assert fitted((480, 320), 200, 10) == (30, 10)
    assert fitted((5000, 1), 10, 10) == (10, 1)


def test_blocks_show_edges_inside_a_cell() -> None:
    image = Image.new("RGB", (4, 4), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 1, 4))
    blocks = draw_blocks(image, 2, 2)
    assert blocks.chars.tolist() == [["▌", " "], ["▌", " "]]
    assert blocks.fore[0, 0].tolist() == [255, 255, 255]
    assert blocks.back[0, 0].tolist() == [0, 0, 0]

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

from engine.previewfile import Box, FoundBox, PreviewImage, TrueBox
from tui.judged import judge
from tui.overlay import ALL, Shown, draw_in_cells, spot_of
from tui.pixels import draw_in_pixels

NAMES = ("mug", "laptop")
SIZE = (400, 400)
LARGE, SMALL = (100.0, 100.0, 300.0, 300.0), (20.0, 320.0, 120.0, 380.0)


def drawn(
    truth: list[tuple[int, Box]], found: list[tuple[int, Box, float]], *, shown: Shown = ALL, columns: int = 40,
    rows: int = 20, names: tuple[str, ...] = NAMES, size: tuple[int, int] = SIZE,
) -> list[str]:
    image = PreviewImage(
        name="", photo="", width=size[0], height=size[1], truth=tuple(TrueBox(*one) for one in truth),
        found=tuple(FoundBox(*one) for one in found),
    )
    judgement = judge(image, names, 0.05)
    photo = Image.new("RGB", size, (120, 90, 60))
    pixels = draw_in_pixels(photo, judgement, size, (columns * 10, rows * 20), shown, 20)
    assert pixels.size == (columns * 10, rows * 20)
    lines = draw_in_cells(photo, judgement, size, columns, rows, shown)
    texts = ["".join(segment.text for segment in line) for line in lines]
    assert [cell_len(text) for text in texts] == [columns] * rows
    return texts


def test_a_right_detection_is_framed_heavily_and_named() -> None:
    texts = drawn([(0, LARGE)], [(0, LARGE, 0.93)])
    assert texts[5][10:30] == "✔ mug 0.93━━━━━━━━━┓"
    assert texts[14][10:30] == "┗━━━━━━━━━━━━━━━━━━┛"
    assert {texts[row][10] + texts[row][29] for row in range(6, 14)} == {"┃┃"}


def test_a_wrong_one_has_double_lines_and_a_missed_one_dashes() -> None:
    texts = drawn([(1, SMALL)], [(0, LARGE, 0.4)])
    assert texts[5][10:30] == "✘ mug 0.40═════════╗"
    assert texts[16][2:12] == "○ laptop╌┐"


def test_boxes_can_be_hidden() -> None:
    found_alone = "\n".join(drawn([(1, SMALL)], [(0, LARGE, 0.4)], shown=Shown(truth=False)))
    assert "mug" in found_alone
    assert "laptop" not in found_alone
    truth_alone = "\n".join(drawn([(0, LARGE)], [(0, LARGE, 0.9)], shown=Shown(found=False)))
    assert "✔ mug╌" in truth_alone
    assert "0.90" not in truth_alone
    assert not "".join(drawn([(0, LARGE)], [(0, LARGE, 0.9)], shown=Shown(truth=False, found=False))).strip(" ▀▌▘▝▖▗▚")


def test_labels_do_not_lie_on_one_another() -> None:
    texts = drawn([], [(0, LARGE, 0.9), (1, LARGE, 0.8)])
    assert "✘ mug 0.90" in texts[5]
    assert "✘ laptop 0.80" in texts[14]


@pytest.mark.parametrize(("columns", "rows"), [(40, 20), (12, 6), (1, 1), (200, 60)])
def test_five_hundred_boxes_fit_any_size(columns: int, rows: int) -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 380, (500, 2))
    found = [(int(index % 2), (x, y, x + 20, y + 20), 0.5) for index, (x, y) in enumerate(corners.tolist())]
    drawn([], found, columns=columns, rows=rows)


def test_where_many_boxes_lie_in_few_cells_signs_alone_are_left() -> None:
    found = [(0, (x * 40.0, y * 80.0, x * 40 + 38.0, y * 80 + 70.0), 0.9) for x in range(10) for y in range(5)]
    text = "".join(drawn([], found, columns=20, rows=10))
    assert text.count("✘") > 20
    assert "═" not in text


@pytest.mark.parametrize(
    "box",
    [(-500, -500, 900, 900), (399.9, 399.9, 400, 400), (1e30, 1e30, -1e30, -1e30), (50, 50, 50, 50), (0, 90, 400, 91)],
)  # fmt: skip
def test_boxes_outside_or_without_area_are_drawn_within(box: Box) -> None:
    drawn([(1, box)], [(0, box, 0.9)])


def test_a_photo_of_one_pixel_and_wide_class_names() -> None:
    drawn([(0, (0, 0, 1, 1))], [(0, (0, 0, 1, 1), 0.5)], size=(1, 1))
    drawn([], [(0, LARGE, 0.9), (1, SMALL, 0.9)], names=("马克杯", "e\u0301" * 40))
    drawn([], [(0, LARGE, 0.9)], names=("m" * 5000, ""))


def test_cells_hold_what_the_box_covers() -> None:
    assert spot_of((0, 0, 400, 400), SIZE, 40, 20) == (0, 0, 39, 19)
    assert spot_of((100, 100, 110, 120), SIZE, 40, 20) == (10, 5, 10, 5)

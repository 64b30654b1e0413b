"""Sheets of pictures: whatever their shapes and names, and never over somebody else's file."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.errors import EngineError
from engine.evaluation.drawing import DrawnBoxes, class_colour
from engine.report.contact_sheet import WIDTH_PX, Tile, contact_sheet, layout, refuse_overwriting, save_sheet
from tests.builders import process_environment

NONE = DrawnBoxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


def tile(size: tuple[int, int] = (64, 48), label: int | None = 0, caption: str = "a.jpg") -> Tile:
    boxes = NONE if label is None else DrawnBoxes(np.array([[4, 4, 40, 30]], np.float32), np.array([label]))
    return Tile(Image.new("RGB", size, (90, 90, 90)), boxes, caption)


def has_colour(picture: Image.Image, label: int) -> bool:
    colour = class_colour(label)
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return bool((np.asarray(picture) == wanted).all(axis=2).any())


@given(st.lists(st.floats(0.05, 30), max_size=60))
def test_no_picture_covers_another_or_leaves_the_sheet(aspects: list[float]) -> None:
    places = layout(aspects)
    assert len(places) == len(aspects)
    for place in places:
        assert place.left >= 0
        assert place.left + place.width <= WIDTH_PX
        assert min(place.width, place.height) >= 1
    for one, other in pairwise(places):
        below = other.top >= one.top + one.height
        assert below or (other.top == one.top and other.left >= one.left + one.width)


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (4, 1), (8, 2), (16, 4), (17, 4), (200, 49)])
def test_rows_are_of_about_the_same_height(count: int, rows: int) -> None:
    places = layout([4 / 3] * count)
    assert len({place.top for place in places}) == rows
    assert max(place.height for place in places) <= 1.45 * min(place.height for place in places)


@pytest.mark.parametrize(
    ("tiles", "names"),
    [
        pytest.param([tile()], ["mug"], id="one"),
        pytest.param([tile(label=None)], ["mug"], id="without objects"),
        pytest.param([tile((400, 2)), tile((2, 400)), tile((1, 1), None)], ["mug"], id="strips"),
        pytest.param([tile(label=label) for label in range(90)], [f"class {label}" for label in range(90)], id="many"),
        pytest.param([tile(label=label) for label in range(4)], ["$x^", "\x1b[31m", "杯子", "a" * 300], id="odd names"),
        pytest.param([tile(caption="\u202e\n" + "x" * 900)], ["mug"], id="odd caption"),
    ],
)
def test_every_sheet_can_be_drawn(tiles: list[Tile], names: list[str]) -> None:
    sheet = contact_sheet(tiles, names, title="x" * 500)
    assert sheet.width == WIDTH_PX
    assert sheet.height < 30_000


def test_boxes_and_their_legend_have_the_colours_of_the_classes() -> None:
    sheet = contact_sheet([tile(label=1), tile(label=2)], ["a", "b", "c"], title="desk")
    legend, pictures = sheet.crop((0, 50, WIDTH_PX, 94)), sheet.crop((0, 94, WIDTH_PX, sheet.height))
    for part in (legend, pictures):
        assert [has_colour(part, label) for label in range(3)] == [False, True, True]


def test_colours_that_classes_share_get_no_legend() -> None:
    names = [f"class {label}" for label in range(8)]
    assert has_colour(contact_sheet([tile(label=0)], names, title="").crop((0, 50, WIDTH_PX, 94)), 0)
    both = contact_sheet([tile(label=0), tile(label=7)], names, title="")
    assert both.getpixel((20, 64)) != (0xE6, 0x9F, 0x00)


def test_the_name_of_a_box_at_the_upper_edge_is_whole() -> None:
    """Pillow cuts the upper part of text off whose origin is a fraction below 0."""

    def ink(y0: float) -> int:
        from engine.evaluation.drawing import draw_boxes

        boxes = DrawnBoxes(np.array([[20, y0, 200, 200]], np.float32), np.array([0]))
        drawn = np.asarray(draw_boxes(Image.new("RGB", (480, 330), "white"), ["mm"], boxes))
        return int((drawn.sum(axis=2) < 100).sum())

    assert [ink(y0) for y0 in (12.3, 12.9, 13.4, 14.6)] == [ink(100)] * 4


# --- the file ---


def test_only_a_former_sheet_is_overwritten(tmp_path: Path) -> None:
    path, foreign, text = (tmp_path / name for name in ("ours.png", "foreign.png", "text.png"))
    refuse_overwriting(path)
    save_sheet(contact_sheet([tile()], ["mug"], title=""), path)
    refuse_overwriting(path)
    Image.new("RGB", (9, 9)).save(foreign)
    text.write_text("no picture")
    for other in (foreign, text, tmp_path):
        with pytest.raises(EngineError) as caught:
            refuse_overwriting(other if other.suffix else other.with_suffix(".jpg"))
        assert caught.value.problems[0].code == ("X104" if other.suffix else "E101")


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match=r"E101 can't be written"):
        save_sheet(contact_sheet([tile()], ["mug"], title=""), tmp_path / "file" / "a.png")


def test_drawing_needs_no_torch() -> None:
    code = "import sys, engine.report.contact_sheet; sys.exit(bool({'torch', 'textual'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], env=process_environment(), check=False).returncode == 0

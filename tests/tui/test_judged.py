from __future__ import annotations

import pytest

from engine.previewfile import FoundBox, PreviewImage, TrueBox
from tui.judged import judge

NAMES = ("mug", "laptop")
MUG, LAPTOP, FAR = (10.0, 10.0, 30.0, 30.0), (50.0, 10.0, 90.0, 40.0), (200.0, 200.0, 240.0, 240.0)


def image(truth: list[TrueBox], found: list[FoundBox]) -> PreviewImage:
    return PreviewImage(name="a.jpg", photo="", width=300, height=300, truth=tuple(truth), found=tuple(found))


@pytest.mark.parametrize(
    ("found", "sign", "words"),
    [
        pytest.param(FoundBox(0, MUG, 0.9), "✔", "right", id="right"),
        pytest.param(FoundBox(1, MUG, 0.9), "✘", "wrong class", id="class"),
        pytest.param(FoundBox(0, (10, 10, 24, 22), 0.9), "✘", "poor box", id="box"),
        pytest.param(FoundBox(0, FAR, 0.9), "✘", "false", id="false"),
    ],
)
def test_a_detection_is_told_what_it_is(found: FoundBox, sign: str, words: str) -> None:
    [box] = judge(image([TrueBox(0, MUG)], [found]), NAMES, 0.5).found
    assert (box.sign, box.words, box.score) == (sign, words, 0.9)
    assert box.box_xyxy == pytest.approx(found.box_xyxy)


def test_the_threshold_decides_what_counts() -> None:
    both = image([TrueBox(0, MUG), TrueBox(1, LAPTOP)], [FoundBox(0, MUG, 0.9), FoundBox(1, LAPTOP, 0.3)])
    high, low = judge(both, NAMES, 0.5), judge(both, NAMES, 0.3)
    assert (high.num_right, high.num_wrong, high.num_missed) == (1, 0, 1)
    assert (low.num_right, low.num_wrong, low.num_missed) == (2, 0, 0)
    assert [(row.name, row.sign) for row in high.rows] == [("mug", "✔"), ("laptop", "○")]


def test_no_boxes_and_excused_ones() -> None:
    assert judge(image([], []), NAMES, 0.5).rows == ()
    excused = judge(image([TrueBox(0, MUG, True)], []), NAMES, 0.5)
    assert (excused.num_missed, [row.words for row in excused.rows]) == (0, ["not counted"])


def test_corners_the_wrong_way_round_are_put_right() -> None:
    [box] = judge(image([TrueBox(0, MUG)], [FoundBox(0, (30, 30, 10, 10), 0.9)]), NAMES, 0.5).found
    assert box.words == "right"


def test_class_names_cannot_speak_to_the_terminal() -> None:
    [box] = judge(image([], [FoundBox(0, MUG, 0.9)]), ("\x1b[31m" + "m" * 5000,), 0.5).found
    assert "\x1b" not in box.name
    assert len(box.name) < 300

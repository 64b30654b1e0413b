"""Rows of classes: carried over by name, whatever the layout of the layer they stand in."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.models.rows import BACKGROUND, Layout, carried_over, is_class_layer, layout_of, matching_outputs

CLS, BOX = "roi_heads.box_predictor.cls_score.weight", "roi_heads.box_predictor.bbox_pred.bias"
DENSE, SSD, SSDLITE = (
    "head.classification_head.cls_logits.weight", "head.classification_head.module_list.3.bias",
    "head.classification_head.module_list.0.1.weight",
)


@pytest.mark.parametrize("name", [CLS, BOX, DENSE, SSD, SSDLITE])
def test_class_layers_are_told_by_name(name: str) -> None:
    assert is_class_layer(name)


@pytest.mark.parametrize(
    "name",
    [
        "head.classification_head.module_list.0.0.0.weight", "head.classification_head.conv.0.0.weight",
        "head.regression_head.bbox_reg.weight", "roi_heads.box_head.fc6.weight", "rpn.head.cls_logits.weight",
    ],
)
def test_other_layers_are_none(name: str) -> None:
    assert not is_class_layer(name)


@pytest.mark.parametrize(
    ("name", "num_rows", "num_outputs", "expected"),
    [
        pytest.param(CLS, 3, 3, Layout(1, 3, 1), id="scores"),
        pytest.param(BOX, 12, 3, Layout(1, 3, 4), id="a box a class"),
        pytest.param(DENSE, 27, 3, Layout(9, 3, 1), id="nine anchors"),
        pytest.param(DENSE, 28, 3, None, id="rows left over"),
        pytest.param(DENSE, 2, 3, None, id="too few rows"),
        pytest.param(CLS, 6, 3, None, id="faster r-cnn has no anchors here"),
        pytest.param(BOX, 6, 3, None, id="a box needs four"),
    ],
)
def test_layouts(name: str, num_rows: int, num_outputs: int, expected: Layout | None) -> None:
    assert layout_of(name, num_rows, num_outputs) == expected


@pytest.mark.parametrize(
    ("own", "theirs", "expected"),
    [
        pytest.param((BACKGROUND, "Dog", "mug"), (BACKGROUND, "cat", "dog"), {0: 0, 1: 2}, id="case"),
        pytest.param(("cell_phone", "tea-pot"), ("cell phone", "Tea  Pot"), {0: 0, 1: 1}, id="spaces"),
        pytest.param(("N/A", "n/a"), ("N/A",), {}, id="coco's gaps are no class"),
        pytest.param(("a",), (), {}, id="nothing there"),
        pytest.param((), ("a",), {}, id="nothing asked"),
        pytest.param(("a",), ("A", "a"), {0: 0}, id="the first of two"),
        pytest.param(("background",), (BACKGROUND,), {}, id="a class that is only called so"),
    ],
)
def test_classes_match_by_name(own: tuple[str, ...], theirs: tuple[str, ...], expected: dict[int, int]) -> None:
    assert matching_outputs(own, theirs) == expected


def numbered(num_anchors: int, num_outputs: int, num_inner: int = 1) -> torch.Tensor:
    """A tensor whose values tell anchor, output and inner row: 123 is anchor 1, output 2, row 3."""
    values = [
        100 * anchor + 10 * output + inner
        for anchor in range(num_anchors) for output in range(num_outputs) for inner in range(num_inner)
    ]
    return torch.tensor(values, dtype=torch.float32)


def test_rows_of_anchors_go_to_the_same_anchor() -> None:
    own = torch.full((4,), -1.0)  # 2 anchors, 2 outputs
    found = carried_over(SSD, own, numbered(2, 3), (2, 3), {1: 2})
    assert found is not None
    assert found.tolist() == [-1, 20, -1, 120]
    assert own.tolist() == [-1] * 4, "untouched"


def test_boxes_go_with_their_class() -> None:
    found = carried_over(BOX, torch.full((12,), -1.0), numbered(1, 5, 4), (3, 5), {0: 0, 2: 4})
    assert found is not None
    assert found.tolist() == [0, 1, 2, 3, -1, -1, -1, -1, 40, 41, 42, 43]


def test_other_shapes_carry_nothing() -> None:
    assert carried_over(CLS, torch.zeros(3, 16), torch.zeros(3, 8), (3, 3), {0: 0}) is None
    assert carried_over(DENSE, torch.zeros(6), torch.zeros(9), (3, 3), {0: 0}) is None


@given(
    st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.data()
)
def test_every_matching_row_is_theirs_and_every_other_ours(
    num_anchors: int, num_own: int, num_theirs: int, data: st.DataObject
) -> None:
    pairs = st.dictionaries(st.integers(0, num_own - 1), st.integers(0, num_theirs - 1))
    matching = data.draw(pairs)
    own = torch.full((num_anchors * num_own, 2), -1.0)
    theirs = numbered(num_anchors, num_theirs)[:, None].expand(-1, 2)
    found = carried_over(DENSE, own, theirs, (num_own, num_theirs), matching)
    assert found is not None
    for anchor in range(num_anchors):
        for output in range(num_own):
            expected = 100 * anchor + 10 * matching[output] if output in matching else -1
            assert found[anchor * num_own + output].tolist() == [expected, expected]

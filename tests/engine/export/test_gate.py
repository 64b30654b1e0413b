"""What the gate lets through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from engine.cli.export import refusal
from engine.export.gate import TOLERANCES, GateReport, NumberFormat, Side, judge, spread, without_counterpart
from engine.models import Detection
from tests.builders import record

BOX = (10.0, 10.0, 40.0, 30.0)
FP32 = TOLERANCES["fp32"]


def found(*rows: tuple[Sequence[float], int, float]) -> Detection:
    """Detections of boxes, labels and scores."""
    return {
        "boxes_xyxy": torch.tensor([row[0] for row in rows]).reshape(-1, 4),
        "labels": torch.tensor([row[1] for row in rows], dtype=torch.int64),
        "scores": torch.tensor([row[2] for row in rows], dtype=torch.float32),
    }


def judged(one: Detection, other: Detection, *, aps: tuple[float | None, float | None] = (0.5, 0.5)) -> GateReport:
    images = [record([BOX], [0], path=Path("a.jpg"))]
    return judge(images, [one], [other], (Side(aps[0], None, 1.0), Side(aps[1], None, 1.0)), FP32)


@pytest.mark.parametrize(
    ("other", "missed"),
    [
        (found((BOX, 0, 0.9)), 0),
        (found((BOX, 0, 0.905)), 0),
        (found((BOX, 0, 0.95)), 1),
        (found((BOX, 1, 0.9)), 1),
        (found(((10.3, 10, 40, 30), 0, 0.9)), 0),
        (found(((14, 10, 44, 30), 0, 0.9)), 1),
        (found(), 1),
    ],
    ids=["the same", "nearly its score", "another score", "another class", "a hair's breadth", "elsewhere", "nothing"],
)
def test_a_counterpart(other: Detection, missed: int) -> None:
    assert without_counterpart(found((BOX, 0, 0.9)), other, FP32) == missed


def test_a_box_without_area_has_its_counterpart_too() -> None:
    flat = found(((10, 10, 10, 30), 0, 0.9))
    assert without_counterpart(flat, flat, FP32) == 0
    assert without_counterpart(flat, found(((12, 10, 12, 30), 0, 0.9)), FP32) == 1


def test_noise_isnt_compared() -> None:
    report = judged(found((BOX, 0, 0.04)), found())
    assert report.passed
    assert (report.num_detections, report.agreement) == (0, None)


def test_what_differs_is_refused_with_its_image() -> None:
    report = judged(found((BOX, 0, 0.9), (BOX, 1, 0.8)), found((BOX, 0, 0.9)))
    assert not report.passed
    assert report.agreement == pytest.approx(2 / 3)
    assert "66.7% of the detections agree" in report.reasons[0]
    assert [(one.image, one.missed, one.added) for one in report.differing] == [("a.jpg", 1, 0)]


def test_a_worse_ap_is_refused_and_a_better_one_isnt() -> None:
    same = found((BOX, 0, 0.9))
    assert "AP falls from 0.5000 to 0.4900" in judged(same, same, aps=(0.5, 0.49)).reasons[0]
    assert judged(same, same, aps=(0.5, 0.51)).passed
    assert judged(same, same, aps=(None, None)).passed


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_larger_loss_of_ap_is_a_remedy_only_where_nothing_else_is_wrong(precision: NumberFormat) -> None:
    one, less = found((BOX, 0, 0.9), (BOX, 1, 0.8)), found((BOX, 0, 0.9))
    for other, aps, helps in ((one, (0.5, 0.4), True), (less, (0.5, 0.5), False), (less, (0.5, 0.4), False)):
        told = refusal(judged(one, other, aps=aps), Path("model.onnx"), precision)
        assert ("--max-ap-drop" in told.fix) == helps
        assert ("calibrate" in told.fix) == (precision == "int8")


@pytest.mark.parametrize(("total", "asked", "picked"), [(10, 0, 10), (10, 20, 10), (10, 5, 5), (0, 5, 0)])
def test_images_are_spread_over_all(total: int, asked: int, picked: int) -> None:
    records = [record([BOX], [0]) for _ in range(total)]
    chosen = spread(records, asked)
    assert len(chosen) == picked
    assert len({id(one) for one in chosen}) == picked

"""The exportable forward pass finds what the detector finds, traced with another size too."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.export.forward import forward_of
from engine.export.gate import TOLERANCES, without_counterpart
from engine.export.tracing import example_photo, quietly
from engine.models import Detection
from tests.engine.export.lively import lively_detector, noise, reference
from tests.engine.models.builders import FAMILIES, FCOS, QUICK, RETINANET, SSD, SSD300

# Upright, larger than what the network takes, and hardly anything.
SIZES = ((60, 41), (201, 300), (9, 3))
# Far stricter than the gate: the same arithmetic, but for the order of ties.
STRICT = replace(TOLERANCES["fp32"], iou=0.999, pixels=0.01, score=1e-3)
SLOW = (
    RETINANET, SSD300, "retinanet_resnet50_fpn_v2", "fasterrcnn_resnet50_fpn_v2", "fasterrcnn_mobilenet_v2_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
)


@pytest.mark.parametrize("arch", [QUICK, FCOS, SSD, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_it_finds_what_the_detector_finds(arch: str) -> None:
    detector = lively_detector(arch)
    forward = forward_of(detector)
    with quietly(), torch.no_grad():
        traced = torch.jit.trace(forward, (example_photo(),), check_trace=False)  # type: ignore[no-untyped-call]
    num_found = num_alone = 0
    for height, width in SIZES:
        pixels = noise(height, width)
        wanted = reference(detector, pixels)
        for look in (forward, traced):
            with torch.no_grad():
                boxes, labels, scores = look(torch.from_numpy(pixels))
            assert torch.equal(scores, scores.sort(descending=True).values)
            answer: Detection = {"boxes_xyxy": boxes, "labels": labels, "scores": scores}
            num_alone += without_counterpart(wanted, answer, STRICT) + without_counterpart(answer, wanted, STRICT)
            num_found += len(wanted["scores"]) + len(scores)
    assert num_found > 100
    assert num_alone <= 0.01 * num_found


def test_finding_nothing() -> None:
    detector = lively_detector(QUICK)
    detector.network.roi_heads.score_thresh = 2.0
    with quietly(), torch.no_grad():
        traced = torch.jit.trace(forward_of(detector), (example_photo(),), check_trace=False)  # type: ignore[no-untyped-call]
        boxes, labels, scores = traced(torch.from_numpy(noise(50, 70)))
    assert (boxes.shape, labels.shape, scores.shape) == ((0, 4), (0,), (0,))
    # Not even a proposal.
    detector.network.rpn.score_thresh = 2.0
    with torch.no_grad():
        boxes, labels, _ = forward_of(detector)(torch.from_numpy(noise(50, 70)))
    assert (boxes.shape, labels.shape) == ((0, 4), (0,))


@pytest.mark.slow
@pytest.mark.parametrize("arch", FAMILIES)
def test_finding_nothing_in_every_family(arch: str) -> None:
    detector = lively_detector(arch)
    holder = detector.network.roi_heads if arch == QUICK else detector.network
    holder.score_thresh = 2.0
    with quietly(), torch.no_grad():
        traced = torch.jit.trace(forward_of(detector), (example_photo(),), check_trace=False)  # type: ignore[no-untyped-call]
        boxes, labels, scores = traced(torch.from_numpy(noise(50, 70)))
    assert (boxes.shape, labels.shape, scores.shape) == ((0, 4), (0,), (0,))

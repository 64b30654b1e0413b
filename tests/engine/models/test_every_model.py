"""The full list of detectors: each takes a step, is measured, is saved, and detects the same when reloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.catalogue import ARCHS
from engine.models import Target, build_detector
from engine.models.checkpoint import load_checkpoint, save_checkpoint
from tests.engine.archs import smallest_first
from tests.engine.models.builders import FAMILIES, confident, model

SMALL = (
    *FAMILIES, "fasterrcnn_shufflenet_v2_x0_5_fpn", "fasterrcnn_mnasnet0_5_fpn", "fasterrcnn_regnet_x_400mf_fpn",
    "fasterrcnn_convnext_tiny_fpn", "fasterrcnn_efficientnet_b0_fpn", "fasterrcnn_mobilenet_v2_fpn",
)


@pytest.mark.parametrize(
    "arch", [pytest.param(name, marks=() if name in SMALL else pytest.mark.slow) for name in ARCHS]
)
def test_a_step_a_measurement_and_a_reload(
    tmp_path: Path, arch: str, images: list[Tensor], targets: list[Target]
) -> None:
    chosen, names = model(arch), ("a", "b")
    detector = build_detector(chosen, names).train()
    confident(detector.network)
    optimizer = torch.optim.SGD(detector.parameters(), lr=1e-4)
    losses = detector.losses(images, targets)
    assert all(torch.isfinite(loss) and loss.ndim == 0 for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    learning = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    assert sum(parameter.grad is not None for parameter in learning) > 0.9 * len(learning)
    optimizer.step()
    optimizer.zero_grad()

    found, validation = detector.detect_with_losses(images, targets)
    assert validation.keys() == losses.keys()
    assert all(torch.isfinite(loss) for loss in validation.values())
    save_checkpoint(tmp_path / "best.pt", {"model": detector.network.state_dict()}, keep_previous=False)
    again = build_detector(chosen, names, load_checkpoint(tmp_path / "best.pt")["model"]).detect(images)
    assert sum(len(one["scores"]) for one in found) > 0
    for one, other in zip(found, again, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in ("boxes_xyxy", "labels", "scores"))  # type: ignore[literal-required]


@pytest.mark.parametrize("arch", smallest_first)
def test_the_first_stages_can_stand_still(arch: str) -> None:
    stages = ARCHS[arch].num_backbone_stages
    counts = []
    # RegNet computes its widths with tensors, which need a place.
    with torch.device("cpu" if "regnet" in arch else "meta"):
        for num_layers in (0, 1, stages - 1, stages):
            backbone = build_detector(model(arch, trainable_layers=num_layers), ("a",)).network.backbone
            counts.append(sum(parameter.numel() for parameter in backbone.parameters() if parameter.requires_grad))
    assert counts[0] < counts[1] < counts[2] < counts[3]

"""`[model]`: what each family of detectors takes, and what it refuses before the night."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from engine.catalogue import ARCHS
from engine.recipe.schema import ContradictionError, Fault, Model

RESNET, RETINANET, RETINANET_V2 = "fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2"
FCOS, SSD300, SSDLITE = "fcos_resnet50_fpn", "ssd300_vgg16", "ssdlite320_mobilenet_v3_large"
CONVNEXT, MOBILENET = "fasterrcnn_convnext_tiny_fpn", "fasterrcnn_mobilenet_v2_fpn"
FIVE = ((16,), (32,), (64,), (128,), (256,))
SIX = (*FIVE, (512,))


def faults(arch: str, **values: Any) -> list[Fault]:
    try:
        Model(arch=arch, **{"weights": "none", **values})
    except ValidationError as error:
        [told] = error.errors()
        found = told["ctx"]["error"]
        assert isinstance(found, ContradictionError)
        return list(found.faults)
    return []


@pytest.mark.parametrize("arch", ARCHS)
def test_every_detector_goes_with_the_defaults(arch: str) -> None:
    weights = "coco" if ARCHS[arch].coco else "imagenet"
    assert faults(arch) == faults(arch, weights=weights) == []


@pytest.mark.parametrize(
    ("arch", "values"),
    [
        pytest.param(RESNET, {"anchor_sizes": FIVE, "anchor_ratios": (1.0, 3.0)}, id="faster-rcnn"),
        pytest.param(RESNET, {"anchor_sizes": tuple((size, 2 * size) for [size] in FIVE)}, id="two-sizes-a-level"),
        pytest.param(MOBILENET, {"anchor_sizes": FIVE[:4]}, id="a-pyramid-from-stride-8"),
        pytest.param(RETINANET, {"anchor_sizes": FIVE, "fpn_channels": 100}, id="retinanet"),
        pytest.param(RETINANET_V2, {"fpn_channels": 64}, id="channels-in-groups"),
        pytest.param(SSD300, {"anchor_sizes": SIX, "anchor_ratios": (0.33, 0.5, 1.0, 2.0, 3.0)}, id="ssd"),
        pytest.param(SSDLITE, {"anchor_ratios": (1.0,)}, id="ssdlite-with-squares-only"),
        pytest.param(CONVNEXT, {"fpn_channels": 64, "box_head_width": 64, "box_samples": 32}, id="convnext"),
        pytest.param(SSD300, {"fpn_channels": 256, "box_samples": 512}, id="defaults-written-out"),
        pytest.param(RETINANET, {"min_size": 320, "max_size": 500}, id="input-size"),
    ],
)
def test_what_a_family_has_is_the_recipes_choice(arch: str, values: dict[str, Any]) -> None:
    assert faults(arch, **values) == []


@pytest.mark.parametrize(
    ("arch", "values", "key", "found"),
    [
        pytest.param(FCOS, {"anchor_sizes": FIVE}, "anchor_sizes", "has no anchors", id="fcos-sizes"),
        pytest.param(FCOS, {"anchor_ratios": (1.0,)}, "anchor_ratios", "has no anchors", id="fcos-ratios"),
        pytest.param(RESNET, {"anchor_sizes": FIVE[:4]}, "anchor_sizes", "5 levels", id="a-level-too-few"),
        pytest.param(MOBILENET, {"anchor_sizes": FIVE}, "anchor_sizes", "4 levels", id="a-level-too-many"),
        pytest.param(
            RESNET, {"anchor_sizes": (*FIVE[:4], (256, 512))}, "anchor_sizes", "different numbers", id="uneven-levels"
        ),
        pytest.param(SSD300, {"anchor_sizes": FIVE}, "anchor_sizes", "6 levels", id="ssd-level-too-few"),
        pytest.param(
            SSDLITE, {"anchor_sizes": tuple((size, size + 1) for [size] in SIX)}, "anchor_sizes", "one size a level",
            id="ssd-two-sizes",
        ),
        pytest.param(SSD300, {"anchor_ratios": (1.0, 2.0)}, "anchor_ratios", "its inverse", id="ssd-without-inverse"),
        pytest.param(SSD300, {"anchor_ratios": (0.5, 2.0)}, "anchor_ratios", "of 1.0", id="ssd-without-squares"),
        pytest.param(SSD300, {"min_size": 512}, "min_size", "works at 300 px only", id="ssd-size"),
        pytest.param(SSD300, {"norm": "frozen"}, "norm", "no batch normalisation", id="vgg-norm"),
        pytest.param(CONVNEXT, {"norm": "batch"}, "norm", "no batch normalisation", id="convnext-norm"),
        pytest.param(CONVNEXT, {"trainable_layers": 5}, "trainable_layers", "only 4", id="convnext-stages"),
        pytest.param(SSDLITE, {"fpn_channels": 64}, "fpn_channels", "means nothing", id="ssd-pyramid"),
        pytest.param(FCOS, {"box_head_width": 64}, "box_head_width", "means nothing", id="fcos-box-head"),
        pytest.param(RETINANET, {"box_samples": 64}, "box_samples", "means nothing", id="retinanet-samples"),
        pytest.param(RETINANET_V2, {"fpn_channels": 48}, "fpn_channels", "32 groups", id="channels-not-in-groups"),
        pytest.param(FCOS, {"fpn_channels": 48}, "fpn_channels", "32 groups", id="fcos-channels"),
        pytest.param(FCOS, {"fpn_channels": 32}, "fpn_channels", "at least two", id="groups-of-one-channel"),
        pytest.param(FCOS, {"fpn_channels": 64, "weights": "coco"}, "fpn_channels", "COCO", id="coco-channels"),
        pytest.param(CONVNEXT, {"weights": "coco"}, "weights", "no COCO weights", id="no-coco"),
    ],
)
def test_what_a_family_has_no_use_for_is_refused(arch: str, values: dict[str, Any], key: str, found: str) -> None:
    [fault] = faults(arch, **values)
    assert fault.key == (key,)
    assert found in fault.found
    assert fault.fix

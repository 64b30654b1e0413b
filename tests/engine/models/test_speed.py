"""Each speed-up against torchvision's own: values, gradients, and where it must keep out of the way."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign, box_iou, roi_align

from engine.models import build_detector
from engine.models.detector import Detector, Target
from engine.models.roi_pool import SparseRoIAlign
from engine.models.sampled_rpn import SampledRPN, matched_boxes, patches_at
from engine.models.speed import prepared, ways_on
from engine.recipe.schema import Hardware, Model, Precision

CPU = torch.device("cpu")
NAMES = ("mug", "laptop", "keyboard")
PLAIN = Hardware(
    channels_last=False, sparse_pooling=False, sampled_proposals=False, folded_norm=False, pyramid_in_place=False
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(7)


# --- pooling ---


def poolings(levels: int = 4, size: int = 7, samples: int = 2) -> tuple[MultiScaleRoIAlign, SparseRoIAlign]:
    names = [str(level) for level in range(levels)]
    theirs, ours = MultiScaleRoIAlign(names, size, samples), SparseRoIAlign(names, size, samples)
    ours.is_sparse = True
    maps = some_maps(1, 64, 64, levels)
    for one in (theirs, ours):
        one(maps, [torch.tensor([[0.0, 0.0, 32.0, 32.0]])], [(64, 64)])  # the scales are inferred once
    return theirs, ours


def some_maps(num_images: int, height: int, width: int, levels: int = 4, channels: int = 5) -> dict[str, Tensor]:
    return {
        str(level): torch.randn(num_images, channels, -(-height // 4 // 2**level), -(-width // 4 // 2**level))
        for level in range(levels)
    }


def assert_pooled_alike(
    theirs: MultiScaleRoIAlign, ours: SparseRoIAlign, maps: dict[str, Tensor], boxes: list[Tensor],
    shapes: list[tuple[int, int]],
) -> None:
    results = []
    weights = None
    for pooling in (theirs, ours):
        given_maps = {name: one.clone().requires_grad_() for name, one in maps.items()}
        pooled = pooling(given_maps, boxes, shapes)
        weights = torch.randn_like(pooled) if weights is None else weights
        (pooled * weights).sum().backward()
        results.append((pooled.detach(), [one.grad for one in given_maps.values()]))
    (expected, expected_grads), (found, grads) = results
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)
    for name, grad, expected_grad in zip(maps, grads, expected_grads, strict=True):
        scale = 1.0 if expected_grad is None else float(expected_grad.abs().max()) + 1
        wanted = torch.zeros_like(maps[name]) if expected_grad is None else expected_grad
        got = torch.zeros_like(wanted) if grad is None else grad
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=2e-6 * scale)


coordinates = st.floats(-80, 200, width=32)


@settings(max_examples=60, deadline=None)
@given(
    boxes=st.lists(st.lists(st.tuples(*[coordinates] * 4), max_size=6), min_size=1, max_size=3),
    height=st.integers(33, 130), width=st.integers(33, 130), seed=st.integers(0, 1000),
)
def test_pooling_equals_torchvisions(
    boxes: list[list[tuple[float, ...]]], height: int, width: int, seed: int
) -> None:
    torch.manual_seed(seed)
    theirs, ours = poolings()
    tensors = [torch.tensor(one, dtype=torch.float32).reshape(-1, 4) for one in boxes]
    ordered = [
        torch.cat([torch.minimum(one[:, :2], one[:, 2:]), torch.maximum(one[:, :2], one[:, 2:])], dim=1)
        for one in tensors
    ]
    assert_pooled_alike(theirs, ours, some_maps(len(boxes), height, width), ordered, [(height, width)] * len(boxes))


@pytest.mark.parametrize("size", [1, 7, 14])
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_pooling_of_other_sizes(size: int, samples: int) -> None:
    theirs, ours = poolings(size=size, samples=samples)
    boxes = [torch.tensor([[3.0, 4.0, 50.5, 61.0], [0.0, 0.0, 1.0, 1.0]])]
    assert_pooled_alike(theirs, ours, some_maps(1, 64, 64), boxes, [(64, 64)])


def test_pooling_from_one_level_and_one_channels_last() -> None:
    theirs, ours = poolings(levels=1)
    maps = {"0": some_maps(2, 64, 48, 1)["0"].to(memory_format=torch.channels_last), "pool": torch.randn(2, 5, 3, 3)}
    boxes = [torch.zeros(0, 4), torch.tensor([[2.0, 2.0, 60.0, 40.0]])]
    pooled = [one(maps, boxes, [(64, 48)] * 2) for one in (theirs, ours)]
    torch.testing.assert_close(pooled[1], pooled[0], rtol=1e-5, atol=2e-6)


def test_pooling_without_any_box() -> None:
    theirs, ours = poolings()
    maps = some_maps(2, 64, 64)
    boxes = [torch.zeros(0, 4)] * 2
    assert ours(maps, boxes, [(64, 64)] * 2).shape == theirs(maps, boxes, [(64, 64)] * 2).shape == (0, 5, 7, 7)


def test_pooling_keeps_bfloat16() -> None:
    theirs, ours = poolings()
    maps = {name: one.bfloat16() for name, one in some_maps(1, 64, 64).items()}
    boxes = [torch.tensor([[3.0, 4.0, 50.5, 61.0]])]
    found = ours(maps, boxes, [(64, 64)])
    exact = theirs({name: one.float() for name, one in maps.items()}, boxes, [(64, 64)])
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    "change", [{"is_sparse": False}, {"sampling_ratio": 0}], ids=["switched off", "samples by size"]
)
def test_pooling_leaves_the_rest_to_torchvision(change: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = poolings()
    for name, value in change.items():
        for one in (theirs, ours):
            monkeypatch.setattr(one, name, value, raising=False)
    calls: list[int] = []
    monkeypatch.setattr(
        "torchvision.ops.poolers.roi_align", lambda *a, **k: calls.append(1) or roi_align(*a, **k)
    )
    maps, boxes = some_maps(1, 64, 64), [torch.tensor([[3.0, 4.0, 50.5, 61.0]])]
    assert torch.equal(ours(maps, boxes, [(64, 64)]), theirs(maps, boxes, [(64, 64)]))
    assert len(calls) == 8  # four levels each


# --- the proposal loss ---


def test_patches_are_what_a_convolution_sees() -> None:
    maps = [torch.randn(2, 3, 5, 4), torch.randn(2, 3, 2, 3), torch.randn(2, 3, 1, 1)]
    image = torch.arange(2).repeat_interleave(27)
    place = torch.arange(27).repeat(2)
    shuffled = torch.randperm(54)
    found = patches_at(maps, image[shuffled], place[shuffled])
    weight = torch.randn(6, 3, 3, 3)
    expected = torch.cat(
        [nn.functional.conv2d(one, weight, padding=1).permute(0, 2, 3, 1).flatten(1, 2) for one in maps], dim=1
    ).flatten(0, 1)
    by_patch = nn.functional.linear(found.flatten(1), weight.permute(0, 2, 3, 1).flatten(1))
    torch.testing.assert_close(by_patch, expected[shuffled], rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    boxes=st.lists(st.tuples(*[st.integers(-10, 60)] * 2, *[st.integers(0, 40)] * 2), max_size=6),
    allowed=st.booleans(), seed=st.integers(0, 1000),
)
def test_anchors_answer_for_the_boxes_torchvision_says(
    boxes: list[tuple[int, ...]], allowed: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    corners = torch.randint(-8, 60, (40, 2)).float()
    anchors = torch.cat([corners, corners + torch.randint(1, 30, (40, 2))], dim=1)
    theirs = torch.tensor([(x, y, x + width, y + height) for x, y, width, height in boxes]).float().reshape(-1, 4)
    matcher = Matcher(0.5, 0.2, allow_low_quality_matches=allowed)
    found = matched_boxes(theirs, anchors, matcher)
    wanted = matcher(box_iou(theirs, anchors)) if len(boxes) else torch.full((40,), -1)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("training", [True, False], ids=["training", "detecting"])
def test_the_same_proposals_to_the_bit(training: bool) -> None:
    detector = small_detector()
    images, targets = a_batch(3, 0, 40)
    found = []
    for way in (PLAIN, PLAIN.model_copy(update={"sampled_proposals": True})):
        network = prepared(detector, way, CPU).network.train(training)
        assert isinstance(network, FasterRCNN)
        with torch.no_grad():
            torch.manual_seed(3)
            batch, scaled = network.transform(images, [{"boxes": one["boxes_xyxy"]} for one in targets])
            found.append(network.rpn(batch, network.backbone(batch.tensors), scaled))
    (wanted, wanted_losses), (ours, losses) = found
    assert all(torch.equal(one, other) for one, other in zip(ours, wanted, strict=True))
    assert [len(one) > 10 for one in ours] == [True] * 3
    assert losses == wanted_losses
    assert bool(losses) == training


def small_detector(arch: str = "fasterrcnn_mobilenet_v2_fpn", **settings: object) -> Detector:
    model = Model.model_validate(
        {"arch": arch, "weights": "none", "min_size": 96, "max_size": 128, "norm": "frozen", **settings}
    )
    detector = build_detector(model, NAMES).train()
    with torch.no_grad():
        for parameter in detector.parameters():  # frozen normalisation of random weights lets signals die out
            if parameter.dim() == 4:
                nn.init.kaiming_normal_(parameter)
    return detector


def a_batch(*counts: int) -> tuple[list[Tensor], list[Target]]:
    images = [torch.rand(3, 96, 128 - 16 * index) for index in range(len(counts))]
    targets: list[Target] = []
    for count in counts:
        corners = torch.rand(count, 2) * 50
        boxes = torch.cat([corners, corners + 5 + torch.rand(count, 2) * 35], dim=1)
        targets.append({"boxes_xyxy": boxes, "labels": torch.randint(0, 3, (count,))})
    return images, targets


def losses_and_gradients(
    detector: Detector, batch: tuple[list[Tensor], list[Target]], precision: str = "fp32"
) -> tuple[dict[str, float], dict[str, Tensor]]:
    torch.manual_seed(3)
    detector.zero_grad(set_to_none=True)
    losses = detector.losses(*batch, precision)  # type: ignore[arg-type]
    torch.stack(list(losses.values())).sum().backward()
    gradients = {name: one.grad for name, one in detector.named_parameters() if one.grad is not None}
    return {name: loss.item() for name, loss in losses.items()}, gradients


def assert_same_step(
    found: tuple[dict[str, float], dict[str, Tensor]], expected: tuple[dict[str, float], dict[str, Tensor]],
    tolerance: float = 1e-4,
) -> None:
    assert found[0].keys() == expected[0].keys()
    np.testing.assert_allclose(list(found[0].values()), list(expected[0].values()), rtol=1e-4, atol=1e-6)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        assert largest_difference(found[1][name], gradient) < tolerance, name


def largest_difference(found: Tensor, expected: Tensor) -> float:
    """As a share of the largest value that is expected."""
    return float((found - expected).abs().max()) / (float(expected.abs().max()) + 1e-6)


@pytest.mark.parametrize("counts", [(3, 4), (1,), (0, 2), (0,), (30, 0, 5)], ids=str)
def test_a_step_equals_torchvisions(counts: tuple[int, ...]) -> None:
    detector = small_detector()
    batch = a_batch(*counts)
    expected = losses_and_gradients(prepared(detector, PLAIN, CPU), batch)
    for one in ("sparse_pooling", "sampled_proposals", "pyramid_in_place"):
        found = losses_and_gradients(prepared(detector, PLAIN.model_copy(update={one: True}), CPU), batch)
        assert_same_step(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch", ["fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2", "fasterrcnn_mobilenet_v3_large_fpn",
             "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet18_fpn"],
)
def test_a_step_of_every_kind_equals_torchvisions(arch: str) -> None:
    torch.manual_seed(1)
    detector = small_detector(arch)
    images, targets = a_batch(3, 5)
    expected = losses_and_gradients(prepared(detector, PLAIN, CPU), (images, targets))
    # Batch statistics and kinks make much of little: as much as of a last digit of the pixels.
    noise = 0.0
    for _ in range(3):
        _, noisy = losses_and_gradients(detector, ([one + 1e-7 * torch.randn_like(one) for one in images], targets))
        noise = max(noise, *(largest_difference(noisy[name], gradient) for name, gradient in expected[1].items()))
    found = losses_and_gradients(prepared(detector, Hardware(channels_last=False), CPU), (images, targets))
    assert noise < 0.1
    assert_same_step(found, expected, tolerance=1e-4 + 3 * noise)


def test_every_parameter_of_the_head_learns_in_bfloat16() -> None:
    detector = small_detector()
    batch = a_batch(3, 4)
    _, expected = losses_and_gradients(prepared(detector, PLAIN, CPU), batch, "bf16")
    _, found = losses_and_gradients(
        prepared(detector, PLAIN.model_copy(update={"sampled_proposals": True}), CPU), batch, "bf16"
    )
    heads = [name for name in expected if ".rpn." in name]
    assert len(heads) == 6
    for name in heads:
        similarity = nn.functional.cosine_similarity(found[name].flatten(), expected[name].flatten(), dim=0)
        assert similarity > 0.98, name


def test_measuring_and_detecting_use_the_dense_head(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = small_detector()

    def refuse(*_: object) -> None:
        raise AssertionError("the sampled way was taken")

    monkeypatch.setattr(SampledRPN, "_outputs_at", refuse)
    prepared(detector, Hardware(), CPU)
    images, targets = a_batch(2)
    detector.detect_with_losses(images, targets)
    detector.detect(images)
    with pytest.raises(AssertionError, match="sampled way"):
        detector.train().losses(images, targets)


def test_measuring_runs_the_proposal_head_once() -> None:
    detector = prepared(small_detector(), Hardware(), CPU)
    calls: list[object] = []
    detector.network.rpn.head.conv.register_forward_hook(lambda *_: calls.append(1))
    for expected in (4, 8):  # its levels
        detector.detect_with_losses(*a_batch(2))
        assert len(calls) == expected


def test_settings_are_torchvisions() -> None:
    detector = small_detector()
    rpn = detector.network.rpn
    assert isinstance(rpn, SampledRPN)
    other = RegionProposalNetwork(
        rpn.anchor_generator, rpn.head, 0.6, 0.2, 99, 0.4, {"training": 7, "testing": 8},
        {"training": 5, "testing": 6}, 0.55, 0.1,
    ).eval()
    made = SampledRPN.like(other)
    assert not made.training
    own = {name: vars(made)[name] for name in vars(other) if not name.startswith("_") and name != "training"}
    for name, value in own.items():
        theirs = vars(other)[name]
        assert (vars(value) if hasattr(value, "__dict__") else value) == (
            vars(theirs) if hasattr(theirs, "__dict__") else theirs
        ), name
    assert (made._pre_nms_top_n, made._post_nms_top_n) == (other._pre_nms_top_n, other._post_nms_top_n)


# --- the form in memory ---


@pytest.mark.parametrize("wanted", [True, False])
def test_kernels_lie_as_the_recipe_says(wanted: bool) -> None:
    detector = prepared(small_detector(), Hardware(channels_last=wanted), CPU)
    kernel = next(one for one in detector.parameters() if one.dim() == 4 and min(one.shape[1:]) > 1)
    assert kernel.is_contiguous(memory_format=torch.channels_last) == wanted


def test_the_same_detections_in_either_form() -> None:
    detector = small_detector()
    images, _ = a_batch(0, 0)
    before = prepared(detector, Hardware(channels_last=False), CPU).detect(images)
    after = prepared(detector, Hardware(), CPU).detect(images)
    for one, other in zip(before, after, strict=True):
        assert len(one["scores"]) == len(other["scores"]) > 0
        torch.testing.assert_close(one["scores"], other["scores"], rtol=1e-3, atol=1e-4)


def test_subnormal_numbers_become_zero_in_every_thread() -> None:
    code = (
        "import torch; from engine.models.speed import flush_subnormals; flush_subnormals(); "
        "torch.set_num_threads(2); small = torch.full((2_000_000,), 1e-30); "
        "print((small * 1e-10).count_nonzero().item(), (small * 1.0).count_nonzero().item())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["0", "2000000"]


# --- what the keys mean on a device ---


@pytest.mark.parametrize(
    ("device", "asked", "precision", "expected"),
    [
        pytest.param("cpu", {}, "fp32", {"channels_last", "folded_norm", "pyramid_in_place"}, id="a CPU"),
        pytest.param("cuda", {}, "fp32", {"folded_norm"}, id="CUDA in fp32"),
        pytest.param("cuda", {}, "bf16", {"channels_last", "folded_norm"}, id="CUDA in bf16"),
        pytest.param("cuda", {}, "fp16", {"channels_last", "folded_norm"}, id="CUDA in fp16"),
        pytest.param("cuda:1", {"compile": True}, "fp32", {"folded_norm", "compile", "shape_buckets"}, id="compiled"),
        pytest.param(
            "cuda", {"compile": True, "shape_buckets": False}, "fp32", {"folded_norm", "compile"},
            id="compiled, all shapes",
        ),
        pytest.param("cuda", {"shape_buckets": True}, "fp32", {"folded_norm", "shape_buckets"}, id="few shapes alone"),
        pytest.param(
            "cpu", {"compile": True}, "fp32", {"channels_last", "folded_norm", "pyramid_in_place", "compile"},
            id="compiled on a CPU",
        ),
        pytest.param("cuda", {"folded_norm": False, "channels_last": False}, "bf16", set(), id="switched off"),
        pytest.param("mps", {}, "fp32", set(), id="Apple's"),
    ],
)
def test_what_is_switched_on(device: str, asked: dict[str, bool], precision: Precision, expected: set[str]) -> None:
    ways = ways_on(torch.device(device), Hardware(**asked), precision)  # type: ignore[arg-type]
    both = {"sparse_pooling", "sampled_proposals"}  # these look at the tensors they are given
    assert {one.name for one in fields(ways) if getattr(ways, one.name)} - both == expected


def test_few_shapes_are_the_recipes_choice_on_a_cpu_too() -> None:
    detector = prepared(small_detector(), Hardware(shape_buckets=True), CPU)
    assert detector.network.transform.is_bucketed
    assert not prepared(small_detector(), Hardware(), CPU).network.transform.is_bucketed

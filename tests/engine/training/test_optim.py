"""Which parameters learn, how fast each, and what a frozen backbone leaves alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import ssd300_vgg16

from engine.models import Detector, build_detector
from engine.recipe.schema import Model, Optimizer
from engine.training.optim import backbone_parts, build_optimizer, set_lr, set_training_mode

NAMES = ("mug", "laptop")


@pytest.fixture(scope="module")
def original() -> Detector:
    torch.manual_seed(0)
    small = Model(
        arch="fasterrcnn_mobilenet_v3_large_fpn", weights="none", norm="batch", trainable_layers=3,
        min_size=48, max_size=64, fpn_channels=16, box_head_width=16, box_samples=32,
    )
    return build_detector(small, NAMES)


@pytest.fixture
def detector(original: Detector) -> Detector:
    return copy.deepcopy(original)


def learn(detector: Detector, optimizer: torch.optim.Optimizer, steps: int = 1, *, seed: int = 0) -> None:
    """Training steps on noise, the way the trainer takes them; the same at every call."""
    torch.manual_seed(seed)
    for _ in range(steps):
        target = {"boxes_xyxy": torch.tensor([[4.0, 4, 30, 30]]), "labels": torch.tensor([1])}
        losses = detector.losses([torch.rand(3, 48, 64)], [target])  # type: ignore[list-item]
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()


def snapshot(detector: Detector) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in detector.network.state_dict().items()}


def changed(detector: Detector, before: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in detector.network.state_dict().items() if not torch.equal(tensor, before[name])}


def group_of(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, Any]:
    [group] = [group for group in optimizer.param_groups if any(own is parameter for own in group["params"])]
    return group


# --- groups ---


@pytest.mark.parametrize(
    ("name", "kind", "momentum"),
    [("sgd", torch.optim.SGD, ("momentum", 0.8)), ("adamw", torch.optim.AdamW, ("betas", (0.8, 0.999)))],
    ids=["sgd", "adamw"],
)
def test_an_optimizer_is_as_the_recipe_says(
    detector: Detector, name: Any, kind: type, momentum: tuple[str, object]
) -> None:
    optimizer = build_optimizer(detector, Optimizer(name=name, lr=0.25, momentum=0.8, weight_decay=0.125))
    assert type(optimizer) is kind
    group = group_of(optimizer, detector.network.rpn.head.cls_logits.weight)
    assert (group["lr"], group["weight_decay"], group[momentum[0]]) == (0.25, 0.125, momentum[1])


def test_sgd_by_default_is_one_group_in_the_detectors_order(detector: Detector) -> None:
    [group] = build_optimizer(detector, Optimizer()).param_groups
    learning = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    assert len(learning) < len(list(detector.parameters()))
    assert all(one is other for one, other in zip(group["params"], learning, strict=True))


@pytest.mark.parametrize(
    ("settings", "decays"),
    [
        pytest.param({"name": "sgd"}, (0.5, 0.5), id="sgd"),
        pytest.param({"name": "adamw"}, (0.5, 0.0), id="adamw"),
        pytest.param({"name": "sgd", "norm_weight_decay": 0.0}, (0.5, 0.0), id="sgd, none on norms"),
        pytest.param({"name": "adamw", "norm_weight_decay": 0.25}, (0.5, 0.25), id="adamw, some on norms"),
    ],
)
def test_weight_decay_of_weights_and_of_norms_and_biases(
    detector: Detector, settings: Any, decays: tuple[float, float]
) -> None:
    optimizer = build_optimizer(detector, Optimizer(weight_decay=0.5, **settings))
    for layer in detector.modules():
        is_norm = isinstance(layer, nn.BatchNorm2d)
        for name, parameter in layer.named_parameters(recurse=False):
            if parameter.requires_grad:
                expected = decays[1] if is_norm or name == "bias" else decays[0]
                assert group_of(optimizer, parameter)["weight_decay"] == expected


def test_scales_of_three_dimensions_count_as_norms() -> None:
    """ConvNeXt's layer scales are (C, 1, 1)."""
    scale, weight = nn.Parameter(torch.ones(4, 1, 1)), nn.Parameter(torch.ones(4, 1, 1, 1))
    optimizer = build_optimizer([scale, weight], Optimizer(name="adamw", weight_decay=0.5))
    assert [group_of(optimizer, one)["weight_decay"] for one in (scale, weight)] == [0.0, 0.5]


def test_the_backbone_learns_at_its_share_and_the_pyramid_at_the_full_rate(detector: Detector) -> None:
    optimizer = build_optimizer(detector, Optimizer(lr=0.5, backbone_lr_factor=0.1))
    set_lr(optimizer, 0.2)
    backbone = detector.network.backbone
    for parameter in backbone.body.parameters():
        if parameter.requires_grad:
            assert group_of(optimizer, parameter)["lr"] == pytest.approx(0.02)
    for parameter in [*backbone.fpn.parameters(), *detector.network.roi_heads.parameters()]:
        assert group_of(optimizer, parameter)["lr"] == 0.2


def test_a_new_optimizer_starts_at_the_recipes_rates(detector: Detector) -> None:
    optimizer = build_optimizer(detector, Optimizer(lr=0.5, backbone_lr_factor=0.1))
    assert {(group["lr_factor"], group["lr"]) for group in optimizer.param_groups} == {(0.1, 0.05), (1.0, 0.5)}


def test_the_backbone_of_an_ssd_is_without_its_extra_layers() -> None:
    detector = build_detector(Model(arch="ssdlite320_mobilenet_v3_large", weights="none"), NAMES)
    own = {id(parameter) for part in backbone_parts(detector) for parameter in part.parameters()}
    assert own == {id(parameter) for parameter in detector.network.backbone.features.parameters()}


def test_the_backbone_of_ssd300_is_all_of_vgg() -> None:
    network = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=3)
    parts = backbone_parts(Detector(network, NAMES))
    convolutions = [layer for part in parts for layer in part.modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 13 + 2  # VGG16's, and its two products as convolutions
    assert not any(own is network.backbone.scale_weight for part in parts for own in part.parameters())


def test_bare_parameters_make_a_group_too() -> None:
    learning, frozen = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1), requires_grad=False)
    optimizer = build_optimizer([learning, frozen], Optimizer(lr=0.25, backbone_lr_factor=0.1))
    [group] = optimizer.param_groups
    assert group["params"] == [learning]
    set_lr(optimizer, 0.5)
    assert group["lr"] == 0.5


def test_a_checkpoint_from_before_groups_had_factors_still_loads(detector: Detector) -> None:
    optimizer = build_optimizer(detector, Optimizer())
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["lr_factor"]
    optimizer.load_state_dict(state)
    set_lr(optimizer, 0.125)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125]


@pytest.mark.parametrize(
    "several",
    [
        pytest.param({}, id="left out"),
        pytest.param({"backbone_lr_factor": 1.0, "norm_weight_decay": 0.0005}, id="spelt out"),
    ],
)
def test_where_nothing_differs_training_is_as_with_torchs_own_sgd(detector: Detector, several: Any) -> None:
    plain = copy.deepcopy(detector)
    learning = [parameter for parameter in plain.parameters() if parameter.requires_grad]
    theirs = torch.optim.SGD(learning, lr=0.01, momentum=0.9, weight_decay=0.0005)
    ours = build_optimizer(detector, Optimizer(lr=0.01, **several))
    plain.train()
    set_training_mode(detector, ours)
    # Statistics of stages that never learn would move in torchvision; here they don't.
    for own, other in zip(plain.modules(), detector.modules(), strict=True):
        own.training = other.training
    learn(plain, theirs, 3)
    set_lr(ours, 0.01)
    learn(detector, ours, 3)
    assert changed(detector, snapshot(plain)) == set()


def test_groups_of_equal_rates_train_to_the_bit_like_one_group(detector: Detector) -> None:
    """Splitting by itself changes nothing: SGD treats each parameter on its own."""
    plain = copy.deepcopy(detector)
    one = build_optimizer(plain, Optimizer(lr=0.01))
    split = build_optimizer(detector, Optimizer(lr=0.01, backbone_lr_factor=0.5, norm_weight_decay=0.0))
    assert (len(one.param_groups), len(split.param_groups)) == (1, 4)
    for group in split.param_groups:
        group.update(lr=0.01, weight_decay=0.0005)
    for own, optimizer in ((plain, one), (detector, split)):
        set_training_mode(own, optimizer)
        learn(own, optimizer, 3)
    assert changed(detector, snapshot(plain)) == set()


# --- freezing ---


def names_of(detector: Detector, prefix: str) -> set[str]:
    return {name for name, _ in detector.network.named_parameters() if name.startswith(prefix)}


def test_a_frozen_backbone_stays_to_the_bit_while_neck_and_heads_learn(detector: Detector) -> None:
    optimizer = build_optimizer(detector, Optimizer(lr=0.01, weight_decay=0.1))
    set_training_mode(detector, optimizer, freeze_backbone=True)
    before = snapshot(detector)
    learn(detector, optimizer, 2)
    moved = changed(detector, before)
    assert not any(name.startswith("backbone.body.") for name in moved)
    assert moved >= names_of(detector, "backbone.fpn.") | names_of(detector, "rpn.")
    body = {id(parameter) for parameter in detector.network.backbone.body.parameters()}
    assert not any(id(parameter) in body for parameter in optimizer.state)
    assert all(parameter.grad is None for parameter in detector.network.backbone.body.parameters())


def test_a_thawed_backbone_learns_but_not_its_frozen_stages(detector: Detector) -> None:
    learning = {name for name, own in detector.network.named_parameters() if own.requires_grad}
    optimizer = build_optimizer(detector, Optimizer(lr=0.01))
    set_training_mode(detector, optimizer, freeze_backbone=True)
    set_training_mode(detector, optimizer, freeze_backbone=False)
    assert {name for name, own in detector.network.named_parameters() if own.requires_grad} == learning
    before = snapshot(detector)
    learn(detector, optimizer, 2)
    moved = changed(detector, before)
    frozen = names_of(detector, "backbone.body.") - learning
    assert frozen
    assert not moved & frozen
    assert any(name in moved for name in names_of(detector, "backbone.body."))


def test_statistics_follow_the_weights_of_their_norm(detector: Detector) -> None:
    optimizer = build_optimizer(detector, Optimizer())
    norms = [layer for layer in detector.network.backbone.body.modules() if isinstance(layer, nn.BatchNorm2d)]
    stages = [layer.weight.requires_grad for layer in norms]
    assert True in stages
    assert False in stages
    set_training_mode(detector, optimizer, freeze_backbone=True)
    assert not any(layer.training for layer in detector.network.backbone.body.modules())
    assert detector.network.backbone.fpn.training
    detector.eval()
    set_training_mode(detector, optimizer)
    assert [layer.training for layer in norms] == stages
    assert detector.network.rpn.training
    assert detector.network.backbone.body.training


def test_the_gradients_of_a_backbone_frozen_again_are_forgotten(detector: Detector) -> None:
    optimizer = build_optimizer(detector, Optimizer(lr=0.01))
    set_training_mode(detector, optimizer)
    learn(detector, optimizer)
    set_training_mode(detector, optimizer, freeze_backbone=True)
    before = snapshot(detector)
    optimizer.step()  # momentum moves whatever has a gradient
    assert not any(name.startswith("backbone.body.") for name in changed(detector, before))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("done", [1, 2, 3], ids=["while frozen", "at the thaw", "after the thaw"])
def test_thawing_with_a_resume_in_between_is_as_without(detector: Detector, name: Any, done: int) -> None:
    """Epochs 0 and 1 are frozen; the run is interrupted after `done` of four."""
    settings = Optimizer(name=name, lr=0.01, backbone_lr_factor=0.5)

    def epochs(own: Detector, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
        for epoch in range(first, last):
            set_training_mode(own, optimizer, freeze_backbone=epoch < 2)
            learn(own, optimizer, 2, seed=epoch)
            own.eval()

    resumed = copy.deepcopy(detector)
    whole = build_optimizer(detector, settings)
    epochs(detector, whole, 0, done)
    state = copy.deepcopy((detector.network.state_dict(), whole.state_dict()))
    epochs(detector, whole, done, 4)

    optimizer = build_optimizer(resumed, settings)
    resumed.network.load_state_dict(state[0])
    optimizer.load_state_dict(state[1])
    epochs(resumed, optimizer, done, 4)
    assert changed(resumed, snapshot(detector)) == set()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
def test_one_pass_updates_as_several(name: Any, form: torch.memory_format) -> None:
    updated = []
    for fused in (False, True):
        torch.manual_seed(0)
        weights = [nn.Parameter(torch.randn(8, 4, 3, 3).contiguous(memory_format=form)), nn.Parameter(torch.randn(8))]
        optimizer = build_optimizer(weights, Optimizer(name=name, lr=0.1), fused=fused)
        assert bool(optimizer.param_groups[0]["fused"]) == fused
        for _ in range(3):
            for weight in weights:
                weight.grad = torch.randn(weight.shape).contiguous(
                    memory_format=form if weight.dim() == 4 else torch.contiguous_format
                )
            optimizer.step()
        updated.append([weight.detach() for weight in weights])
    for one, other in zip(*updated, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_device_without_such_a_pass_takes_several() -> None:
    weight = nn.Parameter(torch.empty(3, device="meta"))
    assert build_optimizer([weight], Optimizer(), fused=True).param_groups[0]["fused"] is None


def test_a_weight_that_learns_later_than_others_begins_as_without_fusing() -> None:
    ends = []
    for fused in (False, True):
        early, late = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
        optimizer = build_optimizer([early, late], Optimizer(name="sgd", lr=0.1), fused=fused)
        for step in range(4):
            early.grad = torch.full((3,), 0.5 + step)
            late.grad = None if step < 2 else torch.full((3,), 0.25 * step)
            optimizer.step()
        ends.append(torch.cat([early, late]).detach())
    assert torch.allclose(ends[0], ends[1], rtol=1e-6)

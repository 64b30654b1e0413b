"""The adapter: zero-based labels outside, losses and detections in one pass, and nothing changed by it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.catalogue import ARCHS
from engine.errors import EngineError
from engine.models import Detector, Target, build_detector
from engine.models.detector import family_of, output_names, pick_device, to_cpu
from engine.models.rows import is_class_layer
from tests.engine.models.builders import FAMILIES, SSD300, confident, model


@pytest.fixture(scope="module", params=FAMILIES)
def frozen(request: pytest.FixtureRequest) -> Detector:
    """A detector whose normalisation and statistics don't depend on the mode it is in."""
    return made(request.param, norm="frozen")


@pytest.fixture(scope="module", params=FAMILIES)
def learning(request: pytest.FixtureRequest) -> Detector:
    return made(request.param, norm="batch")


def made(arch: str, **values: Any) -> Detector:
    """A detector that finds something from the start."""
    torch.manual_seed(0)
    detector = build_detector(model(arch, **values), ("a", "b"))
    confident(detector.network)
    return detector


def test_losses_of_validation_are_those_of_training(
    frozen: Detector, images: list[Tensor], targets: list[Target]
) -> None:
    frozen.train()
    torch.manual_seed(5)
    expected = frozen.losses(images, targets)
    torch.manual_seed(5)
    _, losses = frozen.detect_with_losses(images, targets)
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-6), name
        assert not loss.requires_grad


def test_detections_are_those_without_losses(learning: Detector, images: list[Tensor], targets: list[Target]) -> None:
    alone = learning.detect(images)
    beside, _ = learning.detect_with_losses(images, targets)
    for one, other in zip(alone, beside, strict=True):
        assert len(one["scores"]) > 0
        assert all(torch.equal(one[key], other[key]) for key in ("boxes_xyxy", "labels", "scores"))  # type: ignore[literal-required]


def test_measuring_changes_nothing(learning: Detector, images: list[Tensor], targets: list[Target]) -> None:
    before = {name: tensor.clone() for name, tensor in learning.state_dict().items()}
    random = torch.get_rng_state()
    learning.train()
    learning.detect_with_losses(images, targets)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, before[name]) for name, tensor in learning.state_dict().items())
    assert not any(module.training for module in learning.modules())
    assert all(parameter.grad is None for parameter in learning.parameters())


def test_nothing_is_left_in_training_mode_when_measuring_fails(images: list[Tensor], targets: list[Target]) -> None:
    detector = build_detector(model(), ("a", "b"))
    bad: list[Target] = [{"boxes_xyxy": torch.zeros(1, 3), "labels": torch.tensor([0])}, targets[1]]
    with pytest.raises((ValueError, AssertionError, RuntimeError, IndexError)):
        detector.detect_with_losses(images, bad)
    assert not any(module.training for module in detector.modules())


def test_labels_are_zero_based_on_both_sides(images: list[Tensor], targets: list[Target]) -> None:
    detector = build_detector(model(), ("a", "b"))
    given: list[list[Tensor]] = []

    class Spy(torch.nn.Module):
        def forward(self, _: object, torchvisions: list[dict[str, Tensor]] | None = None) -> object:
            if torchvisions is not None:
                given.append([target["labels"] for target in torchvisions])
                return {}
            return [{"boxes": torch.zeros(2, 4), "labels": torch.tensor([1, 2]), "scores": torch.ones(2)}]

    detector.network = Spy()  # type: ignore[assignment]
    detector.losses(images, targets)
    assert [labels.tolist() for labels in given[0]] == [[1, 2], []]
    assert detector.detect(images)[0]["labels"].tolist() == [0, 1]
    assert targets[0]["labels"].tolist() == [0, 1]


def test_only_classes_of_the_map_are_found(learning: Detector, images: list[Tensor]) -> None:
    for found in learning.detect(images):
        assert set(found["labels"].tolist()) <= {0, 1}
        assert (found["scores"].diff() <= 0).all()


def test_detections_are_in_the_pixels_of_the_image_given(learning: Detector) -> None:
    wide = torch.rand(3, 30, 200)
    [found] = learning.detect([wide])
    boxes = found["boxes_xyxy"]
    assert boxes[:, 0::2].max() > 64  # wider than the size it is looked at
    assert (boxes >= 0).all()
    assert (boxes[:, 0::2] <= 200).all()
    assert (boxes[:, 1::2] <= 30).all()


def test_images_without_objects_have_losses(learning: Detector, images: list[Tensor], targets: list[Target]) -> None:
    none = [targets[1], targets[1]]
    for given in (images[1:], images):
        _, losses = learning.detect_with_losses(given, none[: len(given)])
        assert all(torch.isfinite(loss) for loss in losses.values())
    learning.train()
    total = torch.stack(list(learning.losses(images, none).values())).sum()
    total.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in learning.parameters())
    learning.zero_grad()


def test_a_batch_of_one_image_teaches(images: list[Tensor], targets: list[Target]) -> None:
    detector = build_detector(model("ssdlite320_mobilenet_v3_large"), ("a", "b")).train()
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items() if "running_mean" in name}
    losses = detector.losses(images[:1], targets[:1])
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(module.training for module in detector.modules())
    still = [name for name, tensor in before.items() if torch.equal(tensor, detector.state_dict()[name])]
    assert 0 < len(still) < len(before) / 10, "only layers that see one cell go by what they know"


# --- labels ---


def logits_of(network: Any) -> list[nn.Parameter]:
    """The biases of the classification layers, of which a class's score follows when the weights are 0."""
    parameters = dict(network.named_parameters())
    names = [name for name in parameters if is_class_layer(name) and "bbox_pred" not in name]
    for name in names:
        if name.endswith(".weight"):
            nn.init.zeros_(parameters[name])
    return [parameters[name] for name in names if name.endswith(".bias")]


@pytest.mark.parametrize("arch", [*FAMILIES, pytest.param(SSD300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_each_class_is_found_by_its_own_output(arch: str, label: int, images: list[Tensor]) -> None:
    detector = build_detector(model(arch), ("a", "b", "c"))
    offset = 1 if ARCHS[arch].family in ("fasterrcnn", "ssd") else 0
    with torch.no_grad():
        for bias in logits_of(detector.network):
            bias.fill_(-9)
            bias.view(-1, 3 + offset)[:, label + offset] = 9
    for found in detector.detect(images):
        assert len(found["labels"]) > 0
        assert set(found["labels"].tolist()) == {label}


@pytest.mark.parametrize("arch", [*FAMILIES, pytest.param(SSD300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("label", [0, 2])
def test_each_class_is_learnt_by_its_own_output(arch: str, label: int, images: list[Tensor]) -> None:
    torch.manual_seed(0)
    detector = build_detector(model(arch), ("a", "b", "c")).train()
    offset = 1 if ARCHS[arch].family in ("fasterrcnn", "ssd") else 0
    biases = logits_of(detector.network)
    for bias in biases:
        nn.init.zeros_(bias)
    target: Target = {"boxes_xyxy": torch.tensor([[2.0, 2, 60, 46]]), "labels": torch.tensor([label])}
    losses = detector.losses(images[:1], [target])
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    pulls = torch.stack([bias.grad.view(-1, 3 + offset).sum(0) for bias in biases if bias.grad is not None]).sum(0)
    # A step against the gradient lifts the class that is there above the others.
    assert pulls[offset:].argmin().item() == label


@pytest.mark.parametrize("arch", FAMILIES)
def test_outputs_are_named(arch: str) -> None:
    family = ARCHS[arch].family
    assert family_of(build_detector(model(arch), ("a",)).network) == family
    names = output_names(family, ("a", "b"))
    assert names == (("__background__", "a", "b") if family in ("fasterrcnn", "ssd") else ("a", "b"))


@pytest.mark.parametrize(
    ("cuda", "mps", "device"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")], ids=["cuda first", "then mps", "then cpu"],
)
def test_auto_takes_the_best_device(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, device: str) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)
    assert pick_device("auto").type == device
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("wanted", ["banana", "cuda:99", "cpu:x", ""])
def test_a_device_that_isnt_there_is_told(wanted: str) -> None:
    with pytest.raises(EngineError) as caught:
        pick_device(wanted)
    assert f'the device "{wanted}"' in caught.value.problems[0].found


def test_detections_on_the_cpu_keep_their_values() -> None:
    found = {"boxes_xyxy": torch.ones(1, 4), "labels": torch.tensor([1]), "scores": torch.tensor([0.5])}
    moved = to_cpu(found)  # type: ignore[arg-type]
    assert {key: value.tolist() for key, value in moved.items()} == {  # type: ignore[attr-defined]
        "boxes_xyxy": [[1, 1, 1, 1]], "labels": [1], "scores": [0.5],
    }

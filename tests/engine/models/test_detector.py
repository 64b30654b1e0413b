"""The adapter: zero-based labels outside, losses and detections in one pass, and nothing changed by it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.errors import EngineError
from engine.models import Detector, Target, build_detector
from engine.models.detector import pick_device, to_cpu
from tests.engine.models.builders import QUICK, SSD, model


@pytest.fixture(scope="module", params=[QUICK, SSD])
def frozen(request: pytest.FixtureRequest) -> Detector:
    """A detector whose normalisation and statistics don't depend on the mode it is in."""
    torch.manual_seed(0)
    return build_detector(model(request.param, norm="frozen"), ("a", "b"))


@pytest.fixture(scope="module", params=[QUICK, SSD])
def learning(request: pytest.FixtureRequest) -> Detector:
    torch.manual_seed(0)
    return build_detector(model(request.param, norm="batch"), ("a", "b"))


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
    learning.detect_with_losses(images, targets)
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


def test_an_image_without_objects_has_losses(learning: Detector, images: list[Tensor], targets: list[Target]) -> None:
    _, losses = learning.detect_with_losses(images[1:], targets[1:])
    assert all(torch.isfinite(loss) for loss in losses.values())


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

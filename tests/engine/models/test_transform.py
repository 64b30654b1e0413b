"""Resizing and putting together: torchvision's to the bit, nothing sent to the device twice, and few shapes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from engine.models import build_detector
from engine.models.folded_norm import take_on
from engine.models.speed import prepared
from engine.models.transform import Transform, padded_side
from engine.recipe.schema import Hardware
from tests.engine.models.builders import FAMILIES, model

MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
sides = st.integers(1, 90)


def theirs(**values: Any) -> GeneralizedRCNNTransform:
    return GeneralizedRCNNTransform(48, 80, MEAN, DEVIATION, **values)


def ours(**values: Any) -> Transform:
    made = theirs(**values)
    take_on(made, Transform)
    assert isinstance(made, Transform)
    return made


def photos(sizes: Iterable[tuple[int, int]]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    images = [torch.rand(3, height, width) for height, width in sizes]
    boxes = [torch.rand(number, 4) * 50 for number in range(len(images))]  # the first without any
    return images, [{"boxes": one, "labels": torch.zeros(len(one), dtype=torch.int64)} for one in boxes]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(sides, sides), min_size=1, max_size=4), st.booleans(), st.integers(0, 99))
def test_the_same_as_torchvisions_to_the_bit(sizes: list[tuple[int, int]], training: bool, seed: int) -> None:
    torch.manual_seed(seed)
    images, targets = photos(sizes)
    found = []
    for transform in (theirs().train(training), ours().train(training)):
        torch.manual_seed(seed)
        batch, scaled = transform(images, targets)
        back = transform.postprocess([dict(one) for one in scaled], batch.image_sizes, sizes)
        found.append((batch.tensors, batch.image_sizes, scaled, back, torch.get_rng_state()))
    (tensors, shapes, scaled, back, state), (own, own_shapes, own_scaled, own_back, own_state) = found
    assert torch.equal(own, tensors)
    assert own_shapes == shapes
    assert torch.equal(own_state, state)
    for one, other in zip([*own_scaled, *own_back], [*scaled, *back], strict=True):
        assert torch.equal(one["boxes"], other["boxes"])


class Sent(TorchFunctionMode):
    """Notes what is made of Python's numbers, and so would be sent to a device."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in {"tensor", "as_tensor"} and kwargs.get("device") is not None:
            self.made.append(func.__name__)
        return func(*args, **kwargs)


def test_nothing_is_sent_to_the_device_for_each_image() -> None:
    images, targets = photos([(40, 60), (60, 40)])
    with Sent() as noted:
        theirs()(images, targets)
    assert len(noted.made) == 12  # the net catches something
    transform = ours()
    transform(images, targets)
    with Sent() as noted:
        batch, scaled = transform(images, targets)
        transform.eval().postprocess(scaled, batch.image_sizes, [(40, 60), (60, 40)])
    assert noted.made == []


def test_means_follow_the_images_number_format() -> None:
    transform = ours()
    exact = torch.rand(3, 8, 8, dtype=torch.float64)
    assert torch.equal(transform.normalize(exact), theirs().normalize(exact))
    assert torch.equal(transform.normalize(exact.float()), theirs().normalize(exact.float()))
    with pytest.raises(TypeError, match="floating type"):
        transform.normalize(torch.zeros(3, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("arch", FAMILIES)
def test_a_prepared_detector_has_it_and_the_same_state(arch: str) -> None:
    detector = build_detector(model(arch), ("mug",))
    names = list(detector.network.state_dict())
    prepared(detector, Hardware(), torch.device("cpu"))
    assert isinstance(detector.network.transform, Transform)
    assert not detector.network.transform.is_bucketed
    detector.detect([torch.rand(3, 40, 60)])
    assert list(detector.network.state_dict()) == names


# --- few shapes ---


@given(side=st.integers(1, 2000), sizes=st.tuples(st.integers(32, 1000), st.integers(32, 2000)).map(sorted))
def test_a_padded_side_holds_the_image_and_no_more_than_the_longest_one_needs(side: int, sizes: list[int]) -> None:
    min_size, max_size = sizes
    padded = padded_side(min(side, max_size), min_size, max_size)
    assert padded % 32 == 0
    assert min(side, max_size) <= padded < max_size + 32


@pytest.mark.parametrize(
    ("min_size", "max_size", "expected"),
    [
        pytest.param(800, 1333, [800, 960, 1088, 1216, 1344], id="torchvision's sizes"),
        pytest.param(320, 640, [320, 416, 480, 576, 640], id="small"),
        pytest.param(640, 640, [640], id="square"),
    ],
)
def test_sides_are_few(min_size: int, max_size: int, expected: list[int]) -> None:
    assert sorted({padded_side(side, min_size, max_size) for side in range(min_size, max_size + 1)}) == expected
    shorter = {padded_side(side, min_size, max_size) for side in range(min_size // 2, min_size)}
    assert len(shorter) <= 6  # of photos so long that their shorter side is less


def test_in_training_batches_are_filled_up_and_elsewhere_they_are_torchvisions() -> None:
    torch.manual_seed(0)
    transform = GeneralizedRCNNTransform(64, 256, MEAN, DEVIATION)
    take_on(transform, Transform)
    transform.is_bucketed = True
    images = [torch.rand(3, 64, 100), torch.rand(3, 64, 130)]
    plain = GeneralizedRCNNTransform(64, 256, MEAN, DEVIATION).eval()(images)[0]
    measured = transform.eval()(images)[0]
    assert torch.equal(measured.tensors, plain.tensors)
    trained = transform.train()(images)[0]
    assert trained.tensors.shape == (2, 3, 64, 160)
    assert trained.image_sizes == plain.image_sizes
    for index, (height, width) in enumerate(trained.image_sizes):
        inside = (index, slice(None), slice(height), slice(width))
        assert torch.equal(trained.tensors[inside], plain.tensors[inside])
        trained.tensors[inside] = 0
    assert not trained.tensors.any()


def test_a_detector_of_a_fixed_size_keeps_it() -> None:
    transform = GeneralizedRCNNTransform(300, 300, MEAN, DEVIATION, size_divisible=1, fixed_size=(300, 300))
    take_on(transform, Transform)
    transform.is_bucketed = True
    assert transform.train()([torch.rand(3, 50, 40)])[0].tensors.shape == (1, 3, 300, 300)

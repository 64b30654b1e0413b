"""A compiled backbone computes the same, keeps every name, and gives way where compiling fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.models import Detector, build_detector
from engine.models.compiled import compile_while_training, compiled_forward, falls_back
from engine.models.detector import Target
from engine.models.speed import prepared
from engine.recipe.schema import Hardware, Precision
from tests.engine.models.builders import model

CPU = torch.device("cpu")
IMAGES = [torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(3))]


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def targets() -> list[Target]:
    return [{"boxes_xyxy": torch.tensor([[5.0, 6.0, 40.0, 41.0]]), "labels": torch.tensor([0])}]


def detector_of(arch: str = "fasterrcnn_resnet18_fpn", **values: Any) -> Detector:
    torch.manual_seed(0)
    return prepared(build_detector(model(arch, **values), ("mug", "laptop")), Hardware(), CPU).train()


def step_of(detector: Detector, precision: Precision = "fp32") -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    torch.manual_seed(1)
    detector.zero_grad(set_to_none=True)
    losses = detector.losses(IMAGES, targets(), precision)
    torch.stack(list(losses.values())).sum().backward()
    gradients = {name: one.grad.clone() for name, one in detector.named_parameters() if one.grad is not None}
    return {name: loss.detach() for name, loss in losses.items()}, gradients


def assert_same(found: tuple[dict[str, Tensor], ...], wanted: tuple[dict[str, Tensor], ...], share: float) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            least = 1e-6 + share * float(value.abs().max())
            assert float((one[name] - value).abs().max()) <= least, name


class Counting:
    """A compiler that changes nothing; it counts what it was given."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, _inputs: Any) -> Any:
        self.graphs.append(graph)
        return graph.forward


@pytest.mark.parametrize(
    ("precision", "norm"), [
        ("fp32", "frozen"), ("bf16", "batch"),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in (("fp32", "batch"), ("bf16", "frozen"))),
    ],
)
def test_losses_and_gradients_are_the_same_in_one_graph(precision: Precision, norm: str) -> None:
    """Normalisation folded in or learnt, and channels last; the proposal head, which isn't compiled, sampled."""
    detector = detector_of(norm=norm)
    state = {name: value.clone() for name, value in detector.network.state_dict().items()}
    wanted = step_of(detector, precision)
    after = {name: value.clone() for name, value in detector.network.state_dict().items()}
    detector.network.load_state_dict(state)
    counting = Counting()
    compile_while_training(detector, pytest.fail, counting, wanted=True)
    assert_same(step_of(detector, precision), wanted, 1e-6 if precision == "fp32" else 1e-2)
    assert len(counting.graphs) == 1  # the whole backbone, without a break
    found = detector.network.state_dict()
    assert list(found) == list(state)
    assert_same((found,), (after,), 1e-5)
    step_of(detector, precision)
    assert len(counting.graphs) == 1


@pytest.mark.parametrize(
    "arch", [
        "fasterrcnn_resnet18_fpn",
        *(pytest.param(one, marks=pytest.mark.slow) for one in (
            "fasterrcnn_mobilenet_v3_large_fpn", "retinanet_resnet50_fpn", "fcos_resnet50_fpn",
            "ssdlite320_mobilenet_v3_large", "fasterrcnn_efficientnet_b0_fpn", "fasterrcnn_resnet50_fpn_v2",
        )),
    ],
)
def test_a_compiled_backward_pass_gives_the_same_gradients(arch: str) -> None:
    detector = detector_of(arch)
    state = {name: value.clone() for name, value in detector.network.state_dict().items()}
    wanted = step_of(detector)
    detector.network.load_state_dict(state)
    compile_while_training(detector, pytest.fail, "aot_eager", wanted=True)
    assert_same(step_of(detector), wanted, 1e-4)


def test_measuring_and_detecting_are_not_compiled() -> None:
    detector = detector_of()
    counting = Counting()
    compile_while_training(detector, pytest.fail, counting, wanted=True)
    detector.detect(IMAGES)
    detector.detect_with_losses(IMAGES, targets())
    with torch.no_grad():
        detector.train().losses(IMAGES, targets())
    assert counting.graphs == []


def fails(_graph: Any, _inputs: Any) -> Any:
    raise FileNotFoundError("no compiler is installed\nand more lines")


def test_where_compiling_fails_one_line_is_told_and_training_goes_on() -> None:
    detector, told = detector_of(), list[str]()
    wanted = step_of(detector)
    compile_while_training(detector, told.append, fails, wanted=True)
    for _ in range(2):
        assert_same(step_of(detector), wanted, 1e-6)
    [line] = told
    assert "no compiler is installed" in line
    assert "hardware.compile = false" in line
    assert "\n" not in line
    assert compiled_forward(detector) is None


def test_a_fault_of_the_network_itself_is_raised() -> None:
    detector = detector_of()
    compile_while_training(detector, pytest.fail, Counting(), wanted=True)

    def out_of_memory(*_: Any) -> None:
        raise torch.OutOfMemoryError

    forward = compiled_forward(detector)
    assert forward is not None
    forward._compiled = out_of_memory
    with pytest.raises(torch.OutOfMemoryError):
        detector.losses(IMAGES, targets())
    assert compiled_forward(detector) is forward
    assert not falls_back(detector, torch.OutOfMemoryError())


def test_compiling_can_be_switched_off_again() -> None:
    detector = detector_of()
    compile_while_training(detector, pytest.fail, fails, wanted=True)
    compile_while_training(detector, pytest.fail, fails, wanted=False)
    step_of(detector)
    assert "forward" not in vars(detector.network.backbone)

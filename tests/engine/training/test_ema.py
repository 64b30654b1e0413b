"""The moving average of the weights: what it holds, and that borrowing it leaves no trace."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from engine.training.ema import WeightAverage


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    built = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    built[0].requires_grad_(requires_grad=False)
    return built


def learn(own: nn.Module, steps: int, average: WeightAverage, seed: int = 0) -> None:
    torch.manual_seed(seed)
    optimizer = torch.optim.SGD([one for one in own.parameters() if one.requires_grad], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        own(torch.rand(2, 3, 8, 8)).square().mean().backward()
        optimizer.step()
        average.update(own)


def snapshot(own: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in own.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def averaged(own: nn.Module, average: WeightAverage) -> dict[str, Tensor]:
    with average.swapped_in(own):
        return snapshot(own)


def test_the_average_is_the_sum_that_its_definition_gives() -> None:
    own = nn.Linear(1, 1, bias=False)
    nn.init.constant_(own.weight, 0.0)
    average, expected = WeightAverage(own, 0.5), 0.0
    for step, value in enumerate([1.0, 5.0, -3.0, 8.0, 2.0, 4.0, 4.0, 1.0, 9.0, 7.0, 3.0]):
        nn.init.constant_(own.weight, value)
        average.update(own)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert averaged(own, average)["weight"].item() == pytest.approx(expected)


def test_the_decay_rises_to_the_recipes() -> None:
    own = network()
    average = WeightAverage(own, 0.9)
    decays = []
    for _ in range(120):
        decays.append(average.decay)
        average.update(own)
    assert decays[0] == 0.1
    assert decays == sorted(decays)
    assert decays[-1] == 0.9


def test_a_hundred_steps_leave_nothing_of_the_weights_at_the_beginning() -> None:
    """Without the rise, 0.999 of each step would keep 90 % of them."""
    own = nn.Linear(1, 1, bias=False)
    nn.init.constant_(own.weight, 0.0)
    average = WeightAverage(own, 0.999)
    nn.init.constant_(own.weight, 1.0)
    for _ in range(100):
        average.update(own)
    assert averaged(own, average)["weight"].item() > 0.999


def test_the_weights_come_back_to_the_bit_and_training_goes_on() -> None:
    own = network()
    average = WeightAverage(own, 0.9)
    learn(own, 5, average)
    untouched, untouched_average = copy.deepcopy((own, average))
    before, pointers = snapshot(own), [one.data_ptr() for one in own.parameters()]
    with average.swapped_in(own):
        assert not torch.equal(own[2].weight, before["2.weight"])
    assert_same(snapshot(own), before)
    assert [one.data_ptr() for one in own.parameters()] == pointers
    learn(own, 5, average, seed=1)
    learn(untouched, 5, untouched_average, seed=1)
    assert_same(snapshot(own), snapshot(untouched))
    assert_same(averaged(own, average), averaged(untouched, untouched_average))


def test_the_weights_come_back_after_an_error() -> None:
    own = network()
    average = WeightAverage(own, 0.9)
    learn(own, 3, average)
    before, mean = snapshot(own), averaged(own, average)
    with pytest.raises(MemoryError), average.swapped_in(own):
        raise MemoryError
    assert_same(snapshot(own), before)
    assert_same(averaged(own, average), mean)


def test_statistics_are_the_networks_own() -> None:
    own = network()
    average = WeightAverage(own, 0.9)
    learn(own, 5, average)
    mean = averaged(own, average)
    for name, buffer in own.named_buffers():
        assert torch.equal(mean[name], buffer)


def test_frozen_weights_are_their_own_average() -> None:
    own = network()
    average = WeightAverage(own, 0.9)
    before = snapshot(own)
    learn(own, 50, average)
    mean = averaged(own, average)
    assert torch.equal(mean["0.weight"], before["0.weight"])
    assert not torch.equal(mean["2.weight"], before["2.weight"])


def test_what_thaws_is_averaged_from_then_on() -> None:
    own = network()
    average = WeightAverage(own, 0.9)
    learn(own, 3, average)
    own[0].requires_grad_(requires_grad=True)
    frozen = own[0].weight.detach().clone()
    learn(own, 30, average)
    mean = averaged(own, average)["0.weight"]
    assert not torch.equal(mean, frozen)
    assert not mean.requires_grad


def test_no_gradient_and_no_graph() -> None:
    own = network()
    average = WeightAverage(own, 0.9)
    learn(own, 3, average)
    assert not any(tensor.requires_grad for tensor in average.state_dict()["weights"].values())
    grads = [one.grad for one in own.parameters()]
    with average.swapped_in(own):
        assert [one.requires_grad for one in own.parameters()] == [False, False, True, True, True, True]
    assert all(one.grad is grad for one, grad in zip(own.parameters(), grads, strict=True))


def test_a_resume_is_exact() -> None:
    own = network()
    average = WeightAverage(own, 0.99)
    learn(own, 7, average)
    file = io.BytesIO()
    torch.save({"model": own.state_dict(), "average": average.state_dict()}, file)
    learn(own, 7, average, seed=1)

    resumed = network(seed=5)
    content = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    restored = WeightAverage(resumed, 0.99)
    resumed.load_state_dict(content["model"])
    restored.load_state_dict(content["average"])
    learn(resumed, 7, restored, seed=1)
    assert_same(averaged(resumed, restored), averaged(own, average))


def test_the_average_of_another_network_is_refused() -> None:
    average = WeightAverage(network(), 0.9)
    with pytest.raises(ValueError, match="another network"):
        average.load_state_dict(WeightAverage(nn.Conv2d(3, 4, 3), 0.9).state_dict())


def test_averaging_the_average_is_refused() -> None:
    own = network()
    average = WeightAverage(own, 0.9)
    with average.swapped_in(own), pytest.raises(RuntimeError, match="swapped in"):
        average.update(own)

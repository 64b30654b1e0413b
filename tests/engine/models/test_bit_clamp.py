"""Clamping bits must be clamping numbers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from engine.models.bit_clamp import clamp_bits


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.ReLU6(inplace=True)], ids=repr)
def test_clamping_bits_is_clamping_numbers(layer: nn.Module) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    numbers = every[~every.isnan()].view(1, -1, 2, 1)
    wanted = layer(numbers.clone())
    network = nn.Sequential(copy.deepcopy(layer))
    clamp_bits(network)
    given = numbers.contiguous(memory_format=torch.channels_last).clone()
    with torch.no_grad():
        found = network(given)
    assert torch.equal(found, wanted)
    assert (found.data_ptr() == given.data_ptr()) == layer.inplace
    assert torch.equal(network(numbers.float()), wanted.float())
    learning = numbers.clone().requires_grad_()
    network(learning * 1).float().sum().backward()
    assert learning.grad is not None
    assert learning.grad.float().sum() > 0

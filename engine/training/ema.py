"""A moving average of the weights, which often measures better than the weights themselves.

Only parameters are averaged. Statistics of batch norm are averages already, so the averaged model
uses the network's own as they stand; hence the average costs the memory of the parameters once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """An exponential moving average of a network's parameters.

    Args:
        network: Its parameters now are what the average begins with; on its final device.
        decay: Share of the average that stays at each update, once there were enough of them; in (0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._weights = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
        self._num_updates = 0
        self._swapped = False

    @property
    def decay(self) -> float:
        """Share of the average that stays at the next update.

        It rises with the updates, so that the average forgets the weights it began with: after n of
        them it spans about the last tenth of n, up to what the recipe's decay spans.

        Source:
            TensorFlow's ExponentialMovingAverage, `num_updates`; timm's ModelEmaV3 warms up likewise.
        """
        return min(self._decay, (1 + self._num_updates) / (10 + self._num_updates))

    def update(self, network: nn.Module) -> None:
        """Take a network's parameters in, once after each optimizer step.

        Raises:
            RuntimeError: The averaged weights are in the network just now.
        """
        if self._swapped:
            raise RuntimeError("the averaged weights are swapped in; there is nothing to average them with")
        current = [parameter.detach() for parameter in network.parameters()]
        take_in = get_ema_multi_avg_fn(self.decay)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        take_in(list(self._weights.values()), current, self._num_updates)
        self._num_updates += 1

    @contextmanager
    def swapped_in(self, network: nn.Module) -> Iterator[None]:
        """Have a network hold the averaged weights for a while; afterwards its own again, to the bit.

        Nothing is copied. `network.state_dict()` within is the averaged model. Don't train within.
        """
        self._swap(network)
        try:
            yield
        finally:
            self._swap(network)

    def _swap(self, network: nn.Module) -> None:
        for name, parameter in network.named_parameters():
            parameter.data, self._weights[name] = self._weights[name], parameter.data
        self._swapped = not self._swapped

    def state_dict(self) -> dict[str, Any]:
        """Everything a resume needs, for a checkpoint; the tensors are the live ones."""
        return {"weights": dict(self._weights), "num_updates": self._num_updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's average.

        Raises:
            ValueError: It is of another network.
        """
        weights: Mapping[str, Tensor] = state["weights"]
        if _shapes(weights) != _shapes(self._weights):
            raise ValueError("the averaged weights are of another network")
        for name, average in self._weights.items():
            average.copy_(weights[name])
        self._num_updates = state["num_updates"]


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}

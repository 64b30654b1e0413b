"""Batch normalisation with fixed statistics, done by the convolution before it, while a network trains.

Such a normalisation is a factor and a summand for each channel. torchvision walks the whole feature map
twice for it, and under bfloat16, where the factor is float32, makes a float32 map that the next
convolution has to round again. Here the factor goes into the kernel, which is small, in every pass: what
learns still learns, kernels and trained factors alike, with the same gradients up to rounding. Layers
that learn statistics, and networks that are traced, are computed as torchvision does. The state keeps its names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torchvision
from torch import Tensor, nn
from torchvision.ops.misc import FrozenBatchNorm2d

_NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def folding_pairs(network: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.Module, nn.Module, str]]:
    """Each convolution, the normalisation right after it, and where that one is: its parent and its name there.

    torchvision registers them in the order in which they are computed.
    """
    for parent in network.modules():
        before: nn.Module | None = None
        for name, child in parent.named_children():
            if isinstance(child, _NORMS) and isinstance(before, nn.Conv2d) and _fits(before, child):
                yield before, child, parent, name
            before = child


def _fits(convolution: nn.Conv2d, norm: Any) -> bool:
    return norm.running_mean is not None and len(norm.running_mean) == convolution.out_channels


def fold_while_training(network: nn.Module, *, wanted: bool) -> None:
    """Have the convolutions of a network do the fixed normalisations that follow them, or no longer.

    Args:
        network: Changed in place; its parameters and the names of its state stay.
        wanted: Whether to.
    """
    for convolution, norm, _, _ in list(folding_pairs(network)):
        take_on(norm, _FoldableBatchNorm2d if isinstance(norm, nn.BatchNorm2d) else _FoldableFrozenBatchNorm2d)
        take_on(convolution, FoldingConv2d)
        assert isinstance(convolution, FoldingConv2d)
        convolution.follower = (norm,) if wanted else None
        norm.is_done = False  # type: ignore[assignment]  # a flag, which modules' types don't foresee


def take_on(module: nn.Module, kind: type[nn.Module]) -> None:
    """Have a module compute as a subclass of its own does, with everything it holds; a new one would lack its hooks."""
    if not isinstance(module, kind):
        module.__class__ = kind


class FoldingConv2d(nn.Conv2d):
    """A convolution that also does the normalisation after it, where that one's statistics are fixed.

    Attributes:
        follower: That normalisation, in a tuple so that it isn't registered a second time; None to leave it alone.
    """

    follower: tuple[Any] | None = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Convolve, and normalise where that is fixed."""
        if self.follower is None:
            return super().forward(input)
        (norm,) = self.follower
        norm.is_done = _is_fixed(norm) and not torchvision._is_tracing()  # noqa: SLF001 - as its own operators ask
        if not norm.is_done:
            return super().forward(input)
        scale = (norm.running_var + norm.eps).rsqrt()
        if norm.weight is not None:
            scale = norm.weight * scale
        bias = -norm.running_mean if self.bias is None else self.bias - norm.running_mean
        bias = bias * scale
        if norm.bias is not None:
            bias = bias + norm.bias
        normalised: Tensor = self._conv_forward(input, self.weight * scale[:, None, None, None], bias)
        return normalised


def _is_fixed(norm: Any) -> bool:
    return isinstance(norm, FrozenBatchNorm2d) or (not norm.training and norm.running_mean is not None)


class _Foldable:
    """What a normalisation needs to know. Each convolution tells it anew, just before it is called."""

    is_done: bool = False


class _FoldableBatchNorm2d(_Foldable, nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return input if self.is_done else super().forward(input)


class _FoldableFrozenBatchNorm2d(_Foldable, FrozenBatchNorm2d):  # type: ignore[misc]  # torchvision has no types
    def forward(self, x: Tensor) -> Tensor:
        if self.is_done:
            return x
        normalised: Tensor = super().forward(x)
        return normalised

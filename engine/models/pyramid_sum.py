"""A feature pyramid that adds each coarser map into the finer one where that one lies.

torchvision writes the coarser map out in the finer one's size and adds the two into a third; under bfloat16
it does both in float32, and the next convolution rounds again. As convolutions keep no outputs for their
gradients, the sum can be taken in place, read from the coarse map directly. The same values; the gradients
are the same up to the order of summation. Sizes that aren't exactly doubled and networks that are traced or compiled
are torchvision's.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.nn import functional
from torchvision.ops import FeaturePyramidNetwork

_DOUBLED = 2


class InPlacePyramid(FeaturePyramidNetwork):  # type: ignore[misc]  # torchvision has no types
    """torchvision's pyramid; the same arguments, results and state, and to the bit until `is_in_place` is set."""

    is_in_place: bool = False

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """The pyramid's maps from the backbone's, by level, finest first; see torchvision."""
        is_traced = torchvision._is_tracing() or torch.compiler.is_compiling()  # noqa: SLF001 - as its operators ask
        if not self.is_in_place or is_traced:
            found: dict[str, Tensor] = super().forward(x)
            return found
        names, maps = list(x), list(x.values())
        inner = self.get_result_from_inner_blocks(maps[-1], -1)
        results = [self.get_result_from_layer_blocks(inner, -1)]
        for index in range(len(maps) - 2, -1, -1):
            inner = add_upsampled(self.get_result_from_inner_blocks(maps[index], index), inner)
            results.insert(0, self.get_result_from_layer_blocks(inner, index))
        if self.extra_blocks is not None:
            results, names = self.extra_blocks(results, maps, names)
        return OrderedDict(zip(names, results, strict=True))


def add_upsampled(fine: Tensor, coarse: Tensor) -> Tensor:
    """A map plus a coarser one in its size, each cell of which counts for all cells that it covers.

    Args:
        fine: (N, C, H, W); changed where the sides are exactly doubled, so nothing else may need it.
        coarse: (N, C, h, w), of any sides.

    Returns:
        (N, C, H, W) in the number format of `fine`.
    """
    if fine.shape == coarse.shape:
        return fine + coarse
    if fine.dtype == coarse.dtype and fine.shape[-2:] == tuple(_DOUBLED * side for side in coarse.shape[-2:]):
        total: Tensor = _AddDoubled.apply(fine, coarse)
        return total
    with torch.autocast(fine.device.type, enabled=False):  # it would go by way of float32
        return fine + functional.interpolate(coarse, size=fine.shape[-2:], mode="nearest").to(fine.dtype)


class _AddDoubled(torch.autograd.Function):
    """The sum in place, and the gradient of the coarse map: the sum over the four cells that each covers."""

    @staticmethod
    def forward(ctx: Any, fine: Tensor, coarse: Tensor) -> Tensor:
        """Add; see `add_upsampled`."""
        ctx.mark_dirty(fine)
        height, width = coarse.shape[-2:]
        cells = torch.unflatten(torch.unflatten(fine, 3, (width, _DOUBLED)), 2, (height, _DOUBLED))
        cells += coarse[:, :, :, None, :, None]
        return fine

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient itself, and its sums."""
        (gradient,) = gradients
        return gradient, functional.avg_pool2d(gradient, _DOUBLED, divisor_override=1)

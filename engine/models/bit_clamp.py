"""ReLU and ReLU6 of bfloat16 on a CPU, as comparisons of integers.

Bits of positive numbers are ordered as the numbers are, and those of negative ones are negative integers. torch's
kernel widens each number to float32 and rounds it again, which takes three times as long. Results are the same but
for a NaN whose sign bit is set, which becomes 0. Where gradients are followed, and for other formats and devices, the
layers compute as ever.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.models.folded_norm import take_on

# The bits of 6 in bfloat16.
_SIX = 0x40C0


def clamp_bits(network: nn.Module) -> None:
    """Have a network's ReLU and ReLU6 compare bits where they can; changed in place, nothing of its state."""
    for module in network.modules():
        if type(module) is nn.ReLU:
            take_on(module, BitReLU)
        elif type(module) is nn.ReLU6:
            take_on(module, BitReLU6)


class BitReLU(nn.ReLU):
    """torch's, quicker for bfloat16 whose gradient nobody wants."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Clamp at 0 from below."""
        return _clamped(input, None, in_place=self.inplace) if _applies(input) else super().forward(input)


class BitReLU6(nn.ReLU6):
    """torch's, quicker for bfloat16 whose gradient nobody wants."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Clamp between 0 and 6."""
        return _clamped(input, _SIX, in_place=self.inplace) if _applies(input) else super().forward(input)


def _applies(numbers: Tensor) -> bool:
    is_learning = torch.is_grad_enabled() and numbers.requires_grad
    is_plain = numbers.dtype == torch.bfloat16 and numbers.device.type == "cpu"
    return is_plain and not is_learning and not torch.compiler.is_compiling()


def _clamped(numbers: Tensor, most: int | None, *, in_place: bool) -> Tensor:
    bits = numbers.view(torch.int16)
    return (bits.clamp_(0, most) if in_place else bits.clamp(0, most)).view(torch.bfloat16)

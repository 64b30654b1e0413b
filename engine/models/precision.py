"""Which number format convolutions and products are computed in, and where "auto" takes the short one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch

from engine.recipe.schema import AskedPrecision, Precision

# Units of x86 CPUs that multiply bfloat16; without one, torch converts to float32 and back, and is slower.
_CPU_UNITS = ("amx_bf16", "avx512_bf16")


def pick_precision(asked: AskedPrecision, device: torch.device) -> Precision:
    """The number format a recipe means on a device.

    "auto" takes bf16 where the chip multiplies it: CPUs with AMX or AVX-512 units for it, GPUs from Ampere on.
    Everywhere else it takes fp32.
    """
    if asked != "auto":
        return asked
    return "bf16" if _multiplies_bf16(device) else "fp32"


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # Absent from torch before 2.11.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(unit)) for unit in _CPU_UNITS)


def computing_in(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """A context in which convolutions and products are computed in a number format."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=precision != "fp32")

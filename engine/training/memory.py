"""Running out of memory: how it is told from other errors, and what would fit."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

# Words of the errors that aren't of a type of their own, by torch's CPU allocator and by its CUDA libraries.
_WORDS = (
    "can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED", "Cannot allocate memory", "std::bad_alloc",
    # oneDNN's, when a layer's code or scratch memory finds no room
    "could not create a primitive", "could not execute a primitive", "could not create a memory object",
)
# Each try of a smaller input size is this share of the one before.
_SMALLER = 0.8
_LEAST_SHARE = 0.2


class OutOfMemory(Exception):
    """Not even one image at a time fits."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory, the device's or the machine's, ran out."""
    if isinstance(error, (MemoryError, OutOfMemory, torch.OutOfMemoryError)):
        return True
    return isinstance(error, (RuntimeError, OSError)) and any(words in str(error) for words in _WORDS)


def release(device: torch.device) -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def largest_share_that_fits(attempt: Callable[[float], None], device: torch.device) -> float | None:
    """The largest share of the input size at which an attempt runs through; None when none does.

    Args:
        attempt: Tries a share of the input size, below 1, and raises when memory runs out.
        device: Where it computes.
    """
    share = _SMALLER
    while share >= _LEAST_SHARE:
        release(device)
        try:
            attempt(share)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        else:
            return share
        share *= _SMALLER
    return None

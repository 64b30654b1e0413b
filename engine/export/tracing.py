"""What every traced format shares: the photo it is traced with, and quiet while it is done."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Sides that no constant of a network is mistaken for.
_HEIGHT, _WIDTH = 203, 317
_LOGGERS = ("", "torch.onnx", "onnxslim")


def example_photo() -> torch.Tensor:
    """A photo to trace with, (H, W, 3) uint8; what is traced holds for every other size."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (_HEIGHT, _WIDTH, 3), dtype=torch.uint8, generator=generator)


@contextmanager
def quietly() -> Iterator[None]:
    """Keep from the person what exporters say about themselves; their errors still come."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)

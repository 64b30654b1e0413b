"""Optimizers by name."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from engine.recipe.schema import Optimizer


def build_optimizer(parameters: Iterable[nn.Parameter], settings: Optimizer) -> torch.optim.Optimizer:
    """The optimizer a recipe asks for, over the parameters that learn."""
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    if settings.name == "sgd":
        return torch.optim.SGD(
            learning, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
    return torch.optim.AdamW(
        learning, lr=settings.lr, betas=(settings.momentum, 0.999), weight_decay=settings.weight_decay
    )


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Use this learning rate from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = lr

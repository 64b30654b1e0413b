"""A loop in the manner of torchvision's `references/detection`: warm-up, losses checked, reduced and logged each step.

Without its flips, so that it sees the same batches; on one process there is nothing to reduce, as there.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.bench.table.lesson import CustomDataset


def collate_fn(batch: Any) -> Any:
    return tuple(zip(*batch, strict=True))


def train(model: nn.Module, dataset: CustomDataset, batch_size: int, *, lr: float = 0.005) -> Iterator[float]:
    """One epoch of `train_one_epoch`; yields the loss of each step."""
    sampler = torch.utils.data.BatchSampler(torch.utils.data.SequentialSampler(dataset), batch_size, drop_last=True)
    data_loader = DataLoader(
        dataset, batch_sampler=sampler, num_workers=4, collate_fn=collate_fn, generator=torch.Generator()
    )
    device = torch.device("cpu")
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=1e-4)
    model.train()
    warmup_iters = min(1000, len(data_loader) - 1)
    lr_scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0 / 1000, total_iters=warmup_iters)
    meters: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=20))
    for images, targets in data_loader:
        images = [image.to(device) for image in images]  # noqa: PLW2901 - as there
        targets = [{k: v.to(device) for k, v in t.items()} for t in targets]  # noqa: PLW2901
        with torch.amp.autocast("cpu", enabled=False):
            loss_dict = model(images, targets)
            losses: Any = sum(loss for loss in loss_dict.values())

        loss_dict_reduced = dict(loss_dict)
        losses_reduced: Any = sum(loss for loss in loss_dict_reduced.values())
        loss_value = losses_reduced.item()
        if not math.isfinite(loss_value):
            raise SystemExit(f"Loss is {loss_value}, stopping training")

        optimizer.zero_grad()
        losses.backward()
        optimizer.step()
        lr_scheduler.step()
        for name, value in {"loss": losses_reduced, **loss_dict_reduced}.items():
            meters[name].append(value.item())
        meters["lr"].append(optimizer.param_groups[0]["lr"])
        yield loss_value

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from engine.models import Target


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def images() -> list[torch.Tensor]:
    """Two noise images of different sizes."""
    return [torch.rand(3, 48, 64), torch.rand(3, 60, 40)]


@pytest.fixture
def targets() -> list[Target]:
    """Two objects in the first image, none in the second."""
    return [
        {"boxes_xyxy": torch.tensor([[4.0, 6, 40, 40], [30, 10, 60, 30]]), "labels": torch.tensor([0, 1])},
        {"boxes_xyxy": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]

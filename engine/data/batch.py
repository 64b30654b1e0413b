"""The images of one step, here and on a device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.data.dataset import BrokenSample, Sample
from engine.data.sidestream import Sent, SideStream
from engine.errors import DataError, Problem
from engine.models.detector import Target


class Batch:
    """Images of one step, with their targets and places in the dataset.

    Attributes:
        samples: Everything that was drawn, broken images included.
        images: (3, H, W) float32 tensors in [0, 1] after `to`, uint8 before; whole ones only, as below.
        targets: One an image.
        places: Each image's record in the dataset.
        broken: The images that couldn't be loaded.
    """

    def __init__(self, samples: Sequence[Sample | BrokenSample], sent: Sent | None = None) -> None:
        self.samples = tuple(samples)
        self._sent = sent
        whole = [sample for sample in samples if isinstance(sample, Sample)]
        self.images: list[Tensor] = [sample.image for sample in whole]
        self.targets: list[Target] = [sample.target for sample in whole]
        self.places: list[int] = [sample.place for sample in whole]
        self.broken: list[BrokenSample] = [sample for sample in samples if isinstance(sample, BrokenSample)]

    @property
    def problems(self) -> list[Problem]:
        """What was wrong with images that couldn't be loaded."""
        return [problem for sample in self.broken for problem in sample.problems]

    def __len__(self) -> int:
        return len(self.images)

    def split(self, size: int) -> list[Batch]:
        """Batches of at most `size` images, in order; the batch must be whole."""
        if len(self.samples) <= size:
            return [self]
        return [
            Batch(self.samples[start : start + size], self._sent and self._sent.part(start, start + size))
            for start in range(0, len(self.samples), size)
        ]

    def send(self, stream: SideStream) -> None:
        """Begin to copy the batch to a stream's device, where `to` will want it; the batch itself stays here.

        Raises:
            OutOfMemoryError: It doesn't fit; nothing of it is there.
        """
        if not self.broken:
            self._sent = Sent.by(stream, self.images, self.targets)

    def call_back(self) -> None:
        """Let go of what was sent: `to` copies anew."""
        self._sent = None

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, pixels scaled to [0, 1] there: bytes are cheaper to move.

        Raises:
            DataError: An image of the batch couldn't be loaded.
        """
        if self.broken:
            raise DataError(self.problems)
        moved = Batch(())
        images, targets = self._sent.arrived() if self._sent else (self.images, self.targets)
        moved.images = [image.to(device, non_blocking=True).float().div_(255) for image in images]
        moved.targets = [
            {
                "boxes_xyxy": target["boxes_xyxy"].to(device, non_blocking=True),
                "labels": target["labels"].to(device, non_blocking=True),
            }
            for target in targets
        ]
        moved.places = self.places
        return moved

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; the loader calls this when told to."""
        pinned = [
            sample._replace(image=sample.image.pin_memory()) if isinstance(sample, Sample) else sample
            for sample in self.samples
        ]
        return Batch(pinned)

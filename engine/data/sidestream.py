"""Batches on their way to a GPU while it computes with the one before.

A copy is begun on a stream of its own and waited for where the batch is used; the host waits for neither.
`SideStream` is the only place that knows of CUDA's streams and events. Elsewhere than on CUDA nothing is
copied ahead: on a CPU there is nothing to copy, and Apple's GPUs share its memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.models.detector import Target


class SideStream:
    """Copies tensors to a CUDA device beside what it computes.

    Args:
        device: A CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def begin(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], torch.cuda.Event]:
        """Begin to copy tensors, from page-locked memory without waiting for anything.

        Returns:
            The copies, for nobody's use before `finish`, and what that needs to know.

        Raises:
            OutOfMemoryError: They don't fit.
        """
        with torch.cuda.stream(self._stream):
            copies = [tensor.to(self._device, non_blocking=True) for tensor in tensors]
            return copies, self._stream.record_event()

    def finish(self, copies: Sequence[Tensor], done: torch.cuda.Event) -> None:
        """Have what is computed from now on wait for copies, and their memory for what is computed with them."""
        computing = torch.cuda.current_stream(self._device)
        computing.wait_event(done)
        for copy in copies:
            copy.record_stream(computing)  # else the next copy could be written where they are still read


def side_stream_of(device: torch.device) -> SideStream | None:
    """A side stream where the device has such, else None."""
    return SideStream(device) if device.type == "cuda" else None


@dataclass(frozen=True, slots=True)
class Sent:
    """Images and targets of a batch, on their way to a device or there.

    Attributes:
        images: (3, H, W) uint8, each.
        boxes_xyxy: One an image.
        labels: One an image.
        stream: Copies them.
        done: When they have arrived.
    """

    images: Sequence[Tensor]
    boxes_xyxy: Sequence[Tensor]
    labels: Sequence[Tensor]
    stream: SideStream
    done: torch.cuda.Event

    @classmethod
    def by(cls, stream: SideStream, images: Sequence[Tensor], targets: Sequence[Target]) -> Sent:
        """Send images and their targets.

        Raises:
            OutOfMemoryError: They don't fit.
        """
        boxes, labels = [target["boxes_xyxy"] for target in targets], [target["labels"] for target in targets]
        copies, done = stream.begin([*images, *boxes, *labels])
        count = len(images)
        return cls(copies[:count], copies[count : 2 * count], copies[2 * count :], stream, done)

    def part(self, start: int, stop: int) -> Sent:
        """Some of the images, in order."""
        return Sent(
            self.images[start:stop], self.boxes_xyxy[start:stop], self.labels[start:stop], self.stream, self.done
        )

    def arrived(self) -> tuple[Sequence[Tensor], list[Target]]:
        """Images and targets, to be used by what is computed from now on."""
        self.stream.finish([*self.images, *self.boxes_xyxy, *self.labels], self.done)
        targets: list[Target] = [
            {"boxes_xyxy": boxes, "labels": labels}
            for boxes, labels in zip(self.boxes_xyxy, self.labels, strict=True)
        ]
        return self.images, targets

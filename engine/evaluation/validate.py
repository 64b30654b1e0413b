"""One pass over a split: losses and detections together, then COCO's figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from engine.data.dataset import DetectionDataset
from engine.data.loading import Batch
from engine.evaluation.coco import CocoFigures, coco_figures
from engine.models.detector import Detection, Detector, to_cpu

# Faster R-CNN draws the boxes that count in its loss; the same draw every time keeps epochs comparable.
_LOSS_SEED = 20_000


@dataclass(frozen=True, slots=True)
class Validation:
    """What a pass over a split found.

    Attributes:
        losses: Mean loss an image by torchvision's names.
        figures: COCO's figures.
        detections: One an image, in the records' order, on the CPU.
    """

    losses: dict[str, float]
    figures: CocoFigures
    detections: list[Detection]

    @property
    def loss(self) -> float:
        """The total validation loss."""
        return sum(self.losses.values())


def validate(
    detector: Detector,
    dataset: DetectionDataset,
    loader: Iterable[Batch],
    device: torch.device,
    on_batch: Callable[[int], None] | None = None,
) -> Validation:
    """Measure a detector on every image of a split.

    Weights, statistics and random state are as before when this returns.

    Args:
        detector: On `device`; left in eval mode.
        dataset: What the loader loads, for the ground truth.
        loader: Batches in the records' order.
        device: Where to compute.
        on_batch: Told the number of images done.
    """
    sums: dict[str, float] = defaultdict(float)
    detections: list[Detection] = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_LOSS_SEED)
        for batch in loader:
            on_device = batch.to(device)
            found, losses = detector.detect_with_losses(on_device.images, on_device.targets)
            detections.extend(to_cpu(one) for one in found)
            for name, loss in losses.items():
                sums[name] += loss.item() * len(found)
            if on_batch:
                on_batch(len(detections))
    means = {name: total / max(1, len(detections)) for name, total in sums.items()}
    return Validation(means, coco_figures(dataset.records, detections, detector.class_names), detections)

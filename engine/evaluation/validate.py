"""One pass over a split: losses and detections together, then COCO's figures.

An image that can't be loaded any more is left out and told, never raised: what a split's share of
broken images may be is for training to decide.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from engine.annotations import ImageRecord
from engine.data.batch import Batch
from engine.data.dataset import DetectionDataset
from engine.errors import Problem
from engine.evaluation.coco import CocoFigures, coco_figures
from engine.models.detector import Detection, Detector, to_cpu
from engine.recipe.schema import Metric

# Faster R-CNN draws the boxes that count in its loss; the same draw every time keeps epochs comparable.
_LOSS_SEED = 20_000


@dataclass(frozen=True, slots=True)
class Validation:
    """What a pass over a split found.

    Attributes:
        losses: Mean loss an image by torchvision's names; empty when nothing could be measured.
        figures: COCO's figures.
        detections: One for each record, in the records' order, on the CPU; empty for images not measured.
        measured: Places of the records that the figures are of, rising.
        broken: What is wrong with the images that couldn't be loaded.
    """

    losses: dict[str, float]
    figures: CocoFigures
    detections: list[Detection]
    measured: tuple[int, ...]
    broken: tuple[Problem, ...] = ()

    @property
    def loss(self) -> float:
        """The total validation loss; not a number when nothing could be measured."""
        return sum(self.losses.values()) if self.losses else math.nan

    @property
    def values(self) -> dict[Metric, float | None]:
        """The figures that may decide which weights are best."""
        figures = self.figures
        return {"ap": figures.ap, "ap50": figures.ap50, "ap75": figures.ap75, "val_loss": self.loss}


def validate(
    detector: Detector,
    dataset: DetectionDataset,
    loader: Iterable[Batch],
    device: torch.device,
    on_batch: Callable[[int], None] | None = None,
) -> Validation:
    """Measure a detector on the images that a loader brings.

    Weights, statistics and random state are as before when this returns or raises.

    Args:
        detector: On `device`; left in eval mode.
        dataset: What the loader loads, for the ground truth.
        loader: Batches of any sizes and in any order; records it doesn't bring don't count.
        device: Where to compute.
        on_batch: Told the number of images done, broken ones included.
    """
    sums: dict[str, float] = defaultdict(float)
    found: dict[int, Detection] = {}
    broken: list[Problem] = []
    done = 0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for batch in loader:
            broken.extend(batch.problems)
            if batch.places:
                detections, losses = _measure(detector, _whole(batch), device)
                found.update(zip(batch.places, detections, strict=True))
                for name, loss in losses.items():
                    sums[name] += loss * len(detections)
            done += len(batch.places) + len(batch.problems)
            if on_batch:
                on_batch(done)
    means = {name: total / len(found) for name, total in sums.items()}
    return _judged(means, dataset.records, found, detector.class_names, broken)


def _whole(batch: Batch) -> Batch:
    """The images of a batch that could be loaded, as a batch without problems."""
    if not batch.problems:
        return batch
    whole = Batch(())
    whole.images, whole.targets, whole.places = batch.images, batch.targets, batch.places
    return whole


def _measure(detector: Detector, batch: Batch, device: torch.device) -> tuple[list[Detection], dict[str, float]]:
    # Seeded by the batch, so that one that is missing or smaller changes no other's loss.
    torch.manual_seed(_LOSS_SEED + batch.places[0])
    on_device = batch.to(device)
    found, losses = detector.detect_with_losses(on_device.images, on_device.targets)
    values = torch.stack(list(losses.values())).tolist()
    return [to_cpu(one) for one in found], dict(zip(losses, values, strict=True))


def _judged(
    losses: dict[str, float], records: Sequence[ImageRecord], found: dict[int, Detection],
    class_names: Sequence[str], broken: Sequence[Problem],
) -> Validation:
    measured = sorted(found)
    figures = coco_figures([records[place] for place in measured], [found[place] for place in measured], class_names)
    detections = [found[place] if place in found else _nothing() for place in range(len(records))]
    return Validation(losses, figures, detections, tuple(measured), tuple(broken))


def _nothing() -> Detection:
    return {
        "boxes_xyxy": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0),
    }

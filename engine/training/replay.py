"""Bundles of discarded steps, and repeating them: `engine replay`.

A bundle holds the very tensors of the batch, the weights before the step and every random state, so that
the step comes out the same on the same machine, however the dataset changed since.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.data.batch import Batch
from engine.data.dataset import Sample
from engine.models import build_detector
from engine.models.checkpoint import Content, load_checkpoint, save_checkpoint
from engine.models.detector import Detector, pick_device
from engine.models.speed import prepared
from engine.recipe.schema import Precision, Recipe
from engine.rundir import RunDir
from engine.training.optim import build_optimizer, set_training_mode
from engine.training.step import collect_losses, min_size_of, set_input_size

# A bundle is as large as the model; the first ones tell the most.
MAX_BUNDLES = 3


def save_bundle(
    run_dir: RunDir, *, step: int, epoch: int, detector: Detector, batch: Batch, image_paths: list[str],
    random: dict[str, Tensor], losses: dict[str, float], lr: float, precision: Precision, micro_batch_size: int,
) -> Path | None:
    """Keep a discarded step, unless the run has enough of them.

    Returns:
        The bundle, or None when it isn't kept.

    Raises:
        OSError: The disk is full.
    """
    path = run_dir.replay(step)
    # A step that is spoilt again after the run went back is another one; the first tells how it began.
    if path.exists() or len(list(run_dir.replays.glob("*.pt"))) >= MAX_BUNDLES:
        return None
    path.parent.mkdir(exist_ok=True)
    content: Content = {
        "model": detector.network.state_dict(), "step": step, "epoch": epoch, "lr": lr, "losses": losses,
        "images": [sample.image for sample in batch.samples if isinstance(sample, Sample)],
        "boxes_xyxy": [target["boxes_xyxy"] for target in batch.targets],
        "labels": [target["labels"] for target in batch.targets], "places": list(batch.places),
        "image_paths": image_paths, "random": random, "precision": precision, "micro_batch_size": micro_batch_size,
    }
    save_checkpoint(path, content, keep_previous=False)
    return path


@dataclass(frozen=True, slots=True)
class Repeated:
    """A discarded step, done again.

    Attributes:
        step: Zero-based.
        image_paths: The images of the batch.
        recorded: Parts of the loss as they were that night.
        losses: The same parts now.
        alone: Total loss of each image by itself.
        num_boxes: Objects in each image.
        first_fault: The first layer whose output isn't finite, or "" when all are.
        gradient_norm: Total norm of the gradients; not a number where there were none to be had.
    """

    step: int
    image_paths: tuple[str, ...]
    recorded: dict[str, float]
    losses: dict[str, float]
    alone: tuple[float, ...]
    num_boxes: tuple[int, ...]
    first_fault: str
    gradient_norm: float

    @property
    def is_the_same(self) -> bool:
        """Whether every part of the loss came out as it was, to the bit."""
        return self.losses.keys() == self.recorded.keys() and all(
            value == self.recorded[name] or (math.isnan(value) and math.isnan(self.recorded[name]))
            for name, value in self.losses.items()
        )


def repeat(recipe: Recipe, bundle: Path) -> Repeated:
    """Do a discarded step again; nothing of the run is changed.

    Raises:
        EngineError: The bundle is missing, damaged, or of another model.
    """
    content = load_checkpoint(bundle)
    device = pick_device(recipe.hardware.device)
    detector = _ready(recipe, content, device)
    samples = [
        Sample(image, {"boxes_xyxy": boxes, "labels": labels}, place)
        for image, boxes, labels, place in zip(
            content["images"], content["boxes_xyxy"], content["labels"], content["places"], strict=True
        )
    ]
    precision: Precision = content["precision"]
    alone = []
    for sample in samples:
        _restore(content, device)
        with torch.no_grad():
            alone.append(sum(collect_losses(detector, Batch([sample]), device, precision, 1).read().values()))
    detector = _ready(recipe, content, device)  # anew, for the statistics of its normalisation have changed
    _restore(content, device)
    with _first_fault(detector) as faults:
        losses = collect_losses(
            detector, Batch(samples), device, precision, content["micro_batch_size"],
            on_loss=lambda loss: loss.backward(),  # type: ignore[no-untyped-call]
        ).read()
    return Repeated(
        step=content["step"], image_paths=tuple(content["image_paths"]), recorded=dict(content["losses"]),
        losses=losses, alone=tuple(alone), num_boxes=tuple(len(sample.target["labels"]) for sample in samples),
        first_fault=faults[0] if faults else "", gradient_norm=_gradient_norm(detector),
    )


def _ready(recipe: Recipe, content: Content, device: torch.device) -> Detector:
    """The detector as it was before the step."""
    # Not compiled: layer by layer is what a replay is for.
    hardware = recipe.hardware.model_copy(update={"compile": False})
    detector = prepared(build_detector(recipe.model, recipe.classes.names, content["model"]), hardware, device)
    optimizer = build_optimizer(detector, recipe.optimizer, fused=recipe.hardware.fused_optimizer)
    set_training_mode(detector, optimizer, freeze_backbone=content["epoch"] < recipe.training.freeze_epochs)
    set_input_size(detector, recipe.model, min_size_of(content["step"], content["epoch"], recipe))
    return detector


def _restore(content: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(content["random"]["torch"])
    if device.type == "cuda" and "cuda" in content["random"]:
        torch.cuda.set_rng_state(content["random"]["cuda"], device)


@contextlib.contextmanager
def _first_fault(detector: Detector) -> Iterator[list[str]]:
    """Collects the names of layers whose outputs aren't finite, in the order they were computed."""
    found: list[str] = []

    def watch(name: str) -> Any:
        def hook(_layer: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and not output.isfinite().all():
                found.append(name)

        return hook

    handles = [
        layer.register_forward_hook(watch(name))
        for name, layer in detector.network.named_modules()
        if not any(True for _ in layer.children())
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _gradient_norm(detector: Detector) -> float:
    gradients = [parameter.grad for parameter in detector.parameters() if parameter.grad is not None]
    return torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients])).item() if gradients else math.nan

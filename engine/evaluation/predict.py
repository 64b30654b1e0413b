"""A finished run's best model, applied to pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engine.annotations import load_rgb
from engine.errors import EngineError
from engine.evaluation.drawing import DrawnBoxes
from engine.models import Detection, Detector, build_detector
from engine.models.checkpoint import load_checkpoint
from engine.models.detector import pick_device, to_cpu
from engine.recipe.load import read_resolved
from engine.rundir import RunDir


@dataclass(frozen=True, slots=True)
class Predictor:
    """A detector ready to be applied.

    Attributes:
        detector: In eval mode, on `device`.
        device: Where it computes.
        epoch: Zero-based epoch its weights are of.
    """

    detector: Detector
    device: torch.device
    epoch: int

    def predict(self, path: Path) -> Detection:
        """Objects in one picture file, best first, boxes in the picture's pixels as shown.

        Raises:
            DataError: The picture can't be read.
        """
        pixels = np.array(load_rgb(path, apply_exif=True), dtype=np.uint8)
        image = torch.from_numpy(pixels).permute(2, 0, 1).to(self.device).float().div_(255)
        found = self.detector.detect([image])[0]
        return to_cpu(found)


def load_predictor(run_dir: RunDir, device: str = "auto") -> Predictor:
    """The best model of a run.

    Raises:
        EngineError: The run has no model yet, or it is damaged or of another recipe.
    """
    recipe = read_resolved(run_dir.resolved)
    if not run_dir.best_checkpoint.exists():
        raise EngineError.of(
            "X101", str(run_dir.best_checkpoint), "the run has no model yet", "wait until its first epoch is measured"
        )
    content = load_checkpoint(run_dir.best_checkpoint)
    if tuple(content["class_names"]) != recipe.classes.names or content["arch"] != recipe.model.arch:
        raise EngineError.of(
            "X102", str(run_dir.best_checkpoint), "the model is of another recipe", "use the checkpoint of this run"
        )
    chosen = pick_device(device)
    detector = build_detector(recipe.model, recipe.classes.names, content["model"]).to(chosen).eval()
    return Predictor(detector, chosen, content["epoch"])


def above(found: Detection, threshold: float) -> DrawnBoxes:
    """Detections with at least a score, best first."""
    keep = found["scores"] >= threshold
    return DrawnBoxes(
        found["boxes_xyxy"][keep].numpy(), found["labels"][keep].numpy(), found["scores"][keep].numpy()
    )


def as_json(path: Path, boxes: DrawnBoxes, class_names: Sequence[str]) -> dict[str, object]:
    """One picture's detections as plain values; boxes as [x min, y min, x max, y max] in pixels."""
    assert boxes.scores is not None  # predictions have scores
    return {
        "image": str(path),
        "detections": [
            {"label": class_names[label], "score": round(score, 4), "box_xyxy": [round(value, 2) for value in box]}
            for box, label, score in zip(
                boxes.boxes_xyxy.tolist(), boxes.labels.tolist(), boxes.scores.tolist(), strict=True
            )
        ],
    }

"""A trained model, ready to be applied to pictures.

A model comes from a run or from a checkpoint file. Refuses a file that isn't a checkpoint of engine,
one that doesn't say how its network was built, and one that contradicts the recipe it lies with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from engine.analysis import Thresholds, read_thresholds
from engine.annotations import load_rgb
from engine.errors import EngineError
from engine.modelfile import ModelFile, find_model
from engine.models import Detection, Detector, build_detector
from engine.models.checkpoint import Content, load_checkpoint
from engine.models.detector import pick_device, to_cpu
from engine.models.speed import prepared
from engine.recipe.load import read_resolved
from engine.recipe.schema import AskedPrecision, Hardware, Model
from engine.rundir import RunDir


@dataclass(frozen=True, slots=True)
class Predictor:
    """A detector ready to be applied.

    Attributes:
        detector: In eval mode, on `device`.
        device: Where it computes.
        epoch: Zero-based epoch its weights are of.
        file: The checkpoint it came from, and its run.
        model: How the network is built.
        own_thresholds: The score thresholds of the best F1 that the checkpoint brings, if any.
    """

    detector: Detector
    device: torch.device
    epoch: int
    file: ModelFile
    model: Model
    own_thresholds: Thresholds | None = None

    @property
    def thresholds(self) -> Thresholds | None:
        """The score thresholds of the best F1: the run's, else those that the checkpoint brings; None without any."""
        of_run = read_thresholds(self.file.run_dir) if self.file.run_dir else None
        return of_run or self.own_thresholds

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of labels."""
        return self.detector.class_names

    def predict(self, path: Path) -> Detection:
        """Objects in one picture file, best first, boxes in the picture's pixels as shown.

        Raises:
            DataError: The picture can't be read.
        """
        pixels = np.array(load_rgb(path, apply_exif=True), dtype=np.uint8)
        image = torch.from_numpy(pixels).permute(2, 0, 1).to(self.device).float().div_(255)
        found = self.detector.detect([image])[0]
        return to_cpu(found)


def load_predictor(
    source: RunDir | ModelFile | Path | str, device: str = "auto", precision: AskedPrecision = "fp32", *,
    runs_dir: Path = Path("runs"),
) -> Predictor:
    """A model, from whatever a person names it by.

    Args:
        source: A run or its folder (its best model), a checkpoint file wherever it lies, or a run's number, id or
            recipe name within `runs_dir`.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto".
        precision: Number format of the convolutions and products, as `hardware.precision` in a recipe.
        runs_dir: Where runs are looked for by name.

    Raises:
        QueueError: No run goes by that name.
        RecipeError: The recipe in the run's folder is damaged.
        EngineError: There is no checkpoint (X101, X105), it is damaged (T102), not engine's (X106), doesn't say
            how its network was built (X107), or contradicts the recipe of its run (X102).
    """
    file = source if isinstance(source, ModelFile) else find_model(source, runs_dir)
    chosen = pick_device(device)
    content = load_checkpoint(file.checkpoint)
    _require_ours(content, file.checkpoint)
    model = _model_settings(content, file)
    names = tuple(content["class_names"])
    try:
        detector = build_detector(model, names, _weights(content))
    except EngineError as error:
        raise EngineError.of(
            "X102", str(file.checkpoint), f"the weights don't fit their own description: {error.problems[0].found}",
            "use another checkpoint of the run",
        ) from error
    ready = prepared(detector, Hardware(precision=precision), chosen).eval()
    return Predictor(ready, chosen, _epoch(content), file, model, _own_thresholds(content))


def _require_ours(content: Content, path: Path) -> None:
    names = content.get("class_names")
    whole = (
        isinstance(content.get("model"), Mapping) and isinstance(content.get("arch"), str)
        and isinstance(names, Sequence) and all(isinstance(name, str) for name in names)
    )
    if not whole:
        raise EngineError.of(
            "X106", str(path), "this file isn't a checkpoint of engine: it tells no detector or no classes",
            "name a best.pt or last.pt; other weights can only be trained from (model.weights in a recipe)",
        )


def _model_settings(content: Content, file: ModelFile) -> Model:
    """How the network was built: as the recipe beside the checkpoint says, else as the checkpoint itself says."""
    if file.run_dir is not None:
        recipe = read_resolved(file.run_dir.resolved)
        _require_same(content, recipe.model, recipe.classes.names, file)
        return recipe.model
    try:
        return Model.model_validate(content["model_settings"])
    except KeyError as error:
        raise EngineError.of(
            "X107", str(file.checkpoint), "it doesn't say how its network was built, and no recipe lies by it",
            "put the run's resolved.json beside it, or name the run's folder",
        ) from error
    except ValidationError as error:
        raise EngineError.of(
            "X107", str(file.checkpoint), "the network's settings in the checkpoint are of another version of engine",
            "put the run's resolved.json beside it, or use the engine that wrote it",
        ) from error


def _require_same(content: Content, model: Model, names: tuple[str, ...], file: ModelFile) -> None:
    facts = (
        ("classes are", tuple(content["class_names"]), names), ("detector is", (content["arch"],), (model.arch,)),
    )
    for what, found, wanted in facts:
        if found != wanted:
            told = f"the model is of another recipe: its {what} {', '.join(found)}, the recipe's {', '.join(wanted)}"
            raise EngineError.of("X102", str(file.checkpoint), told, "use the checkpoint of this run")


def _weights(content: Content) -> dict[str, Tensor]:
    """The tensors to detect with; a last.pt holds the trained ones, and their average where there is one."""
    state: dict[str, Tensor] = dict(content["model"])
    average: Mapping[str, Any] | None = content.get("average")
    return {**state, **average["weights"]} if average else state


def _own_thresholds(content: Content) -> Thresholds | None:
    """Those of a best model; files from before, and a last.pt, have none."""
    try:
        found = msgspec.convert(content.get("thresholds"), Thresholds)
    except msgspec.ValidationError:
        return None
    return found if found.per_class.keys() == set(content["class_names"]) else None


def _epoch(content: Content) -> int:
    if "epoch" in content:
        return int(content["epoch"])
    steps_per_epoch = max(1, int(content.get("steps_per_epoch", 1)))
    return max(0, int(content.get("step", 0)) - 1) // steps_per_epoch

"""Where a detector's first tensors come from: a published file, a file of one's own, or a former run.

Published files are looked for in the torch hub cache and fetched only when they aren't there. Only
tensors and plain values are ever unpickled.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torchvision.models import get_model_weights

from engine import hub
from engine.catalogue import Arch, WeightsFile
from engine.errors import EngineError, WeightsError
from engine.models.checkpoint import UNPICKLING_FAULTS, load_checkpoint, load_plain
from engine.models.detector import output_names
from engine.recipe.schema import Model
from engine.rundir import RunDir
from engine.weightsfile import SAFETENSORS

log = logging.getLogger(__name__)

StateDict = dict[str, Tensor]

# Trained when torchvision's frozen normalisation added nothing to the variance.
_TRAINED_WITHOUT_EPS = ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn")
_EPS = 1e-5


@dataclass(frozen=True, slots=True)
class Start:
    """Tensors that a network starts from.

    Attributes:
        state: Tensors by name.
        origin: Where they came from, for messages.
        outputs: What the rows of the class layers mean, the background included where there is one; None
            when nobody knows.
    """

    state: StateDict
    origin: str
    outputs: tuple[str, ...] | None = None

    @property
    def is_detector(self) -> bool:
        """Whether these are a whole detector's rather than a classification network's."""
        return any(name.startswith("backbone.") for name in self.state)


def start_of(model: Model, arch: Arch) -> Start | None:
    """The tensors that a recipe's `model.weights` names; None for "none".

    Raises:
        WeightsError: They are missing, not reachable or damaged.
    """
    if model.weights == "none":
        return None
    published = {"coco": arch.coco, "imagenet": arch.imagenet}.get(model.weights)
    if published is not None:
        start = Start(fetch(published), published.name)
    elif Path(model.weights).is_dir():
        start = _of_run(Path(model.weights), arch)
    else:
        start = read_start(Path(model.weights), arch)
    return _of_coco(start, arch) if _is_coco_file(start.origin, arch) else start


def fetch(weights: WeightsFile) -> StateDict:
    """Published weights, from the torch hub cache or, when they aren't there, from the network.

    Raises:
        WeightsError: Not in the cache and not reachable, or the file's sha256 is wrong.
    """
    if not hub.cached_path(weights).is_file():
        log.info("fetching %s (%d MB)", weights.name, weights.size_mb)
    path = hub.fetch_file(weights)
    hub.check_sha256(path, weights.sha256_prefix)
    return read_start(path).state


# --- COCO ---


def _is_coco_file(origin: str, arch: Arch) -> bool:
    return arch.coco is not None and Path(origin).name == arch.coco.name


def _of_coco(start: Start, arch: Arch) -> Start:
    state = with_usual_eps(start.state) if arch.name in _TRAINED_WITHOUT_EPS else start.state
    return Start(state, start.origin, coco_outputs(arch))


def coco_outputs(arch: Arch) -> tuple[str, ...]:
    """What the rows of a detector's COCO weights mean, as torchvision tells it; needs no network."""
    return tuple(get_model_weights(arch.name)["COCO_V1"].meta["categories"])


def with_usual_eps(state: StateDict) -> StateDict:
    """Make weights that were trained with eps = 0 in their frozen normalisation compute the same with the usual one.

    torchvision sets eps to 0 whenever it loads these files; a checkpoint couldn't tell that later. So the
    factors take it up: w / sqrt(v) is w' / sqrt(v + eps) with w' = w * sqrt((v + eps) / v).
    """
    changed = dict(state)
    for name, variance in state.items():
        factor = name.removesuffix("running_var") + "weight"
        if name.endswith("running_var") and factor in state:
            exact = variance.double()
            ratio = torch.where(exact > 0, ((exact + _EPS) / exact).sqrt(), torch.ones_like(exact))
            changed[factor] = (state[factor].double() * ratio).to(state[factor].dtype)
    return changed


# --- files and runs ---


def _of_run(path: Path, arch: Arch) -> Start:
    """The best model of a former run."""
    checkpoint = RunDir(path).best_checkpoint
    if not checkpoint.is_file():
        raise WeightsError.of(
            "W107", str(path), "there is no best model of a run in this folder (checkpoints/best.pt)",
            "name the folder of a run that has measured an epoch, or a weights file",
        )
    try:
        content = load_checkpoint(checkpoint)
    except EngineError as error:
        raise WeightsError(error.problems) from error
    return _start(content, checkpoint, arch)


def read_start(path: Path, arch: Arch | None = None) -> Start:
    """The tensors of a weights file, whatever it wraps them in.

    Args:
        path: What `torch.save` or safetensors wrote.
        arch: The detector they are for; tells how its classes are counted.

    Raises:
        WeightsError: The file can't be read, holds more than tensors and plain values, or no tensors.
    """
    try:
        content = _safetensors(path) if path.suffix == SAFETENSORS else _pickled(path)
    except OSError as error:
        raise WeightsError.of(
            "W103", str(path), f"the weights file can't be read: {error.strerror or error}", "check model.weights"
        ) from error
    return _start(content, path, arch)


def _pickled(path: Path) -> Any:
    try:
        return load_plain(path)
    except UNPICKLING_FAULTS as error:
        raise WeightsError.of(
            "W104", str(path), f"not a weights file: {first_line(error)}",
            "give a file that torch.save made from a state_dict; anything else is never unpickled",
        ) from error


def _safetensors(path: Path) -> dict[str, Any]:
    with path.open("rb"):  # tells what the system has against it, which safetensors doesn't
        pass
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except SafetensorError as error:
        raise WeightsError.of(
            "W104", str(path), f"not a safetensors file: {first_line(error)}", "give a file that safetensors wrote"
        ) from error
    try:
        names = json.loads(metadata.get("class_names", "null"))
    except ValueError:
        names = None
    return {"model": state, "class_names": names}


def _start(content: Any, path: Path, arch: Arch | None) -> Start:
    names = content.get("class_names") if isinstance(content, Mapping) else None
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = content.items() if isinstance(content, Mapping) else ()
    state = {str(name): value for name, value in tensors if isinstance(value, Tensor)}
    if not state:
        raise WeightsError.of("W104", str(path), "the file holds no tensors by name", "give a file of a state_dict")
    if arch is None or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return Start(state, str(path))
    return Start(state, str(path), output_names(arch.family, names))


def first_line(error: Exception) -> str:
    """The first line of what a library says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

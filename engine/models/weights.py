"""Weights: found offline first, hash checked, only tensors ever unpickled.

"coco" and "imagenet" are looked for in the torch hub cache and fetched only when they aren't there.
A file may hold a whole detector or a classification network's backbone; how much of it fitted is told.
"""

from __future__ import annotations

import hashlib
import logging
import urllib.error
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.catalogue import Arch, WeightsFile
from engine.errors import WeightsError
from engine.models.checkpoint import UNPICKLING_FAULTS
from engine.recipe.schema import Model

log = logging.getLogger(__name__)

StateDict = dict[str, Tensor]

# Tensors that depend on the number of classes; a file of other classes is used without them.
_CLASS_PARTS = ("roi_heads.box_predictor.", "head.classification_head.")
# Parts of a classification network that a detector has no use for.
_CLASSIFIER_PARTS = ("fc.", "classifier.")
# A file that fills less than this share of the tensors it should fill is another model's.
_LEAST_SHARE = 0.9


def initial_state(model: Model, arch: Arch) -> tuple[StateDict | None, str]:
    """The tensors that a recipe's `model.weights` names, and where they came from.

    Returns:
        (None, "") for "none".

    Raises:
        WeightsError: They are missing, not reachable or damaged.
    """
    if model.weights == "none":
        return None, ""
    published = {"coco": arch.coco, "imagenet": arch.imagenet}.get(model.weights)
    if published is not None:
        return fetch(published), published.name
    path = Path(model.weights)
    return read_state_dict(path), str(path)


def fetch(weights: WeightsFile) -> StateDict:
    """Published weights, from the torch hub cache or, when they aren't there, from the network.

    Raises:
        WeightsError: Not in the cache and not reachable, or the file's sha256 is wrong.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.name
    if not path.exists():
        log.info("fetching %s (%d MB)", weights.name, weights.size_mb)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(weights.url, str(path), weights.sha256_prefix, progress=False)
        except (OSError, urllib.error.URLError) as error:
            raise WeightsError.of(
                "W101", str(path), f"{weights.name} isn't there and can't be fetched: {error}",
                f"fetch {weights.url} elsewhere and copy it to this path, or set model.weights to a file",
            ) from error
        except RuntimeError as error:  # torch hub's word for a wrong hash
            raise WeightsError.of("W102", str(path), f"the fetched file is damaged: {error}", "try again") from error
    check_sha256(path, weights.sha256_prefix)
    return read_state_dict(path)


def check_sha256(path: Path, prefix: str) -> None:
    """Compare a file with the hash in its name.

    Raises:
        WeightsError: They differ.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(prefix):
        raise WeightsError.of(
            "W102", str(path), f"the file is damaged: its sha256 begins with {found[:8]}, not {prefix}",
            "delete it and fetch it again",
        )


def read_state_dict(path: Path) -> StateDict:
    """The tensors of a weights file, whatever it wraps them in.

    Raises:
        WeightsError: The file can't be read, holds more than tensors, or holds none.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError.of(
            "W103", str(path), f"the weights file can't be read: {error.strerror or error}", "check model.weights"
        ) from error
    except UNPICKLING_FAULTS as error:
        raise WeightsError.of(
            "W104", str(path), f"not a weights file: {_first_line(error)}",
            "give a file that torch.save made from a state_dict; anything else is never unpickled",
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = content.items() if isinstance(content, Mapping) else ()
    state = {str(name): value for name, value in tensors if isinstance(value, Tensor)}
    if not state:
        raise WeightsError.of("W104", str(path), "the file holds no tensors by name", "give a file of a state_dict")
    return state


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def is_detector_state(state: StateDict) -> bool:
    """Whether tensors are a whole detector's rather than a classification network's."""
    return any(name.startswith("backbone.") for name in state)


def load_backbone(body: nn.Module, state: StateDict, origin: str) -> None:
    """Copy a classification network's tensors into a backbone that isn't part of a detector yet.

    Raises:
        WeightsError: Less than 90 % of the backbone's tensors are there.
    """
    wanted = [name for name in body.state_dict() if not name.startswith(_CLASSIFIER_PARTS)]
    _load_fitting(body, wanted, state, origin)


def load_detector(network: nn.Module, state: StateDict, origin: str, *, exact: bool) -> None:
    """Copy a whole detector's tensors.

    Args:
        network: The torchvision detector.
        state: Tensors by torchvision's names.
        origin: Where they came from, for messages.
        exact: Every tensor must fit. Otherwise those of another class map are left out.

    Raises:
        WeightsError: The tensors are of another model.
    """
    if exact:
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise WeightsError.of(
                "W105", origin, f"the weights are of another model: {_first_line(error)}",
                "use the recipe that the checkpoint was made with",
            ) from error
        return
    wanted = [name for name in network.state_dict() if not name.startswith(_CLASS_PARTS)]
    _load_fitting(network, wanted, state, origin)


def _load_fitting(module: nn.Module, wanted: list[str], state: StateDict, origin: str) -> None:
    own = module.state_dict()
    # Counters of batches seen are absent from some published files and steer nothing here.
    wanted = [name for name in wanted if not name.endswith("num_batches_tracked")]
    fitting = {name: state[name] for name in own if name in state and state[name].shape == own[name].shape}
    num_fitting = sum(name in fitting for name in wanted)
    if num_fitting < _LEAST_SHARE * len(wanted):
        raise WeightsError.of(
            "W105", origin, f"the weights are of another model: {num_fitting} of {len(wanted)} tensors fit",
            "choose the model.arch that the file was made with, or another file",
        )
    module.load_state_dict(fitting, strict=False)
    log.info("weights from %s: %d of %d tensors", origin, num_fitting, len(wanted))

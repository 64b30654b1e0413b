"""From `[model]` and the class map to a detector: network, head and weights.

The networks are torchvision's, put together from its public parts so that normalisation, frozen
stages, anchors and input size are the recipe's choice; parameter names stay torchvision's, so its
published weights load here and ours load there.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from engine.catalogue import ARCHS, Arch
from engine.models.backbones import Norm, classification_network, freeze_norm, freeze_stages, ssdlite_norm
from engine.models.detector import Detector, Network, output_names
from engine.models.faster_rcnn import faster_rcnn
from engine.models.single_stage import fcos, retinanet, ssd300, ssdlite
from engine.models.sources import Start, StateDict, start_of
from engine.models.weights import load_backbone, load_detector, load_exactly
from engine.recipe.schema import Model

_SSDLITE_BACKBONE = "mobilenet_v3_large"
# Channels of SSDlite's last backbone layer when MobileNetV3 is built with its reduced tail.
_REDUCED_TAIL_CHANNELS = 480
_TAIL = "backbone.features.1.3.0.weight"


def build_detector(model: Model, class_names: Sequence[str], state: StateDict | None = None) -> Detector:
    """Build the detector a recipe asks for.

    Args:
        model: The recipe's `[model]`.
        class_names: The classes, without background.
        state: A whole detector's tensors from a checkpoint, loaded to the letter; without it the
            network starts from the weights that the recipe names.

    Raises:
        WeightsError: The weights are missing, damaged or of another model.
    """
    arch = ARCHS[model.arch]
    outputs = output_names(arch.family, class_names)
    start = start_of(model, arch) if state is None else Start(state, "checkpoint")
    network = _network(arch, model, len(outputs), start)
    if state is not None:
        load_exactly(network, state, "checkpoint")
    elif start is not None and start.is_detector:
        load_detector(network, start, outputs)
    return Detector(network, class_names)


def uses_frozen_norm(model: Model, arch: Arch) -> bool:
    """Whether the backbone's batch statistics stay as loaded.

    "auto" freezes them where there are trained statistics to keep, as torchvision does: batches of a
    few images estimate them badly. SSDlite and the improved ResNet50 detectors were published to learn theirs.
    """
    if model.norm != "auto":
        return model.norm == "frozen"
    return model.weights != "none" and arch.family != "ssd" and not arch.name.endswith("_v2")


def trainable_layers(model: Model, arch: Arch) -> int:
    """How many backbone stages learn, counted from the output; torchvision's defaults."""
    if model.trainable_layers is not None:
        return model.trainable_layers
    return arch.num_backbone_stages if model.weights == "none" else arch.num_trained_stages


def _network(arch: Arch, model: Model, num_outputs: int, start: Start | None) -> Network:
    norm = _norm_of(arch, model)
    reduced = arch.family == "ssd" and (start is None or _has_reduced_tail(start))
    body = classification_network(arch, norm, reduced_tail=reduced and arch.backbone == _SSDLITE_BACKBONE)
    if start is not None and not start.is_detector:
        load_backbone(body, start)
    freeze_stages(body, arch, trainable_layers(model, arch))
    if uses_frozen_norm(model, arch):
        freeze_norm(body)
    if arch.family == "fasterrcnn":
        return faster_rcnn(arch, model, num_outputs, body)
    if arch.family == "retinanet":
        return retinanet(arch, model, num_outputs, body)
    if arch.family == "fcos":
        return fcos(model, num_outputs, body)
    if norm is None:
        return ssd300(arch, model, num_outputs, body)
    network = ssdlite(arch, model, num_outputs, body, norm)
    if uses_frozen_norm(model, arch):
        freeze_norm(network)
    return network


def _norm_of(arch: Arch, model: Model) -> Norm | None:
    """The normalisation that torchvision gives a detector's MobileNetV3; None for the backbone's own."""
    if arch.family == "ssd" and arch.backbone == _SSDLITE_BACKBONE:
        return ssdlite_norm(trained=model.weights != "none")
    return nn.BatchNorm2d if arch.coco is not None and arch.backbone == "mobilenet_v3_large" else None


def _has_reduced_tail(start: Start) -> bool:
    tail = start.state.get(_TAIL)  # absent from another detector's weights
    return start.is_detector and (tail is None or tail.shape[0] == _REDUCED_TAIL_CHANNELS)

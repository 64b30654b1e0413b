"""From `[model]` and the class map to a detector: network, head and weights.

The networks are torchvision's, put together from its public parts so that normalisation, frozen
stages and input size are the recipe's choice; parameter names stay torchvision's, so its published
weights load here and ours load there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn
from torchvision.models import mobilenet_v2, mobilenet_v3_large, resnet18, resnet50
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteFeatureExtractorMobileNet, SSDLiteHead
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.misc import FrozenBatchNorm2d

from engine.catalogue import ARCHS, Arch
from engine.models.detector import Detector
from engine.models.weights import StateDict, initial_state, is_detector_state, load_backbone, load_detector
from engine.recipe.schema import Model

Norm = Callable[..., nn.Module]

_ASPECT_RATIOS = (0.5, 1.0, 2.0)
# Sizes in pixels of the square anchors on each pyramid level, finest first; torchvision's own.
_RESNET_ANCHORS = ((32,), (64,), (128,), (256,), (512,))
_MOBILENET_V3_ANCHORS = ((32, 64, 128, 256, 512),) * 3
# Our MobileNetV2 pyramid starts at stride 8, so each level takes two sizes.
_MOBILENET_V2_ANCHORS = ((24, 40), (64, 90), (128, 180), (256, 360))
# Last block of each MobileNetV2 stage at strides 8, 16 and 32, and its channels.
_MOBILENET_V2_LEVELS = {6: 32, 13: 96, 17: 320}
# Channels of SSDlite's last backbone layer when MobileNetV3 is built with its reduced tail.
_REDUCED_TAIL_CHANNELS = 480


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
    origin = "checkpoint"
    start = state
    if state is None:
        start, origin = initial_state(model, arch)
    network = _network(arch, model, len(class_names) + 1, start, origin)
    if start is not None and is_detector_state(start):
        load_detector(network, start, origin, exact=state is not None)
    _freeze_stages(network, arch, trainable_layers(model, arch))
    return Detector(network, class_names)


def uses_frozen_norm(model: Model, arch: Arch) -> bool:
    """Whether the backbone's batch statistics stay as loaded.

    "auto" freezes them where there are trained statistics to keep, as torchvision does: batches of a
    few images estimate them badly. SSDlite and ResNet50-FPN v2 were published to learn theirs.
    """
    if model.norm != "auto":
        return model.norm == "frozen"
    return model.weights != "none" and arch.family != "ssd" and not arch.name.endswith("_v2")


def trainable_layers(model: Model, arch: Arch) -> int:
    """How many backbone stages learn, counted from the output; torchvision's defaults."""
    if model.trainable_layers is not None:
        return model.trainable_layers
    if model.weights == "none" or arch.family == "ssd":
        return arch.num_backbone_stages
    return 3


def _network(arch: Arch, model: Model, num_outputs: int, start: StateDict | None, origin: str) -> FasterRCNN | SSD:
    norm = _norm_layer(arch, model)
    if arch.family == "ssd":
        reduced = start is None or (is_detector_state(start) and _has_reduced_tail(start))
        body = mobilenet_v3_large(weights=None, norm_layer=norm, reduced_tail=reduced)
    else:
        builders = {
            "resnet18": resnet18, "resnet50": resnet50,
            "mobilenet_v2": mobilenet_v2, "mobilenet_v3_large": mobilenet_v3_large,
        }
        body = builders[arch.backbone](weights=None, norm_layer=norm)
    if start is not None and not is_detector_state(start):
        load_backbone(body, start, origin)
    if arch.family == "ssd":
        return _ssdlite(body, num_outputs, norm)
    return _faster_rcnn(arch, model, num_outputs, body)


def _norm_layer(arch: Arch, model: Model) -> Norm:
    if uses_frozen_norm(model, arch):
        return partial(FrozenBatchNorm2d, eps=0.001) if arch.family == "ssd" else FrozenBatchNorm2d
    if arch.family != "ssd":
        return nn.BatchNorm2d
    # The published momentum of 0.03 suits long training. Statistics that start from nothing would
    # need thousands of steps to settle with it, and until then evaluation sees noise.
    return partial(nn.BatchNorm2d, eps=0.001, momentum=0.1 if model.weights == "none" else 0.03)


def _faster_rcnn(arch: Arch, model: Model, num_outputs: int, body: nn.Module) -> FasterRCNN:
    settings: dict[str, Any] = {
        "min_size": model.input_min_size, "max_size": model.input_max_size,
        "box_batch_size_per_image": model.box_samples,
    }
    channels = model.fpn_channels
    v2 = arch.name.endswith("_v2")
    if arch.backbone == "mobilenet_v3_large":
        backbone = _mobilenet_v3_fpn(body, channels)
        settings |= _anchors(_MOBILENET_V3_ANCHORS) | {"rpn_score_thresh": 0.05}
        if arch.name.endswith("_320_fpn"):
            settings |= {"rpn_pre_nms_top_n_test": 150, "rpn_post_nms_top_n_test": 150}
    elif arch.backbone == "mobilenet_v2":
        backbone = _mobilenet_v2_fpn(body, channels)
        settings |= _anchors(_MOBILENET_V2_ANCHORS)
    else:
        backbone = _resnet_fpn(body, channels, nn.BatchNorm2d if v2 else None)
        settings |= _anchors(_RESNET_ANCHORS)
    settings |= _v2_heads(model) if v2 else {"box_head": TwoMLPHead(channels * 7 * 7, model.box_head_width)}
    settings["box_predictor"] = FastRCNNPredictor(model.box_head_width, num_outputs)
    return FasterRCNN(backbone, **settings)


def _anchors(sizes: tuple[tuple[int, ...], ...]) -> dict[str, Any]:
    return {"rpn_anchor_generator": AnchorGenerator(sizes, (_ASPECT_RATIOS,) * len(sizes))}


def _v2_heads(model: Model) -> dict[str, Any]:
    channels = model.fpn_channels
    return {
        "rpn_head": RPNHead(channels, len(_ASPECT_RATIOS), conv_depth=2),
        "box_head": FastRCNNConvFCHead(
            (channels, 7, 7), [channels] * 4, [model.box_head_width], norm_layer=nn.BatchNorm2d
        ),
    }


def _resnet_fpn(body: nn.Module, out_channels: int, fpn_norm: Norm | None) -> BackboneWithFPN:
    deepest: int = body.inplanes  # type: ignore[assignment]  # set by torchvision's ResNet
    channels = [deepest // 8, deepest // 4, deepest // 2, deepest]
    layers = {f"layer{stage}": str(stage - 1) for stage in (1, 2, 3, 4)}
    return BackboneWithFPN(body, layers, channels, out_channels, LastLevelMaxPool(), norm_layer=fpn_norm)


def _mobilenet_v3_fpn(body: Any, out_channels: int) -> BackboneWithFPN:
    # torchvision's choice: the last two stages, 160 and 960 channels.
    features = body.features
    stages = _stage_starts(list(features))[-2:]
    layers = {str(index): str(level) for level, index in enumerate(stages)}
    channels = [features[index].out_channels for index in stages]
    return BackboneWithFPN(features, layers, channels, out_channels, LastLevelMaxPool())


def _mobilenet_v2_fpn(body: Any, out_channels: int) -> BackboneWithFPN:
    # The 1280-channel layer behind the last stage serves classification; it is left out.
    layers = {str(index): str(level) for level, index in enumerate(_MOBILENET_V2_LEVELS)}
    channels = list(_MOBILENET_V2_LEVELS.values())
    return BackboneWithFPN(body.features[:18], layers, channels, out_channels, LastLevelMaxPool())


def _ssdlite(body: Any, num_outputs: int, norm: Norm) -> SSD:
    """Put SSDlite320 together with the constants of torchvision's `ssdlite320_mobilenet_v3_large`."""
    cut = _stage_starts(list(body.features))[-2]
    backbone = SSDLiteFeatureExtractorMobileNet(body.features, cut, norm)
    anchors = DefaultBoxGenerator([[2, 3] for _ in range(6)], min_ratio=0.2, max_ratio=0.95)
    expansion = body.features[cut].block[0].out_channels
    channels = [expansion, body.features[-1].out_channels, 512, 256, 256, 128]
    return SSD(
        backbone, anchors, (320, 320), num_outputs,
        head=SSDLiteHead(channels, anchors.num_anchors_per_location(), num_outputs, norm),
        score_thresh=0.001, nms_thresh=0.55, detections_per_img=300, topk_candidates=300,
        image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5],
    )


def _has_reduced_tail(state: StateDict) -> bool:
    tail = state.get("backbone.features.1.3.0.weight")  # absent from another detector's weights
    return tail is None or tail.shape[0] == _REDUCED_TAIL_CHANNELS


def _stage_starts(blocks: Sequence[nn.Module]) -> list[int]:
    """Indices of the blocks at which a MobileNet's stages begin, the stem and last layer included.

    Source:
        torchvision.models.detection.backbone_utils, which marks such blocks with `_is_cn`.
    """
    marked = [index for index, block in enumerate(blocks) if getattr(block, "_is_cn", False)]
    return [0, *marked, len(blocks) - 1]


def _freeze_stages(network: FasterRCNN | SSD, arch: Arch, num_trainable: int) -> None:
    if num_trainable >= arch.num_backbone_stages:
        return
    cuts: list[int] = []
    if arch.family == "ssd":
        # SSDlite's two parts; the last of the first one is where the block that begins a stage was cut in two.
        blocks: list[nn.Module] = [*network.backbone.features[0], *network.backbone.features[1]]
        cuts = [len(network.backbone.features[0]) - 1]
    elif arch.backbone.startswith("mobilenet"):
        blocks = list(network.backbone.body.values())
    else:
        _freeze_resnet(network.backbone.body, num_trainable)
        return
    starts = sorted([*_stage_starts(blocks), *cuts])[: arch.num_backbone_stages]
    first = len(blocks) if num_trainable == 0 else starts[max(0, len(starts) - num_trainable)]
    for block in blocks[:first]:
        block.requires_grad_(requires_grad=False)


def _freeze_resnet(body: nn.Module, num_trainable: int) -> None:
    learning = ("layer4", "layer3", "layer2", "layer1", "conv1")[:num_trainable]
    for name, parameter in body.named_parameters():
        parameter.requires_grad = name.startswith(learning)

"""One face for every torchvision detector: losses, detections, or both from one backbone pass.

Labels are zero-based outside. Faster R-CNN and SSD count the background as class 0; it is added and
taken off here and nowhere else. RetinaNet and FCOS have no output for it: their first is our first class.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, TypedDict, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.fcos import FCOS
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from engine.catalogue import Family
from engine.errors import EngineError
from engine.models.precision import computing_in
from engine.models.rows import BACKGROUND
from engine.recipe.schema import Precision

Network: TypeAlias = FasterRCNN | RetinaNet | FCOS | SSD

_BACKGROUND_OFFSETS: dict[Family, int] = {"fasterrcnn": 1, "ssd": 1, "retinanet": 0, "fcos": 0}


def output_names(family: Family, class_names: Sequence[str]) -> tuple[str, ...]:
    """What each output of a detector's classification layer means, the background included where there is one."""
    return (*[BACKGROUND] * _BACKGROUND_OFFSETS[family], *class_names)


def family_of(network: nn.Module) -> Family:
    """The family a torchvision detector belongs to."""
    kinds: dict[type[nn.Module], Family] = {FasterRCNN: "fasterrcnn", RetinaNet: "retinanet", FCOS: "fcos", SSD: "ssd"}
    return next(family for kind, family in kinds.items() if isinstance(network, kind))


class Target(TypedDict):
    """What is to be found in one image.

    boxes_xyxy is (N, 4) float32 in pixels, labels is (N,) int64, zero-based; N may be 0.
    """

    boxes_xyxy: Tensor
    labels: Tensor


class Detection(TypedDict):
    """What was found in one image, best first.

    boxes_xyxy is (N, 4) float32 in pixels of the image given, labels (N,) int64, zero-based,
    scores (N,) float32 in [0, 1]; N may be 0.
    """

    boxes_xyxy: Tensor
    labels: Tensor
    scores: Tensor


class Detector(nn.Module):
    """A torchvision detector behind one interface.

    Images are a list of (3, H, W) float32 tensors in [0, 1], of any sizes, on the detector's device.

    Args:
        network: The torchvision model; its `state_dict` is what checkpoints hold, under
            torchvision's own names.
        class_names: The classes, without background.

    Attributes:
        detect_precision: Number format of the convolutions and products when detecting.
    """

    detect_precision: Precision = "fp32"

    def __init__(self, network: Network, class_names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.class_names = tuple(class_names)
        self._offset = _BACKGROUND_OFFSETS[family_of(network)]
        for head in _output_heads(network):
            head.register_forward_hook(_to_float32)
        _anchors_of(network).register_forward_pre_hook(_maps_as_float32)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.register_forward_pre_hook(_spare_single_values)
                layer.register_forward_hook(_learn_statistics_again, always_call=True)

    def losses(
        self, images: list[Tensor], targets: Sequence[Target], precision: Precision = "fp32"
    ) -> dict[str, Tensor]:
        """Training losses of a batch, by torchvision's names, as 0-d float32 tensors with gradients.

        With "bf16" or "fp16", convolutions and matrix products are computed in that format; everything
        about boxes stays in float32, for bfloat16 can't tell pixels apart beyond 256.
        """
        with computing_in(precision, images[0].device):
            losses: dict[str, Tensor] = self.network(images, self._to_torchvision(targets))
        return {name: loss.float() for name, loss in losses.items()}

    @torch.no_grad()
    def detect(self, images: list[Tensor]) -> list[Detection]:
        """Objects found in each image."""
        self.eval()
        with self._detecting(images[0].device):
            found = self.network(images)
        return self._from_torchvision(found)

    @torch.no_grad()
    def detect_with_losses(
        self, images: list[Tensor], targets: Sequence[Target]
    ) -> tuple[list[Detection], dict[str, Tensor]]:
        """Detections and the true validation losses of a batch, from one pass of the backbone.

        Nothing is changed: no statistics are updated, no gradient is kept, and the random state is as
        before. Faster R-CNN draws the boxes it counts in the loss at random; seed torch first where
        figures are to be compared.
        """
        self.eval()
        device = images[0].device
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        batch, scaled_targets = self.network.transform(images, self._to_torchvision(targets))
        with self._detecting(device), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            features = self.network.backbone(batch.tensors)
            found, losses = _with_losses(self.network, batch, features, scaled_targets)
        found = self.network.transform.postprocess(found, batch.image_sizes, sizes)
        return self._from_torchvision(found), {name: loss.float() for name, loss in losses.items()}

    @torch.no_grad()
    def detect_batch(self, batch: ImageList, sizes: list[tuple[int, int]]) -> list[Detection]:
        """Objects found in images that are resized, normalised and put together already.

        Args:
            batch: What the network's transform would have made.
            sizes: (height, width) of each image before, in whose pixels boxes are told.
        """
        self.eval()
        with self._detecting(batch.tensors.device):
            found = _found(self.network, batch, self.network.backbone(batch.tensors))
        return self._from_torchvision(self.network.transform.postprocess(found, batch.image_sizes, sizes))

    def _detecting(self, device: torch.device) -> contextlib.AbstractContextManager[Any]:
        return computing_in(self.detect_precision, device)

    def _to_torchvision(self, targets: Sequence[Target]) -> list[dict[str, Tensor]]:
        return [{"boxes": target["boxes_xyxy"], "labels": target["labels"] + self._offset} for target in targets]

    def _from_torchvision(self, outputs: Sequence[dict[str, Tensor]]) -> list[Detection]:
        return [
            {"boxes_xyxy": output["boxes"], "labels": output["labels"] - self._offset, "scores": output["scores"]}
            for output in outputs
        ]


# --- one pass ---


def _found(network: Network, batch: Any, features: Any) -> Any:
    """Detections in the pixels of the resized images, from the backbone's feature maps."""
    if isinstance(network, FasterRCNN):
        proposals, _ = network.rpn(batch, features)
        return network.roi_heads(features, proposals, batch.image_sizes)[0]
    levels = list(features.values())
    outputs = network.head(levels)
    anchors = network.anchor_generator(batch, levels)
    if isinstance(network, SSD):
        return network.postprocess_detections(outputs, anchors, batch.image_sizes)
    return _dense_found(network, batch, _sizes_of(levels, outputs), outputs, anchors)


def _with_losses(network: Network, batch: Any, features: Any, targets: Any) -> tuple[Any, dict[str, Tensor]]:
    """Detections in the pixels of the resized images, and losses, from the backbone's feature maps."""
    if isinstance(network, FasterRCNN):
        return _rcnn_heads(network, batch, features, targets)
    levels = list(features.values())
    outputs = network.head(levels)
    anchors = network.anchor_generator(batch, levels)
    if isinstance(network, SSD):
        return _ssd_results(network, batch, outputs, anchors, targets)
    return _dense_results(network, batch, levels, outputs, anchors, targets)


def _rcnn_heads(network: Any, batch: Any, features: Any, targets: Any) -> tuple[Any, dict[str, Tensor]]:
    with _computed_once(network.rpn.head):
        with _loss_mode(network.rpn), _loss_mode(network.roi_heads):
            proposals, rpn_losses = network.rpn(batch, features, targets)
            _, box_losses = network.roi_heads(features, proposals, batch.image_sizes, targets)
        return _found(network, batch, features), {**rpn_losses, **box_losses}


def _ssd_results(network: Any, batch: Any, outputs: Any, anchors: Any, targets: Any) -> tuple[Any, dict[str, Tensor]]:
    matches = [
        _match(network, target["boxes"], image_anchors)
        for target, image_anchors in zip(targets, anchors, strict=True)
    ]
    losses = network.compute_loss(targets, outputs, anchors, matches)
    return network.postprocess_detections(outputs, anchors, batch.image_sizes), losses


def _match(network: Any, boxes: Tensor, anchors: Tensor) -> Tensor:
    """Index of the box each anchor answers for, below 0 for background; as SSD.forward does."""
    if boxes.numel() == 0:
        return torch.full((anchors.size(0),), -1, dtype=torch.int64, device=anchors.device)
    return cast(Tensor, network.proposal_matcher(box_iou(boxes, anchors)))


def _dense_results(
    network: Any, batch: Any, levels: list[Tensor], outputs: Any, anchors: Any, targets: Any
) -> tuple[Any, dict[str, Tensor]]:
    """RetinaNet's and FCOS's losses and detections; as their forward does."""
    sizes = _sizes_of(levels, outputs)
    per_level = [sizes] if isinstance(network, FCOS) else []
    losses = network.compute_loss(targets, outputs, anchors, *per_level)
    return _dense_found(network, batch, sizes, outputs, anchors), losses


def _sizes_of(levels: list[Tensor], outputs: Any) -> list[int]:
    """How many of the outputs belong to each level."""
    num_places = [level.shape[-2] * level.shape[-1] for level in levels]
    num_anchors = outputs["cls_logits"].shape[1] // sum(num_places)
    return [places * num_anchors for places in num_places]


def _dense_found(network: Any, batch: Any, sizes: list[int], outputs: Any, anchors: Any) -> Any:
    return network.postprocess_detections(
        {name: list(output.split(sizes, dim=1)) for name, output in outputs.items()},
        [list(image_anchors.split(sizes)) for image_anchors in anchors], batch.image_sizes,
    )


@contextlib.contextmanager
def _loss_mode(head: nn.Module) -> Iterator[None]:
    """Make a Faster R-CNN head compute losses while its normalisation and dropout stay in eval mode."""
    head.training = True
    try:
        yield
    finally:
        head.training = False


@contextlib.contextmanager
def _computed_once(layer: nn.Module) -> Iterator[None]:
    """Have a layer that is called again and again with the same inputs compute once."""
    compute, kept = layer.forward, list[Any]()

    def remembered(inputs: Any) -> Any:
        if not kept:
            kept.append(compute(inputs))
        return kept[0]

    layer.forward = remembered
    try:
        yield
    finally:
        del layer.forward


# --- everything about boxes in float32 ---


def _output_heads(network: Any) -> list[nn.Module]:
    """The layers whose outputs become boxes and scores."""
    return [network.rpn.head, network.roi_heads.box_predictor] if isinstance(network, FasterRCNN) else [network.head]


def _to_float32(_layer: nn.Module, _inputs: Any, outputs: Any) -> Any:
    """Forward hook: the outputs in float32, whatever holds them; float32 outputs pass untouched."""
    if isinstance(outputs, Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {name: _to_float32(_layer, None, value) for name, value in outputs.items()}
    return type(outputs)(_to_float32(_layer, None, value) for value in outputs)


def _anchors_of(network: Any) -> nn.Module:
    generator: nn.Module = network.rpn.anchor_generator if isinstance(network, FasterRCNN) else network.anchor_generator
    return generator


def _maps_as_float32(_layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Forward pre-hook: anchors take their number format from the feature maps, of which they need only the shape."""
    images, maps = inputs
    if all(one.dtype == torch.float32 for one in maps):
        return inputs
    empty = torch.empty((), dtype=torch.float32, device=maps[0].device)
    return images, [empty.expand(one.shape) for one in maps]


# --- batches of one image ---

_SPARED = "_engine_spared"


def _spare_single_values(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Forward pre-hook: normalise by the running statistics where a channel has one value only.

    SSDlite's last map has one cell, so one image (an epoch's last batch, or half of two) tells no
    statistics there, and torch refuses to go on.
    """
    if layer.training and inputs[0].numel() == inputs[0].shape[1]:
        layer.training = False
        setattr(layer, _SPARED, True)


def _learn_statistics_again(layer: nn.Module, _inputs: Any, _outputs: Any) -> None:
    """Forward hook: undo what `_spare_single_values` did."""
    if getattr(layer, _SPARED, False):
        layer.training = True
        setattr(layer, _SPARED, False)


def to_cpu(found: Detection) -> Detection:
    """Detections moved to the CPU."""
    return {"boxes_xyxy": found["boxes_xyxy"].cpu(), "labels": found["labels"].cpu(), "scores": found["scores"].cpu()}


def pick_device(wanted: str) -> torch.device:
    """The device a recipe means: "auto" takes cuda, then mps, then cpu.

    Raises:
        EngineError: There is no such device, or it can't be used.
    """
    if wanted != "auto":
        return _usable(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _usable(wanted: str) -> torch.device:
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch's words for a wrong name, a missing GPU or a missing build
        words = (str(error).strip().splitlines() or [""])[0]
        raise EngineError.of(
            "E104", "", f'the device "{wanted}" can\'t be used: {words}', 'use "auto" or "cpu"'
        ) from error
    return device

"""One face for every torchvision detector: losses, detections, or both from one backbone pass.

Labels are zero-based outside. The background's class 0 is added and taken off here and nowhere else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, TypedDict, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from engine.errors import EngineError
from engine.recipe.schema import Precision

# torchvision's Faster R-CNN and SSD count the background as class 0.
_BACKGROUND_OFFSET = 1


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
    """

    def __init__(self, network: FasterRCNN | SSD, class_names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.class_names = tuple(class_names)
        for head in _output_heads(network):
            head.register_forward_hook(_to_float32)

    def losses(
        self, images: list[Tensor], targets: Sequence[Target], precision: Precision = "fp32"
    ) -> dict[str, Tensor]:
        """Training losses of a batch, by torchvision's names, as 0-d float32 tensors with gradients.

        With "bf16" or "fp16", convolutions and matrix products are computed in that format; everything
        about boxes stays in float32, for bfloat16 can't tell pixels apart beyond 256.
        """
        dtype = torch.float16 if precision == "fp16" else torch.bfloat16
        with torch.autocast(images[0].device.type, dtype, enabled=precision != "fp32"):
            losses: dict[str, Tensor] = self.network(images, self._to_torchvision(targets))
        return {name: loss.float() for name, loss in losses.items()}

    @torch.no_grad()
    def detect(self, images: list[Tensor]) -> list[Detection]:
        """Objects found in each image."""
        self.eval()
        return self._from_torchvision(self.network(images))

    @torch.no_grad()
    def detect_with_losses(
        self, images: list[Tensor], targets: Sequence[Target]
    ) -> tuple[list[Detection], dict[str, Tensor]]:
        """Detections and the true validation losses of a batch, from one pass of the backbone.

        Nothing is changed: no statistics are updated, no gradient is kept. Faster R-CNN draws the
        boxes it counts in the loss at random; seed torch first where figures are to be compared.
        """
        self.eval()
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        batch, scaled_targets = self.network.transform(images, self._to_torchvision(targets))
        features = self.network.backbone(batch.tensors)
        if isinstance(self.network, FasterRCNN):
            found, losses = self._rcnn_heads(batch, features, scaled_targets)
        else:
            found, losses = self._ssd_heads(batch, features, scaled_targets)
        found = self.network.transform.postprocess(found, batch.image_sizes, sizes)
        return self._from_torchvision(found), losses

    def _rcnn_heads(self, batch: Any, features: Any, targets: Any) -> tuple[Any, dict[str, Tensor]]:
        network = self.network
        with _loss_mode(network.rpn), _loss_mode(network.roi_heads):
            proposals, rpn_losses = network.rpn(batch, features, targets)
            _, box_losses = network.roi_heads(features, proposals, batch.image_sizes, targets)
        proposals, _ = network.rpn(batch, features)
        found, _ = network.roi_heads(features, proposals, batch.image_sizes)
        return found, {**rpn_losses, **box_losses}

    def _ssd_heads(self, batch: Any, features: Any, targets: Any) -> tuple[Any, dict[str, Tensor]]:
        network = self.network
        levels = list(features.values())
        outputs = network.head(levels)
        anchors = network.anchor_generator(batch, levels)
        matches = [
            _match(network, target["boxes"], image_anchors)
            for target, image_anchors in zip(targets, anchors, strict=True)
        ]
        losses = network.compute_loss(targets, outputs, anchors, matches)
        return network.postprocess_detections(outputs, anchors, batch.image_sizes), losses

    def _to_torchvision(self, targets: Sequence[Target]) -> list[dict[str, Tensor]]:
        return [
            {"boxes": target["boxes_xyxy"], "labels": target["labels"] + _BACKGROUND_OFFSET} for target in targets
        ]

    def _from_torchvision(self, outputs: Sequence[dict[str, Tensor]]) -> list[Detection]:
        return [
            {
                "boxes_xyxy": output["boxes"],
                "labels": output["labels"] - _BACKGROUND_OFFSET,
                "scores": output["scores"],
            }
            for output in outputs
        ]


def _output_heads(network: FasterRCNN | SSD) -> list[nn.Module]:
    """The layers whose outputs become boxes and scores."""
    return [network.rpn.head, network.roi_heads.box_predictor] if isinstance(network, FasterRCNN) else [network.head]


def _to_float32(_layer: nn.Module, _inputs: Any, outputs: Any) -> Any:
    """Forward hook: the outputs in float32, whatever holds them; float32 outputs pass untouched."""
    if isinstance(outputs, Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {name: _to_float32(_layer, None, value) for name, value in outputs.items()}
    return type(outputs)(_to_float32(_layer, None, value) for value in outputs)


def _match(network: SSD, boxes: Tensor, anchors: Tensor) -> Tensor:
    """Index of the box each anchor answers for, below 0 for background; as SSD.forward does."""
    if boxes.numel() == 0:
        return torch.full((anchors.size(0),), -1, dtype=torch.int64, device=anchors.device)
    return cast(Tensor, network.proposal_matcher(box_iou(boxes, anchors)))


@contextlib.contextmanager
def _loss_mode(head: nn.Module) -> Iterator[None]:
    """Make a Faster R-CNN head compute losses while its normalisation and dropout stay in eval mode."""
    head.training = True
    try:
        yield
    finally:
        head.training = False


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

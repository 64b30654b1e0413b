"""One forward pass that an exporter can follow: from a photo of any size to boxes in that photo's pixels.

The photo goes in as it is decoded, and everything that depends on its size is arithmetic on tensors, so that what
is traced with one photo holds for every other, and for results that are empty. torchvision's own forward can be
traced too, but computes sizes in float32 then (a pixel off now and then), wants float images in a list, and counts
the background. Networks, heads, box coders and constants are the trained detector's own; only what stands
between them is written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.fcos import FCOS
from torchvision.models.detection.ssd import SSD
from torchvision.ops import nms, roi_align

from engine.models.detector import Detector

# torchvision's own, which it keeps in the code: the least side in pixels of proposals and of final boxes.
_LEAST_PROPOSAL_SIDE = 1e-3
_LEAST_BOX_SIDE = 1e-2


class Forward(nn.Module):
    """Photo in, detections out; what the families share.

    Args:
        detector: In eval mode, on the CPU.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        network: Any = detector.network
        self.transform = network.transform
        self.backbone = network.backbone

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Objects in one photo, best first.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            boxes_xyxy (N, 4) float32 in the photo's pixels, labels (N,) int64, zero-based, scores (N,) float32.
        """
        size = shape_of(image)[:2]
        pixels = image.permute(2, 0, 1)[None].float() / 255
        resized_size = self._resized_size(size)
        resized = functional.interpolate(
            pixels, size=[resized_size[0], resized_size[1]], mode="bilinear", align_corners=False
        )
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in
                     (self.transform.image_mean, self.transform.image_std))
        batch = self._padded((resized - mean) / std, resized_size)
        boxes, labels, scores = self.detections(batch, resized_size)
        ratio = (size.float() / resized_size.float()).flip(0).repeat(2)
        return boxes * ratio, labels, scores

    def detections(self, batch: Tensor, size: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Objects in the resized photo.

        Args:
            batch: (1, 3, H, W), normalised and padded.
            size: Height and width before padding, int64.
        """
        raise NotImplementedError

    def _resized_size(self, size: Any) -> Any:
        fixed = self.transform.fixed_size
        if fixed is not None:
            return torch.tensor([fixed[1], fixed[0]])
        # As torchvision's Python computes it; float32 would now and then be a pixel off.
        exact = size.double()
        scale = torch.minimum(self.transform.min_size[-1] / exact.min(), self.transform.max_size / exact.max())
        return torch.floor(exact * scale).long()

    def _padded(self, image: Tensor, size: Any) -> Tensor:
        multiple = self.transform.size_divisible
        if multiple == 1:
            return image
        missing: Any = torch.div(size + multiple - 1, multiple, rounding_mode="floor") * multiple - size
        return functional.pad(image, (0, missing[1], 0, missing[0]))


class FasterRCNNForward(Forward):
    """Faster R-CNN: proposals, then what each of them is."""

    def __init__(self, detector: Detector) -> None:
        super().__init__(detector)
        network: Any = detector.network
        self.rpn_head = network.rpn.head
        self.box_head = network.roi_heads.box_head
        self.box_predictor = network.roi_heads.box_predictor
        self._rpn, self._heads = [network.rpn], [network.roi_heads]  # lists, so that nothing is registered twice

    def detections(self, batch: Tensor, size: Any) -> tuple[Tensor, Tensor, Tensor]:
        """See `Forward.detections`."""
        [heads] = self._heads
        features = self.backbone(batch)
        proposals = self._proposals(batch, list(features.values()), size)
        pooled, proposals = self._pooled(features, proposals)
        logits, deltas = self.box_predictor(self.box_head(pooled))
        num_classes = logits.shape[-1] - 1
        scores = functional.softmax(logits, -1)[:, 1:].reshape(-1)
        boxes = heads.box_coder.decode_single(deltas, proposals).reshape(-1, num_classes + 1, 4)[:, 1:].reshape(-1, 4)
        boxes = clipped(boxes, size)
        kept = torch.nonzero((scores > heads.score_thresh) & at_least(boxes, _LEAST_BOX_SIDE)).flatten()
        return suppressed(boxes[kept], kept % num_classes, scores[kept], size, heads.nms_thresh,
                          heads.detections_per_img)

    def _proposals(self, batch: Tensor, maps: Sequence[Tensor], size: Tensor) -> Tensor:
        [rpn] = self._rpn
        all_boxes, all_scores, all_levels = [], [], []
        objectness, deltas = self.rpn_head(maps)
        for level, (logits, codes, anchors) in enumerate(
            zip(objectness, deltas, anchors_of(rpn.anchor_generator, maps, batch), strict=True)
        ):
            # (1, A, H, W) and (1, A * 4, H, W); anchors count through A first.
            flat = logits[0].permute(1, 2, 0).reshape(-1)
            num_anchors = logits.shape[1]
            codes_flat = codes[0].reshape(num_anchors, 4, codes.shape[-2], codes.shape[-1]).permute(2, 3, 0, 1)
            best, places = top(flat, rpn.pre_nms_top_n())
            boxes = rpn.box_coder.decode_single(codes_flat.reshape(-1, 4)[places], anchors[places])
            all_boxes.append(clipped(boxes, size))
            all_scores.append(best.sigmoid())
            all_levels.append(torch.full_like(places, level))
        boxes, scores, levels = torch.cat(all_boxes), torch.cat(all_scores), torch.cat(all_levels)
        fine = at_least(boxes, _LEAST_PROPOSAL_SIDE) & (scores >= rpn.score_thresh)
        kept = torch.nonzero(fine).flatten()
        return suppressed(boxes[kept], levels[kept], scores[kept], size, rpn.nms_thresh, rpn.post_nms_top_n())[0]

    def _pooled(self, features: dict[str, Tensor], proposals: Tensor) -> tuple[Tensor, Tensor]:
        """Features of each proposal, and the proposals in the same order: by pyramid level."""
        pool = self._heads[0].box_roi_pool
        maps = [features[name] for name in features if name in pool.featmap_names]
        on_level = pool.map_levels([proposals]) if len(maps) > 1 else torch.zeros_like(proposals[:, 0])
        pooled, boxes = [], []
        for level, (one, scale) in enumerate(zip(maps, pool.scales, strict=True)):
            here = proposals[torch.nonzero(on_level == level).flatten()]
            rois = torch.cat([torch.zeros_like(here[:, :1]), here], dim=1)
            pooled.append(roi_align(one, rois, pool.output_size, scale, pool.sampling_ratio))
            boxes.append(here)
        return torch.cat(pooled), torch.cat(boxes)


class DenseForward(Forward):
    """RetinaNet and FCOS: the best candidates of each level, then suppression."""

    def __init__(self, detector: Detector) -> None:
        super().__init__(detector)
        network: Any = detector.network
        self.head = network.head
        self._network = [network]

    def detections(self, batch: Tensor, size: Any) -> tuple[Tensor, Tensor, Tensor]:
        """See `Forward.detections`."""
        [network] = self._network
        maps = list(self.backbone(batch).values())
        outputs = self.head(maps)
        num_classes = outputs["cls_logits"].shape[-1]
        all_boxes, all_labels, all_scores = [], [], []
        start: Any = 0
        for anchors in anchors_of(network.anchor_generator, maps, batch):
            end = start + shape_of(anchors)[0]
            on_level = {name: output[0, start:end] for name, output in outputs.items()}
            start = end
            best, places = top(self._scores(on_level).reshape(-1), network.topk_candidates)
            kept = torch.nonzero(best > network.score_thresh).flatten()
            places, best = places[kept], best[kept]
            rows = torch.div(places, num_classes, rounding_mode="floor")
            codes, rooted = on_level["bbox_regression"][rows], anchors[rows]
            coder = network.box_coder
            boxes = coder.decode(codes, rooted) if isinstance(network, FCOS) else coder.decode_single(codes, rooted)
            all_boxes.append(clipped(boxes, size))
            all_labels.append(places % num_classes)
            all_scores.append(best)
        return suppressed(torch.cat(all_boxes), torch.cat(all_labels), torch.cat(all_scores), size,
                          network.nms_thresh, network.detections_per_img)

    def _scores(self, outputs: dict[str, Tensor]) -> Tensor:
        scores = outputs["cls_logits"].sigmoid()
        return (scores * outputs["bbox_ctrness"].sigmoid()).sqrt() if "bbox_ctrness" in outputs else scores


class SSDForward(Forward):
    """SSD and SSDlite: one input size, so that anchors are constants; the best candidates of each class."""

    def __init__(self, detector: Detector) -> None:
        super().__init__(detector)
        network: Any = detector.network
        self.head = network.head
        self._network = [network]

    def detections(self, batch: Tensor, size: Any) -> tuple[Tensor, Tensor, Tensor]:
        """See `Forward.detections`."""
        [network] = self._network
        maps = list(self.backbone(batch).values())
        outputs = self.head(maps)
        anchors = default_boxes_of(network.anchor_generator, maps, self.transform.fixed_size)
        boxes = clipped(network.box_coder.decode_single(outputs["bbox_regression"][0], anchors), size)
        scores = functional.softmax(outputs["cls_logits"][0], -1)[:, 1:]
        num_classes = scores.shape[1]
        best, places = scores.t().topk(min(network.topk_candidates, len(anchors)), dim=1)
        labels = torch.arange(num_classes)[:, None].expand_as(places).reshape(-1)
        best, places = best.reshape(-1), places.reshape(-1)
        kept = torch.nonzero(best > network.score_thresh).flatten()
        return suppressed(boxes[places[kept]], labels[kept], best[kept], size, network.nms_thresh,
                          network.detections_per_img)


def forward_of(detector: Detector) -> Forward:
    """The exportable forward pass of a detector, which shares its weights."""
    if isinstance(detector.network, FasterRCNN):
        return FasterRCNNForward(detector).eval()
    return (SSDForward if isinstance(detector.network, SSD) else DenseForward)(detector).eval()


# --- sizes ---


def shape_of(tensor: Tensor) -> Any:
    """A shape as an int64 tensor, which a trace keeps open; said to be anything, for it stands where ints do."""
    return torch._shape_as_tensor(tensor)  # noqa: SLF001 - there is no public way


# --- anchors ---


def anchors_of(generator: Any, maps: Sequence[Tensor], batch: Tensor) -> list[Tensor]:
    """Anchors of each level as torchvision's AnchorGenerator lays them, (H * W * A, 4) in pixels."""
    generator.set_cell_anchors(torch.float32, torch.device("cpu"))
    padded = shape_of(batch)[2:]
    levels = []
    for one, cell in zip(maps, generator.cell_anchors, strict=True):
        grid = shape_of(one)[2:]
        # Where a level doesn't divide the photo evenly, its stride isn't a power of 2.
        stride = torch.div(padded, grid, rounding_mode="floor")
        y = (torch.arange(grid[0]) * stride[0]).float()
        x = (torch.arange(grid[1]) * stride[1]).float()
        shift_y, shift_x = torch.meshgrid(y, x, indexing="ij")
        shifts = torch.stack([shift_x, shift_y, shift_x, shift_y], dim=-1).reshape(-1, 1, 4)
        levels.append((shifts + cell.detach().clone()[None]).reshape(-1, 4))
    return levels


def default_boxes_of(generator: Any, maps: Sequence[Tensor], fixed_size: tuple[int, int]) -> Tensor:
    """SSD's anchors, (N, 4) in pixels of its one input size; constants."""
    width, height = fixed_size
    grids = [[int(one.shape[-2]), int(one.shape[-1])] for one in maps]
    boxes = generator._grid_default_boxes(grids, [height, width])  # noqa: SLF001 - the public way needs a batch
    scale = torch.tensor([width, height])
    return torch.cat([(boxes[:, :2] - boxes[:, 2:] / 2) * scale, (boxes[:, :2] + boxes[:, 2:] / 2) * scale], dim=1)


# --- boxes ---


def clipped(boxes: Tensor, size: Tensor) -> Tensor:
    """Boxes cut off at the edges of a photo of (height, width)."""
    return torch.minimum(boxes.clamp(min=0), size.flip(0).repeat(2).to(boxes.dtype))


def at_least(boxes: Tensor, side: float) -> Tensor:
    """Whether both sides of each box have so many pixels."""
    return (boxes[:, 2:] - boxes[:, :2] >= side).all(dim=1)


def top(scores: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The best scores and their places, as many as there are at most."""
    available = shape_of(scores)[0]
    at_most: Any = torch.minimum(available, torch.tensor(number))
    best, places = scores.topk(at_most)
    return best, places


def suppressed(
    boxes: Tensor, groups: Tensor, scores: Tensor, size: Tensor, threshold: float, number: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Non-maximum suppression within each group, best first.

    Groups are moved apart by more than the photo is large, so that boxes of two of them never overlap.
    """
    apart = groups.to(boxes.dtype) * (size.max().to(boxes.dtype) + 1)
    kept = nms(boxes + apart[:, None], scores, threshold)[:number]
    return boxes[kept], groups[kept], scores[kept]

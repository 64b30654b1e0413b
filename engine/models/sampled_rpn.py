"""The proposal network with no more work than its result needs.

The loss looks at no more than a few hundred anchors of an image, yet torchvision keeps the graph of the
whole dense head and walks all of it backwards. Here the dense head runs without a graph, for the
proposals; what the loss needs is computed again from the 3x3 patches under the sampled anchors. Likewise only
the best anchors are made into boxes, and only sampled ones compared with those they should become. Proposals,
draws and losses are torchvision's, gradients up to the order of summation. A head of two convolutions
keeps its graph, and elsewhere than on the CPU all is torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchvision
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

_SIDE = 3


class SampledRPN(RegionProposalNetwork):  # type: ignore[misc]  # torchvision has no types
    """torchvision's proposal network, quicker to train.

    The same arguments, results, parameter names and random draws; torchvision's to the bit until `is_sampled` is set.
    """

    is_sampled: bool = False

    @classmethod
    def like(cls, other: RegionProposalNetwork) -> SampledRPN:
        """One with another's parts and settings."""
        made = cls(
            other.anchor_generator, other.head,
            fg_iou_thresh=other.proposal_matcher.high_threshold, bg_iou_thresh=other.proposal_matcher.low_threshold,
            batch_size_per_image=other.fg_bg_sampler.batch_size_per_image,
            positive_fraction=other.fg_bg_sampler.positive_fraction,
            pre_nms_top_n=other._pre_nms_top_n, post_nms_top_n=other._post_nms_top_n,  # noqa: SLF001 - kept nowhere else
            nms_thresh=other.nms_thresh, score_thresh=other.score_thresh,
        )
        made.train(other.training)
        return made

    def forward(
        self, images: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals and, in training, losses; see torchvision."""
        maps = list(features.values())
        if not self._applies(maps):
            found: tuple[list[Tensor], dict[str, Tensor]] = super().forward(images, features, targets)
            return found
        with torch.no_grad():
            logits, deltas = self.head(maps)
            anchors = self.anchor_generator(images, maps)
            num_of_levels = [one[0].numel() for one in logits]
            logits, deltas = concat_box_prediction_layers(logits, deltas)
            proposals = self._proposals(logits, deltas, anchors, images.image_sizes, num_of_levels)
        return proposals, self._losses(maps, logits, deltas, anchors, targets or []) if self.training else {}

    def _applies(self, maps: Sequence[Tensor]) -> bool:
        return (
            self.is_sampled and not torchvision._is_tracing()  # noqa: SLF001 - its own operators ask the same way
            and not torch.compiler.is_compiling() and all(one.device.type == "cpu" for one in maps)
            and (self._is_plain_head() or not (self.training and torch.is_grad_enabled()))
        )

    def _is_plain_head(self) -> bool:
        return len(self.head.conv) == 1 and self.head.conv[0][0].kernel_size == (_SIDE, _SIDE)

    def _proposals(
        self, logits: Tensor, deltas: Tensor, anchors: list[Tensor], sizes: list[tuple[int, int]],
        num_of_levels: list[int],
    ) -> list[Tensor]:
        """What `filter_proposals` gives, with deltas applied to the best anchors of each level only, not to all.

        Args:
            logits: (anchors of all images, 1).
            deltas: (anchors of all images, 4).
            anchors: Of each image.
            sizes: Height and width of each image.
            num_of_levels: Anchors of an image on each level.
        """
        logits, deltas = logits.view(len(anchors), -1), deltas.view(len(anchors), -1, 4)
        best = self._get_top_n_idx(logits, num_of_levels)
        level_of = torch.repeat_interleave(torch.tensor(num_of_levels, device=logits.device))
        found = []
        for image, chosen in enumerate(best):
            boxes = self.box_coder.decode_single(deltas[image, chosen], anchors[image][chosen])
            boxes, scores = clip_boxes_to_image(boxes, sizes[image]), logits[image, chosen].sigmoid()
            kept = remove_small_boxes(boxes, self.min_size)
            kept = kept[scores[kept] >= self.score_thresh]
            boxes, scores, levels = boxes[kept], scores[kept], level_of[chosen[kept]]
            found.append(boxes[batched_nms(boxes, scores, levels, self.nms_thresh)[: self.post_nms_top_n()]])
        return found

    def _losses(
        self, maps: Sequence[Tensor], logits: Tensor, deltas: Tensor, anchors: list[Tensor],
        targets: Sequence[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """The losses of sampled anchors; see torchvision's `compute_loss`, whose sums and random draws these are."""
        matches = [
            matched_boxes(target["boxes"], of_image, self.proposal_matcher)
            for target, of_image in zip(targets, anchors, strict=True)
        ]
        labels = [_labels_of(of_image) for of_image in matches]
        positive, negative = (torch.where(torch.cat(drawn))[0] for drawn in self.fg_bg_sampler(labels))
        sampled, num_anchors = torch.cat([positive, negative]), len(anchors[0])
        wanted = self._wanted_deltas(positive, anchors, targets, matches)
        if torch.is_grad_enabled():
            scores, found = self._outputs_at(maps, sampled, num_anchors)
        else:
            scores, found = logits.flatten()[sampled], deltas[sampled]
        box_loss = functional.smooth_l1_loss(found[: len(positive)], wanted, beta=1 / 9, reduction="sum")
        return {
            "loss_objectness": functional.binary_cross_entropy_with_logits(scores, torch.cat(labels)[sampled]),
            "loss_rpn_box_reg": box_loss / sampled.numel(),
        }

    def _wanted_deltas(
        self, positive: Tensor, anchors: list[Tensor], targets: Sequence[dict[str, Tensor]], matches: Sequence[Tensor]
    ) -> Tensor:
        """(positives, 4) from the anchors at some places among all images' to the boxes that they answer for."""
        image, place = positive // len(anchors[0]), positive % len(anchors[0])
        boxes, starts = [], []
        for index, (of_image, target, matched) in enumerate(zip(anchors, targets, matches, strict=True)):
            here = place[image == index]
            boxes.append(target["boxes"][matched[here]])
            starts.append(of_image[here])
        wanted: Tensor = self.box_coder.encode_single(torch.cat(boxes), torch.cat(starts))
        return wanted

    def _outputs_at(self, maps: Sequence[Tensor], anchors: Tensor, num_anchors: int) -> tuple[Tensor, Tensor]:
        """The head's outputs for some anchors, with their graph.

        Args:
            maps: Of each level (N, C, H, W).
            anchors: (S,) places among all images' anchors.
            num_anchors: Anchors of one image.

        Returns:
            (S,) logits and (S, 4) deltas, float32.
        """
        num_here = self.head.cls_logits.out_channels
        image, within = anchors // num_anchors, anchors % num_anchors
        kind = within % num_here
        place = torch.div(within, num_here, rounding_mode="floor")
        patches = patches_at(maps, image, place)
        conv, logits, deltas = self.head.conv[0][0], self.head.cls_logits, self.head.bbox_pred
        # Views of all parameters: autocast keeps its copies of the parameters themselves, made without a graph before.
        weight = conv.weight.permute(0, 2, 3, 1).flatten(1)
        hidden = functional.linear(patches.flatten(1), weight, conv.bias.view(-1)).relu()
        each = torch.arange(len(anchors), device=anchors.device)
        scores = functional.linear(hidden, logits.weight.flatten(1), logits.bias.view(-1))[each, kind]
        boxes = functional.linear(hidden, deltas.weight.flatten(1), deltas.bias.view(-1)).view(-1, num_here, 4)
        return scores.float(), boxes[each, kind].float()


def matched_boxes(boxes: Tensor, anchors: Tensor, matcher: Matcher) -> Tensor:
    """What torchvision's matcher says of the overlaps of boxes and anchors, box by box.

    The matrix of all overlaps and what leads to it would be walked through in main memory a dozen times; one
    row of it fits into the cache.

    Args:
        boxes: (B, 4) xyxy; B may be 0.
        anchors: (A, 4) xyxy.
        matcher: Its thresholds count, and whether each box takes its best anchors whatever their overlap.

    Returns:
        (A,) int64: the box each anchor answers for, -1 for none, -2 for neither.

    Source:
        torchvision's `box_iou` and `Matcher`.
    """
    best = anchors.new_full((len(anchors),), -1.0)
    nearest = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
    wins = torch.zeros(len(anchors), dtype=torch.bool, device=anchors.device)
    left, top, right, bottom = anchors.t().contiguous()
    areas = (right - left) * (bottom - top)
    for index, (x0, y0, x1, y1) in enumerate(boxes.unbind(0)):
        width = (torch.minimum(right, x1) - torch.maximum(left, x0)).clamp_(min=0)
        height = (torch.minimum(bottom, y1) - torch.maximum(top, y0)).clamp_(min=0)
        shared = width.mul_(height)
        overlap = shared / ((x1 - x0) * (y1 - y0) + areas).sub_(shared)
        nearest.masked_fill_(overlap > best, index)
        torch.maximum(best, overlap, out=best)
        if matcher.allow_low_quality_matches:
            wins |= overlap == overlap.max()
    matches = torch.where(best < matcher.high_threshold, matcher.BETWEEN_THRESHOLDS, nearest)
    matches = torch.where(best < matcher.low_threshold, matcher.BELOW_LOW_THRESHOLD, matches)
    return torch.where(wins, nearest, matches)


def _labels_of(matches: Tensor) -> Tensor:
    """1 where an anchor answers for a box, 0 where for none, -1 where it doesn't count."""
    return torch.where(matches == Matcher.BETWEEN_THRESHOLDS, -1.0, (matches >= 0).float())


def patches_at(maps: Sequence[Tensor], image: Tensor, place: Tensor) -> Tensor:
    """The 3x3 patches around places of feature maps, zero beyond their edges.

    Args:
        maps: Of each level (N, C, H, W).
        image: (S,) which image.
        place: (S,) which place of the image's maps, counted over levels, then row by row.

    Returns:
        (S, 9, C).
    """
    offsets = torch.arange(-1, 2, device=place.device)
    found, order = [], []
    first = 0
    for level in maps:
        height, width = int(level.shape[-2]), int(level.shape[-1])
        here = torch.where((place >= first) & (place < first + height * width))[0]
        row, column = (place[here] - first) // width, (place[here] - first) % width
        rows = (row[:, None] + offsets)[:, :, None].expand(-1, _SIDE, _SIDE)
        columns = (column[:, None] + offsets)[:, None, :].expand(-1, _SIDE, _SIDE)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        by_place = level.permute(0, 2, 3, 1)
        taken = by_place[image[here][:, None, None], rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
        found.append((taken * inside[..., None]).flatten(1, 2))
        order.append(here)
        first += height * width
    return torch.cat(found)[torch.argsort(torch.cat(order))]

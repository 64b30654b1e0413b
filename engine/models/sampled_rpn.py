"""The proposal network's loss, with a graph for the sampled anchors only.

The loss looks at no more than a few hundred anchors of an image, yet torchvision keeps the graph of the
whole dense head and walks all of it backwards. Here the dense head runs without a graph, for the
proposals; what the loss needs is computed again from the 3x3 patches under the sampled anchors. Losses
and gradients are torchvision's up to the order of summation. Where the head is another one (two
convolutions), nothing is to be learnt, or it runs elsewhere than on the CPU, torchvision's own way is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork

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
        if not self._applies(features):
            found: tuple[list[Tensor], dict[str, Tensor]] = super().forward(images, features, targets)
            return found
        self._maps = list(features.values())
        try:
            with torch.no_grad():
                found = super().forward(images, features, targets)
        finally:
            del self._maps
        return found

    def _applies(self, features: dict[str, Tensor]) -> bool:
        return (
            self.is_sampled and self.training and torch.is_grad_enabled() and len(self.head.conv) == 1
            and self.head.conv[0][0].kernel_size == (_SIDE, _SIDE) and not torch.compiler.is_compiling()
            and all(one.device.type == "cpu" for one in features.values())
        )

    def compute_loss(
        self, objectness: Tensor, pred_bbox_deltas: Tensor, labels: list[Tensor], regression_targets: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Loss of the sampled anchors; see torchvision, whose sums these are.

        Args:
            objectness: (anchors of all images, 1).
            pred_bbox_deltas: (anchors of all images, 4).
            labels: For each image (anchors,), 1 for an object, 0 for none, -1 for not counted.
            regression_targets: For each image (anchors, 4).
        """
        if not hasattr(self, "_maps"):
            losses: tuple[Tensor, Tensor] = super().compute_loss(
                objectness, pred_bbox_deltas, labels, regression_targets
            )
            return losses
        positive, negative = (torch.where(torch.cat(drawn))[0] for drawn in self.fg_bg_sampler(labels))
        sampled = torch.cat([positive, negative])
        with torch.enable_grad():
            scores, deltas = self._outputs_at(sampled, objectness.shape[0] // len(labels))
            box_loss = functional.smooth_l1_loss(
                deltas[: len(positive)], torch.cat(regression_targets)[positive], beta=1 / 9, reduction="sum"
            ) / sampled.numel()
            return functional.binary_cross_entropy_with_logits(scores, torch.cat(labels)[sampled]), box_loss

    def _outputs_at(self, anchors: Tensor, num_anchors: int) -> tuple[Tensor, Tensor]:
        """The head's outputs for some anchors, with their graph.

        Args:
            anchors: (S,) places among all images' anchors.
            num_anchors: Anchors of one image.

        Returns:
            (S,) logits and (S, 4) deltas, float32.
        """
        num_here = self.head.cls_logits.out_channels
        image, within = anchors // num_anchors, anchors % num_anchors
        kind = within % num_here
        place = torch.div(within, num_here, rounding_mode="floor")
        patches = patches_at(self._maps, image, place)
        conv, logits, deltas = self.head.conv[0][0], self.head.cls_logits, self.head.bbox_pred
        # Views of all parameters: autocast keeps its copies of the parameters themselves, made without a graph before.
        weight = conv.weight.permute(0, 2, 3, 1).flatten(1)
        hidden = functional.linear(patches.flatten(1), weight, conv.bias.view(-1)).relu()
        each = torch.arange(len(anchors), device=anchors.device)
        scores = functional.linear(hidden, logits.weight.flatten(1), logits.bias.view(-1))[each, kind]
        boxes = functional.linear(hidden, deltas.weight.flatten(1), deltas.bias.view(-1)).view(-1, num_here, 4)
        return scores.float(), boxes[each, kind].float()


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

"""Box pooling on the CPU as one sparse product over the rows of all pyramid levels.

RoIAlign is linear in the feature maps: a bin of a box is a weighted sum of at most sixteen of their
rows (four samples, four neighbours each). torchvision's CPU kernel walks them channel by channel, and
backwards in a single thread; `embedding_bag` over channels-last rows does the same sums in parallel,
and the gradient is the same product with the transposed matrix. Values equal torchvision's up to the
order of summation. Whatever isn't a plain CPU computation (another device, tracing, sampling by box
size) is torchvision's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.nn.functional import embedding_bag
from torchvision.ops import MultiScaleRoIAlign


class SparseRoIAlign(MultiScaleRoIAlign):  # type: ignore[misc]  # torchvision has no types
    """torchvision's `MultiScaleRoIAlign`, computed as a sparse product where that is quicker.

    The same arguments, results and state (none); torchvision's to the bit until `is_sparse` is set.
    """

    is_sparse: bool = False

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Pool boxes.

        Args:
            x: Feature maps by level, each (N, C, H, W).
            boxes: For each image (K, 4) xyxy in pixels of the resized image; K may be 0.
            image_shapes: Height and width of each resized image.

        Returns:
            (sum of K, C, height, width) in the maps' number format.
        """
        maps = [feature for name, feature in x.items() if name in self.featmap_names]
        if not self._applies(maps, boxes):
            pooled: Tensor = super().forward(x, boxes, image_shapes)
            return pooled
        levels = self.map_levels(boxes) if len(maps) > 1 else torch.zeros(sum(map(len, boxes)), dtype=torch.int64)
        indices, weights = bins_as_rows(
            [(int(one.shape[-2]), int(one.shape[-1])) for one in maps], len(boxes), boxes, levels, self.scales,
            self.output_size, self.sampling_ratio,
        )
        rows = torch.cat([one.permute(0, 2, 3, 1).reshape(-1, one.shape[1]) for one in maps]).float()
        height, width = self.output_size
        sums: Tensor = _SparseProduct.apply(rows, indices, weights)
        return sums.view(len(levels), height, width, -1).permute(0, 3, 1, 2).to(maps[0].dtype)

    def _applies(self, maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> bool:
        return (
            self.is_sparse
            and self.scales is not None
            and self.sampling_ratio > 0
            and any(len(image_boxes) for image_boxes in boxes)
            and all(one.device.type == "cpu" and one.dtype in (torch.float32, torch.bfloat16) for one in maps)
            and not torchvision._is_tracing()  # noqa: SLF001 - its own operators ask the same way
            and not torch.compiler.is_compiling()
        )


@torch.no_grad()
def bins_as_rows(
    sizes: Sequence[tuple[int, int]], num_images: int, boxes: Sequence[Tensor], levels: Tensor,
    scales: Sequence[float], output_size: Sequence[int], sampling_ratio: int,
) -> tuple[Tensor, Tensor]:
    """Which rows of the feature maps each bin of each box is made of.

    Rows are counted over levels, then images, then places of a map, row by row.

    Args:
        sizes: Height and width of the maps of each level.
        num_images: Images in a map.
        boxes: For each image (K, 4) xyxy in pixels.
        levels: (B,) the level of each box, B boxes in all.
        scales: Map pixels for one image pixel, of each level.
        output_size: Bins down and across.
        sampling_ratio: Samples down and across in a bin; above 0.

    Returns:
        (B * bins, samples * 4) int64 rows and float32 weights; weights of samples outside of the map are 0.

    Source:
        torchvision's `roi_align_kernel.cpp`, `aligned=False`.
    """
    device = levels.device
    scale = torch.tensor(scales, dtype=torch.float32, device=device)[levels]
    heights = torch.tensor([height for height, _ in sizes], device=device)[levels]
    widths = torch.tensor([width for _, width in sizes], device=device)[levels]
    places = torch.tensor([height * width for height, width in sizes], device=device)
    starts = (places * num_images).cumsum(0) - places * num_images
    image = torch.repeat_interleave(torch.tensor([len(one) for one in boxes], device=device))
    first_row = starts[levels] + image * places[levels]
    scaled = torch.cat(list(boxes)).float() * scale[:, None]
    down, down_weights = _samples(scaled[:, 1], scaled[:, 3], heights, output_size[0], sampling_ratio)
    across, across_weights = _samples(scaled[:, 0], scaled[:, 2], widths, output_size[1], sampling_ratio)
    # (boxes, bins down, bins across, samples down, samples across)
    rows = (first_row[:, None, None] + down * widths[:, None, None])[:, :, None, :, None] + across[:, None, :, None, :]
    weights = down_weights[:, :, None, :, None] * across_weights[:, None, :, None, :] / sampling_ratio**2
    return rows.flatten(0, 2).flatten(1), weights.flatten(0, 2).flatten(1)


def _samples(
    start: Tensor, end: Tensor, size: Tensor, num_bins: int, sampling_ratio: int
) -> tuple[Tensor, Tensor]:
    """Along one side: the two neighbours of each sample, and what they count.

    Returns:
        (boxes, bins, samples * 2) places and weights.
    """
    bin_size = (end - start).clamp(min=1.0) / num_bins
    bins = torch.arange(num_bins, dtype=torch.float32, device=start.device)
    inside = torch.arange(sampling_ratio, dtype=torch.float32, device=start.device) + 0.5
    at = (
        start[:, None, None] + bins[:, None] * bin_size[:, None, None]
        + inside * bin_size[:, None, None] / sampling_ratio
    )
    last = (size - 1)[:, None, None]
    counts = ((at >= -1.0) & (at <= size[:, None, None])).float()
    at = at.clamp(min=0.0)
    low = torch.minimum(at.long(), last)
    high = torch.minimum(low + 1, last)
    share = torch.where(low >= last, torch.zeros_like(at), at - low)
    return torch.cat([low, high], dim=2), torch.cat([(1 - share) * counts, share * counts], dim=2)


class _SparseProduct(torch.autograd.Function):
    """Weighted sums of rows; the gradient goes to the rows only, as boxes never get one here."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        """Sum rows.

        Args:
            ctx: What backward needs.
            rows: (R, C) float32.
            indices: (S, E) rows of each sum.
            weights: (S, E) float32.

        Returns:
            (S, C).
        """
        ctx.save_for_backward(indices, weights)
        ctx.num_rows = len(rows)
        return embedding_bag(indices, rows, mode="sum", per_sample_weights=weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The product with the transposed matrix: entries sorted by row, as sums of the sums' gradients."""
        indices, weights = ctx.saved_tensors
        counted = weights.flatten().nonzero().flatten()
        order = counted[torch.argsort(indices.flatten()[counted], stable=True)]
        offsets = torch.zeros(ctx.num_rows, dtype=torch.int64)
        offsets[1:] = torch.bincount(indices.flatten()[counted], minlength=ctx.num_rows).cumsum(0)[:-1]
        sums = torch.div(order, indices.shape[1], rounding_mode="floor")
        grad = embedding_bag(
            sums, gradients[0].contiguous(), offsets, mode="sum", per_sample_weights=weights.flatten()[order]
        )
        return grad, None, None

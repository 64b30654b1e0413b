"""Box pooling on the CPU as a sparse product over the rows of each pyramid level.

RoIAlign is linear in the feature maps: a bin of a box is a weighted sum of at most sixteen of their
rows (four samples, four neighbours each). torchvision's CPU kernel walks them channel by channel, and
backwards in a single thread; `embedding_bag` over channels-last rows does the same sums in parallel,
and the gradient is the same product with the transposed matrix. Values equal torchvision's up to the
order of summation; sums are float32's for bfloat16 maps too. Whatever isn't a plain CPU computation
(another device, tracing, sampling by box size) is torchvision's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.nn.functional import embedding_bag
from torchvision.ops import MultiScaleRoIAlign

# So many boxes' sums are held twice at a time, not all of them: 6 MB at 49 bins of 256 channels.
_BOXES_AT_ONCE = 128


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
            [(int(one.shape[-2]), int(one.shape[-1])) for one in maps], boxes, levels, self.scales,
            self.output_size, self.sampling_ratio,
        )
        places = [torch.where(levels == level)[0] for level in range(len(maps))]
        # Where channels lie innermost already, these are the maps themselves.
        rows = [one.permute(0, 2, 3, 1).reshape(-1, one.shape[1]) for one in maps]
        sums: Tensor = _SparseProduct.apply(indices, weights, places, *rows)
        return torch.unflatten(sums, 1, tuple(self.output_size)).permute(0, 3, 1, 2)

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
    sizes: Sequence[tuple[int, int]], boxes: Sequence[Tensor], levels: Tensor, scales: Sequence[float],
    output_size: Sequence[int], sampling_ratio: int,
) -> tuple[Tensor, Tensor]:
    """Which rows of its level's feature map each bin of each box is made of.

    Rows are counted over images, then places of a map, row by row.

    Args:
        sizes: Height and width of the maps of each level.
        boxes: For each image (K, 4) xyxy in pixels.
        levels: (B,) the level of each box, B boxes in all.
        scales: Map pixels for one image pixel, of each level.
        output_size: Bins down and across.
        sampling_ratio: Samples down and across in a bin; above 0.

    Returns:
        (B, bins, samples * 4) int64 rows and float32 weights; weights of samples outside of the map are 0.

    Source:
        torchvision's `roi_align_kernel.cpp`, `aligned=False`.
    """
    device = levels.device
    scale = torch.tensor(scales, dtype=torch.float32, device=device)[levels]
    heights = torch.tensor([height for height, _ in sizes], device=device)[levels]
    widths = torch.tensor([width for _, width in sizes], device=device)[levels]
    first_row = torch.repeat_interleave(torch.tensor([len(one) for one in boxes], device=device)) * heights * widths
    scaled = torch.cat(list(boxes)).float() * scale[:, None]
    down, down_weights = _samples(scaled[:, 1], scaled[:, 3], heights, output_size[0], sampling_ratio)
    across, across_weights = _samples(scaled[:, 0], scaled[:, 2], widths, output_size[1], sampling_ratio)
    # (boxes, bins down, bins across, samples down, samples across)
    rows = (first_row[:, None, None] + down * widths[:, None, None])[:, :, None, :, None] + across[:, None, :, None, :]
    weights = down_weights[:, :, None, :, None] * across_weights[:, None, :, None, :] / sampling_ratio**2
    return rows.flatten(1, 2).flatten(2), weights.flatten(1, 2).flatten(2)


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
    def forward(ctx: Any, indices: Tensor, weights: Tensor, places: Sequence[Tensor], *rows: Tensor) -> Tensor:
        """Sum rows.

        Args:
            ctx: What backward needs.
            indices: (B, bins, E) rows of each sum, of the box's level.
            weights: (B, bins, E) float32.
            places: Of each level the boxes that are pooled from it.
            rows: Of each level (R, C).

        Returns:
            (B, bins, C) in the rows' number format.
        """
        ctx.save_for_backward(indices, weights, *places)
        ctx.num_rows = [len(level) for level in rows]
        sums = rows[0].new_empty((*indices.shape[:2], rows[0].shape[1]))
        for here, level in zip(places, rows, strict=True):
            exact = level.float()
            for part in torch.split(here, _BOXES_AT_ONCE):
                of_part = embedding_bag(
                    indices[part].flatten(0, 1), exact, mode="sum", per_sample_weights=weights[part].flatten(0, 1)
                )
                sums[part] = of_part.view(len(part), *sums.shape[1:]).to(sums.dtype)
        return sums

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The product with the transposed matrix of each level."""
        indices, weights, *places = ctx.saved_tensors
        (gradient,) = gradients
        flat = gradient.flatten(0, 1).float()  # once for all levels: it is the largest there is
        found = [
            _transposed_product(indices, weights, here, flat, num_rows).to(gradient.dtype)
            for here, num_rows in zip(places, ctx.num_rows, strict=True)
        ]
        return None, None, None, *found


def _transposed_product(indices: Tensor, weights: Tensor, here: Tensor, gradient: Tensor, num_rows: int) -> Tensor:
    """(num_rows, C) gradients of a level's rows, as sums of the bins' (B * bins, C), its entries sorted by row."""
    if not len(here):
        return gradient.new_zeros(num_rows, gradient.shape[-1])
    _, num_bins, num_entries = indices.shape
    rows, shares = indices[here].flatten(), weights[here].flatten()
    counted = shares.nonzero().flatten()
    rows = rows[counted]
    offsets = torch.zeros(num_rows, dtype=torch.int64)
    offsets[1:] = torch.bincount(rows, minlength=num_rows).cumsum(0)[:-1]
    order = counted[torch.argsort(rows, stable=True)]
    del rows, counted
    bins = torch.div(order, num_entries, rounding_mode="floor")
    boxes = torch.div(bins, num_bins, rounding_mode="floor")
    bins += (here - torch.arange(len(here)))[boxes] * num_bins  # from places among the level's to those among all
    return embedding_bag(bins, gradient, offsets, mode="sum", per_sample_weights=shares[order])

"""Anchors: each family's own, or the recipe's."""

from __future__ import annotations

from collections.abc import Sequence

from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator

from engine.recipe.schema import Model

Sizes = Sequence[Sequence[int]]

RATIOS = (0.5, 1.0, 2.0)


def anchor_generator(model: Model, sizes: Sizes) -> AnchorGenerator:
    """The anchors of Faster R-CNN or RetinaNet.

    Args:
        model: The recipe's `[model]`.
        sizes: The family's own sizes in pixels, a list for each level, finest first.
    """
    levels = tuple(tuple(level) for level in model.anchor_sizes or sizes)
    return AnchorGenerator(levels, (tuple(model.anchor_ratios or RATIOS),) * len(levels))


def default_boxes(
    model: Model, side: int, scales: Sequence[float], ratios: Sequence[Sequence[float]], steps: list[int] | None = None
) -> DefaultBoxGenerator:
    """SSD's anchors: on each level a square of the level's size, one towards the next level's, and long ones.

    Args:
        model: The recipe's `[model]`; the schema has seen to one size a level and ratios that come with 1 and
            their inverses.
        side: Of the input in pixels.
        scales: The family's own sizes as shares of `side`, one more than there are levels.
        ratios: The family's own on each level; 1 and the inverses come by themselves.
        steps: Pixels between two anchors on each level; by default the level's cells.
    """
    if model.anchor_sizes:
        scales = [*(size / side for [size] in model.anchor_sizes), scales[-1]]
    if model.anchor_ratios:
        ratios = [[ratio for ratio in model.anchor_ratios if ratio > 1]] * len(ratios)
    return DefaultBoxGenerator([list(level) for level in ratios], scales=list(scales), steps=steps)

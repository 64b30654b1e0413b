"""Rows of classification layers, carried over from one class map to another by the classes' names.

Whoever goes on from a detector that knows "cat" and "dog" to one that knows "dog" and "bird" keeps
what it knows of dogs. Names are compared without regard to case, and "_" and "-" count as spaces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BACKGROUND = "__background__"
# What torchvision's list of COCO's categories holds where COCO has none.
_NO_CLASS = "n/a"
_FASTER_RCNN = re.compile(r"roi_heads\.box_predictor\.(cls_score|bbox_pred)\.(weight|bias)")
_SINGLE_STAGE = re.compile(r"head\.classification_head\.(cls_logits|module_list\.\d+(\.1)?)\.(weight|bias)")


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows of a layer stand: anchors outermost, then outputs, then numbers an output.

    Attributes:
        num_anchors: Anchors that share a layer; 1 in Faster R-CNN.
        num_outputs: Classes, the background included where there is one.
        num_inner: Rows of one class: 4 where each class has a box of its own, else 1.
    """

    num_anchors: int
    num_outputs: int
    num_inner: int


def is_class_layer(name: str) -> bool:
    """Whether a tensor of a detector has rows for classes."""
    return bool(_FASTER_RCNN.fullmatch(name) or _SINGLE_STAGE.fullmatch(name))


def layout_of(name: str, num_rows: int, num_outputs: int) -> Layout | None:
    """The layout of a class layer, or None when its rows can't be of so many outputs."""
    num_inner = 4 if ".bbox_pred." in name else 1
    num_anchors, rest = divmod(num_rows, num_outputs * num_inner)
    if rest or num_anchors == 0 or (_FASTER_RCNN.fullmatch(name) and num_anchors != 1):
        return None
    return Layout(num_anchors, num_outputs, num_inner)


def matching_outputs(own: Sequence[str], theirs: Sequence[str]) -> dict[int, int]:
    """Our outputs to those of other weights that mean the same class; the background is one."""
    places = {_plain(name): place for place, name in reversed(list(enumerate(theirs))) if _plain(name) != _NO_CLASS}
    return {place: places[_plain(name)] for place, name in enumerate(own) if _plain(name) in places}


def _plain(name: str) -> str:
    return name if name == BACKGROUND else " ".join(re.sub(r"[_-]", " ", name).casefold().split())


def carried_over(
    name: str, own: Tensor, theirs: Tensor, num_outputs: tuple[int, int], matching: Mapping[int, int]
) -> Tensor | None:
    """A class layer's tensor with the rows of matching outputs taken from other weights.

    Args:
        name: The tensor's name.
        own: Our tensor, rows first; it stays as it is.
        theirs: The other weights' tensor.
        num_outputs: Ours and theirs.
        matching: Our outputs to theirs.

    Returns:
        A new tensor like `own`; None when the layers are of different shapes, classes aside.
    """
    layouts = layout_of(name, len(own), num_outputs[0]), layout_of(name, len(theirs), num_outputs[1])
    if layouts[0] is None or layouts[1] is None or own.shape[1:] != theirs.shape[1:]:
        return None
    if layouts[0].num_anchors != layouts[1].num_anchors:
        return None
    ours, others = (
        tensor.reshape(layout.num_anchors, layout.num_outputs, layout.num_inner, *tensor.shape[1:])
        for tensor, layout in ((own.clone(), layouts[0]), (theirs.to(own), layouts[1]))
    )
    ours[:, torch.tensor(list(matching), dtype=torch.int64)] = others[
        :, torch.tensor(list(matching.values()), dtype=torch.int64)
    ]
    return ours.reshape(own.shape)

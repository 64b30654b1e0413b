"""`[model]`: the detector and its weights; refuses what a family of detectors has no use for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from engine.catalogue import ARCHS, Arch, Family
from engine.recipe.sections.base import Fault, Section, as_tuple, refuse

# What `model.weights` may say instead of naming a file.
WEIGHTS_WORDS = ("coco", "imagenet", "none")
# The keys that mean something only with certain families.
_FAMILIES_OF_KEY: dict[str, tuple[Family, ...]] = {
    "fpn_channels": ("fasterrcnn", "retinanet", "fcos"),
    "box_head_width": ("fasterrcnn",),
    "box_samples": ("fasterrcnn",),
}
# Detectors whose heads have group normalisation.
_GROUP_NORM_HEADS = ("retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn")
_NUM_GROUPS = 32
# 0.33 and 3 are meant as a pair.
_PAIR_TOLERANCE = 0.02


class Model(Section):
    """The detector and where its weights come from."""

    arch: str = Field(
        default="fasterrcnn_resnet50_fpn",
        json_schema_extra={"enum": list(ARCHS), "words": "a detector that `engine weights list` names"},
    )
    """The detector."""
    weights: str = Field(
        default="coco", json_schema_extra={"words": '"coco", "imagenet", "none", a file or a run\'s folder'}
    )
    """"coco", "imagenet", "none", a weights file (.pth or .safetensors, of a detector or a backbone) or the folder of a
    former run, whose best model it starts from; paths are relative to the recipe."""
    min_size: Annotated[int, Field(ge=32, le=4096)] | None = None
    """Shorter side in pixels that images are resized to; the detector's own when left out."""
    max_size: Annotated[int, Field(ge=32, le=8192)] | None = None
    """Upper bound of the longer side in pixels; the detector's own when left out."""
    trainable_layers: Annotated[int, Field(ge=0, le=6)] | None = None
    """Backbone stages that learn, counted from the output. Left out: with weights torchvision's choice, 3 for most; all
    without."""
    norm: Literal["auto", "frozen", "batch"] = "auto"
    """Backbone normalisation: frozen statistics, or learnt. "auto" freezes where weights exist."""
    fpn_channels: Annotated[int, Field(ge=16, le=1024)] = 256
    """Channels of the feature pyramid, which SSD doesn't have. 256 is torchvision's; fewer are faster."""
    box_head_width: Annotated[int, Field(ge=16, le=4096)] = 1024
    """Width of Faster R-CNN's two hidden box-head layers. 1024 is torchvision's."""
    box_samples: Annotated[int, Field(ge=8, le=4096)] = 512
    """Proposals an image that Faster R-CNN's box head learns from in a step. 512 is torchvision's."""
    anchor_sizes: Annotated[
        tuple[
            Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], BeforeValidator(as_tuple), Field(min_length=1)],
            ...,
        ],
        BeforeValidator(as_tuple),
    ] = ()
    """Sizes in pixels of the anchors, a list for each level of the pyramid, finest first. Empty: the detector's own.
    Pixels are those of the image as the detector sees it; FCOS has no anchors."""
    anchor_ratios: Annotated[
        tuple[Annotated[float, Field(gt=0, le=100)], ...], BeforeValidator(as_tuple)
    ] = ()
    """Heights over widths of the anchors, such as [0.5, 1.0, 2.0]. Empty: the detector's own. SSD takes 1.0 and pairs
    like 0.5 and 2.0 only."""

    @field_validator("arch")
    @classmethod
    def _known_arch(cls, arch: str) -> str:
        if arch not in ARCHS:
            raise PydanticCustomError("unknown_arch", "unknown detector")
        return arch

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        refuse(self._faults(ARCHS[self.arch]))
        return self

    def _faults(self, arch: Arch) -> Iterator[Fault]:
        yield from self._size_faults(arch)
        yield from self._backbone_faults(arch)
        yield from self._head_faults(arch)
        yield from self._weights_faults(arch)
        yield from self._anchor_faults(arch)

    def _size_faults(self, arch: Arch) -> Iterator[Fault]:
        if arch.fixed_size and (self.min_size or self.max_size):
            yield Fault(
                ("min_size" if self.min_size else "max_size",), f"{arch.name} works at {arch.min_size} px only",
                "remove min_size and max_size",
            )
        elif self.input_min_size > self.input_max_size:
            yield Fault(
                ("max_size",), f"min_size {self.input_min_size} is above max_size {self.input_max_size}",
                "lower min_size or raise max_size",
            )

    def _backbone_faults(self, arch: Arch) -> Iterator[Fault]:
        if self.trainable_layers is not None and self.trainable_layers > arch.num_backbone_stages:
            yield Fault(
                ("trainable_layers",), f"{arch.name} has only {arch.num_backbone_stages} backbone stages",
                f"write trainable_layers = {arch.num_backbone_stages} or less",
            )
        if self.norm != "auto" and not arch.has_batch_norm:
            yield Fault(("norm",), f"the backbone of {arch.name} has no batch normalisation", "remove norm")

    def _head_faults(self, arch: Arch) -> Iterator[Fault]:
        for key, families in _FAMILIES_OF_KEY.items():
            if arch.family not in families and getattr(self, key) != Model.model_fields[key].default:
                yield Fault((key,), f"{key} means nothing with {arch.name}", f"remove {key}")
        uneven = self.fpn_channels % _NUM_GROUPS or self.fpn_channels == _NUM_GROUPS
        if arch.name in _GROUP_NORM_HEADS and uneven:
            found = f"{arch.name} normalises its channels in {_NUM_GROUPS} groups of at least two"
            yield Fault(("fpn_channels",), found, "write a multiple of 32, 64 at least")

    def _weights_faults(self, arch: Arch) -> Iterator[Fault]:
        if self.weights != "coco":
            return
        if arch.coco is None:
            yield Fault(
                ("weights",), f"no COCO weights exist for {arch.name}",
                'use weights = "imagenet", "none" or a weights file',
            )
        for key in ("box_head_width", "fpn_channels"):
            default = Model.model_fields[key].default
            if arch.coco is not None and arch.family in _FAMILIES_OF_KEY[key] and getattr(self, key) != default:
                yield Fault(
                    (key,), f"COCO weights need {key} = {default}",
                    f'remove {key}, or use weights = "imagenet" or "none"',
                )

    def _anchor_faults(self, arch: Arch) -> Iterator[Fault]:
        given = [key for key in ("anchor_sizes", "anchor_ratios") if getattr(self, key)]
        if arch.family == "fcos":
            yield from (Fault((key,), f"{arch.name} has no anchors", f"remove {key}") for key in given)
            return
        if self.anchor_sizes:
            yield from self._anchor_size_faults(arch)
        if self.anchor_ratios and arch.family == "ssd" and not _come_in_pairs(self.anchor_ratios):
            found = f"{arch.name} has anchors of 1.0, and of every other ratio with its inverse"
            yield Fault(("anchor_ratios",), found, "write 1.0 and pairs, such as [0.5, 1.0, 2.0]")

    def _anchor_size_faults(self, arch: Arch) -> Iterator[Fault]:
        counts = [len(level) for level in self.anchor_sizes]
        if len(counts) != arch.num_levels:
            found = f"{arch.name} has {arch.num_levels} levels of feature maps, and sizes are given for {len(counts)}"
            yield Fault(("anchor_sizes",), found, f"write {arch.num_levels} lists, finest level first")
        elif arch.family == "ssd" and set(counts) != {1}:
            yield Fault(("anchor_sizes",), f"{arch.name} takes one size a level", "write one number in each list")
        elif len(set(counts)) > 1:
            found = "the levels have different numbers of sizes, and one head serves them all"
            yield Fault(("anchor_sizes",), found, "write as many sizes for each level")

    @property
    def input_min_size(self) -> int:
        """Shorter side in pixels that images are resized to."""
        return self.min_size or ARCHS[self.arch].min_size

    @property
    def input_max_size(self) -> int:
        """Upper bound of the longer side in pixels."""
        return self.max_size or max(ARCHS[self.arch].max_size, self.input_min_size)

    @property
    def weights_path(self) -> Path | None:
        """The weights file or run folder, when `weights` is one."""
        return None if self.weights in WEIGHTS_WORDS else Path(self.weights)


def _come_in_pairs(ratios: tuple[float, ...]) -> bool:
    """Whether there is a 1, and every ratio has its inverse."""
    return 1.0 in ratios and all(
        any(abs(ratio * other - 1) <= _PAIR_TOLERANCE for other in ratios) for ratio in ratios
    )

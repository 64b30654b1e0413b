"""`[model]`: the detector and its weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from engine.catalogue import ARCHS, Arch
from engine.recipe.sections.base import Fault, Section, as_tuple, refuse

# What `model.weights` may say instead of naming a file.
WEIGHTS_WORDS = ("coco", "imagenet", "none")


class Model(Section):
    """The detector and where its weights come from."""

    arch: str = Field(default="fasterrcnn_resnet50_fpn", json_schema_extra={"enum": list(ARCHS)})
    """The detector."""
    weights: str = Field(default="coco", json_schema_extra={"words": '"coco", "imagenet", "none" or a file'})
    """"coco", "imagenet", "none", or a weights file, relative to the recipe."""
    min_size: Annotated[int, Field(ge=32, le=4096)] | None = None
    """Shorter side in pixels that images are resized to; the detector's own when left out."""
    max_size: Annotated[int, Field(ge=32, le=8192)] | None = None
    """Upper bound of the longer side in pixels; the detector's own when left out."""
    trainable_layers: Annotated[int, Field(ge=0, le=6)] | None = None
    """Backbone stages that learn, counted from the output. Left out: 3 with weights, all without."""
    norm: Literal["auto", "frozen", "batch"] = "auto"
    """Backbone normalisation: frozen statistics, or learnt. "auto" freezes where weights exist."""
    fpn_channels: Annotated[int, Field(ge=16, le=1024)] = 256
    """Channels of Faster R-CNN's feature pyramid. 256 is torchvision's; fewer are faster."""
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
    """Sizes in pixels of the anchors, a list for each level of the pyramid, finest first. Empty: the detector's own."""
    anchor_ratios: Annotated[
        tuple[Annotated[float, Field(gt=0, le=100)], ...], BeforeValidator(as_tuple)
    ] = ()
    """Heights over widths of the anchors, such as [0.5, 1.0, 2.0]. Empty: the detector's own."""

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
        if self.trainable_layers is not None and self.trainable_layers > arch.num_backbone_stages:
            yield Fault(
                ("trainable_layers",), f"{arch.name} has only {arch.num_backbone_stages} backbone stages",
                f"write trainable_layers = {arch.num_backbone_stages} or less",
            )
        if self.weights == "coco" and arch.coco is None:
            yield Fault(
                ("weights",), f"no COCO weights exist for {arch.name}",
                'use weights = "imagenet", "none" or a weights file',
            )
        if self.weights == "coco" and self.box_head_width != 1024:
            yield Fault(
                ("box_head_width",), "COCO weights need box_head_width = 1024",
                'remove box_head_width, or use weights = "imagenet" or "none"',
            )
        if self.weights == "coco" and self.fpn_channels != 256:
            yield Fault(
                ("fpn_channels",), "COCO weights need fpn_channels = 256",
                'remove fpn_channels, or use weights = "imagenet" or "none"',
            )

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
        """The weights file, when `weights` is one."""
        return None if self.weights in WEIGHTS_WORDS else Path(self.weights)

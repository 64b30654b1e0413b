"""The frozen `Recipe`: every key a recipe may hold, its type, range, default and meaning.

Strict on purpose: an unknown key or a value of the wrong type is an error, never a guess. Each
field's description is what `docs/recipe-reference.md` prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from engine.catalogue import ARCHS, Arch

ClassName = Annotated[str, Field(min_length=1, max_length=200)]

# What `model.weights` may say instead of naming a file.
WEIGHTS_WORDS = ("coco", "imagenet", "none")


@dataclass(frozen=True, slots=True)
class Fault:
    """Two values of a section that don't go together.

    Attributes:
        key: Path of the value to blame, from the section; () for the section itself.
        found: What is wrong.
        fix: What to do about it.
    """

    key: tuple[str | int, ...]
    found: str
    fix: str


class ContradictionError(ValueError):
    """Raised by a section's validator with all its faults at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(fault.found for fault in faults))
        self.faults = tuple(faults)


def _refuse(faults: Iterable[Fault]) -> None:
    found = tuple(faults)
    if found:
        raise ContradictionError(found)


class Section(BaseModel):
    """A table of a recipe: strict, frozen, no unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def _as_path(value: object) -> object:
    return Path(value) if isinstance(value, str) else value


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


RecipePath = Annotated[Path, BeforeValidator(_as_path)]


class SplitPaths(Section):
    """Where a split lives, or a part of it."""

    images: RecipePath
    """Folder of images, relative to the recipe; folders within count too."""
    annotations: RecipePath
    """Folder of annotations, relative to the recipe; with COCO, the JSON file."""


SplitRoots = SplitPaths | Annotated[tuple[SplitPaths, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
SplitName = Literal["train", "val", "test"]


class Dataset(Section):
    """The photos, their labels, and what to do about dirt in them."""

    format: Literal["voc", "coco", "yolo"] = "voc"
    """"voc": Pascal VOC XML, a file for each image. "coco": one JSON file. "yolo": a txt file for each image."""
    train: SplitRoots
    """Images to learn from: one place, or a list of them."""
    val: SplitRoots | None = None
    """Images to measure on after every epoch, never learnt from: one place, or a list. Or give val_fraction."""
    test: SplitRoots | None = None
    """Images kept for the end, never looked at while training: one place, or a list."""
    val_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of train to measure on instead of val. Drawn by each image's name, so that new images move none."""
    split_seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """Another number draws another val_fraction. Not training.seed, so that runs can be compared."""
    names_file: RecipePath | None = None
    """YOLO: the file that names the class ids, data.yaml or classes.txt. Left out: ids count classes.names from 0."""
    first_pixel: Annotated[int, Field(ge=0, le=1)] = 0
    """VOC: how the first pixel is counted. LabelImg: 0. The Pascal VOC challenge: 1, and max is the last pixel."""
    exif_orientation: Literal["auto", "apply", "ignore"] = "auto"
    """Boxes were drawn on images turned by EXIF, or as stored. "auto": what the annotated size tells, or turned."""

    missing_annotations: Literal["error", "skip", "negative"] = "error"
    """An image without an annotation file: an error, left out, or a picture without objects."""
    missing_images: Literal["error", "skip"] = "error"
    """An annotation file without its image: an error, or left out."""
    unreadable_images: Literal["error", "skip"] = "error"
    """An image that can't be decoded whole: an error, or left out."""
    unreadable_annotations: Literal["error", "skip"] = "error"
    """An annotation that isn't XML, JSON or YOLO text: an error, or left out with its image."""
    negative_images: Literal["keep", "skip"] = "keep"
    """An image annotated as showing no object: a picture to learn from, or left out."""
    unknown_classes: Literal["error", "skip"] = "error"
    """An object whose class is neither in the map, an alias nor ignored: an error, or left out."""
    unreadable_boxes: Literal["error", "drop"] = "error"
    """A box with a number missing or not finite: an error, or the object is left out."""
    empty_boxes: Literal["error", "drop"] = "error"
    """A box without width or height, or inverted: an error, or the object is left out."""
    outside_boxes: Literal["error", "clip", "drop"] = "error"
    """A box that reaches outside its image: an error, cut off at the edge, or left out."""
    duplicate_boxes: Literal["drop", "keep", "error"] = "drop"
    """The same box and class twice in an image: once left out, kept, or an error."""
    difficult_objects: Literal["excuse", "keep", "drop"] = "excuse"
    """Objects marked difficult: learnt but not demanded when measuring, like any other, or left out."""
    truncated_objects: Literal["keep", "drop"] = "keep"
    """Objects marked as cut off by the image's edge: like any other, or left out."""
    size_mismatch: Literal["error", "use_image"] = "error"
    """An annotation whose size disagrees with the image: an error, or the image is believed."""
    duplicate_images: Literal["warn", "error"] = "warn"
    """The same picture twice within a split, byte for byte: a warning, or an error."""
    leaked_images: Literal["error", "warn"] = "error"
    """The same picture, byte for byte, in train and in val or test: an error, or a warning."""

    @model_validator(mode="after")
    def _consistent(self) -> Dataset:
        _refuse(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        if self.val is None and self.val_fraction is None:
            fix = 'add val = { images = "...", annotations = "..." }, or val_fraction = 0.2 to take it from train'
            yield Fault((), "there is nothing to measure on: neither val nor val_fraction", fix)
        if self.val is not None and self.val_fraction is not None:
            yield Fault(("val_fraction",), "val and val_fraction are both given", "remove one of the two")
        if self.names_file is not None and self.format != "yolo":
            found = f"names_file means nothing with {self.format}, which names its classes"
            yield Fault(("names_file",), found, 'remove it, or set format = "yolo"')
        if self.first_pixel and self.format != "voc":
            yield Fault(("first_pixel",), f"first_pixel means nothing with {self.format}", "remove it")

    def roots(self, split: SplitName) -> tuple[SplitPaths, ...]:
        """Where a split lives; train's places for a val drawn by val_fraction, () for a split there isn't."""
        roots = self.train if split == "val" and self.val_fraction is not None else getattr(self, split)
        if roots is None:
            return ()
        return (roots,) if isinstance(roots, SplitPaths) else roots


class Classes(Section):
    """The class map."""

    names: Annotated[
        tuple[ClassName, ...], BeforeValidator(_as_tuple), Field(min_length=1, examples=[["mug", "laptop"]])
    ]
    """The classes to detect, in order. The background is added by the model and isn't named."""
    aliases: dict[ClassName, ClassName] = Field(default_factory=dict)
    """Other spellings in the annotations, each with the class it stands for."""
    ignore: Annotated[tuple[ClassName, ...], BeforeValidator(_as_tuple)] = ()
    """Classes in the annotations that are left out on purpose."""

    @model_validator(mode="after")
    def _consistent(self) -> Classes:
        _refuse(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        seen: set[str] = set()
        for index, name in enumerate(self.names):
            if name in seen:
                yield Fault(("names", index), f'class "{name}" is named twice', "remove one of the two")
            seen.add(name)
        for alias, target in self.aliases.items():
            if target not in seen:
                yield Fault(
                    ("aliases", alias), f'alias "{alias}" stands for "{target}", which is not in names',
                    "point the alias at one of names",
                )
            if alias in seen:
                yield Fault(
                    ("aliases", alias), f'alias "{alias}" is itself one of names',
                    "remove it from names or from aliases",
                )
        for index, name in enumerate(self.ignore):
            if name in seen or name in self.aliases:
                yield Fault(
                    ("ignore", index), f'class "{name}" is both wanted and ignored',
                    "remove it from ignore, or from names and aliases",
                )


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

    @field_validator("arch")
    @classmethod
    def _known_arch(cls, arch: str) -> str:
        if arch not in ARCHS:
            raise PydanticCustomError("unknown_arch", "unknown detector")
        return arch

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        _refuse(self._faults(ARCHS[self.arch]))
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


class Training(Section):
    """How long, how much at a time."""

    epochs: int = Field(default=50, ge=1, le=100_000)
    """Passes over the training images."""
    batch_size: int = Field(default=4, ge=1, le=1024)
    """Images in one optimizer step."""
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """Everything random follows from it: order, augmentation, new layers, sampled boxes."""
    clip_grad_norm: Annotated[float, Field(gt=0)] | None = None
    """Greatest total norm of the gradients; longer ones are scaled down. Left out: no clipping."""


class Optimizer(Section):
    """How weights change."""

    name: Literal["sgd", "adamw"] = "sgd"
    """The optimizer."""
    lr: float = Field(default=0.005, gt=0, le=100)
    """Learning rate after warm-up."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD; AdamW uses it as its first beta."""
    weight_decay: float = Field(default=0.0005, ge=0, le=10)
    """Weight decay."""


class Schedule(Section):
    """How the learning rate changes."""

    kind: Literal["step", "cosine", "constant"] = "step"
    """"step" multiplies by gamma every step_size epochs; "cosine" falls to 0 at the end."""
    step_size: int = Field(default=15, ge=1, le=100_000)
    """Epochs between two drops of the step schedule."""
    gamma: float = Field(default=0.1, gt=0, le=1)
    """Factor of each drop."""
    warmup_steps: int = Field(default=0, ge=0, le=1_000_000_000)
    """Optimizer steps over which the learning rate rises linearly from near 0. 0: none."""


class Augmentation(Section):
    """Changes to training images, boxes kept right."""

    horizontal_flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of mirroring an image left to right."""


class EarlyStopping(Section):
    """When to stop before the last epoch."""

    metric: Literal["val_loss", "ap", "ap50"] = "val_loss"
    """What must improve."""
    patience: int = Field(default=8, ge=1, le=100_000)
    """Epochs without improvement after which the run ends."""
    min_delta: float = Field(default=0.0, ge=0)
    """An improvement smaller than this doesn't count."""


class Evaluation(Section):
    """How a model is measured after each epoch."""

    best_metric: Literal["auto", "ap", "ap50", "val_loss"] = "auto"
    """What decides which epoch's weights are kept as the best. "auto": what early stopping watches, else ap."""


class Previews(Section):
    """Pictures of predictions on the same validation images, epoch after epoch."""

    num_images: int = Field(default=4, ge=0, le=64)
    """How many validation images; 0 turns previews off."""
    score_threshold: float = Field(default=0.5, ge=0, le=1)
    """Least score of a prediction that is drawn."""


class Queue(Section):
    """When the run gets its turn."""

    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Runs of higher priority go first; among equals the one that was queued first."""
    retries: Annotated[int, Field(ge=0, le=100)] = 0
    """How often the run is tried again, from its last checkpoint, after it failed."""
    not_before: Annotated[
        str,
        Field(
            pattern=r"^(\d{4}-(0[1-9]|1[0-2])-([0-2]\d|3[01])T)?([01]\d|2[0-3]):[0-5]\d$",
            json_schema_extra={"words": 'a time such as "22:30", or a day and time such as "2026-11-24T22:30"'},
        ),
    ] | None = None
    """Local time before which the run isn't started; "22:30" is the next time the clock shows that."""

    @model_validator(mode="after")
    def _real_date(self) -> Queue:
        try:
            if self.not_before and "T" in self.not_before:
                datetime.fromisoformat(self.not_before)
        except ValueError:
            _refuse([Fault(("not_before",), f"there is no day {self.not_before}", "correct the date")])
        return self


class Hardware(Section):
    """What the run is executed on."""

    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$",
        json_schema_extra={"words": '"auto", "cpu", "mps", "cuda" or "cuda:" and a number'},
    )
    """"auto" takes cuda, then mps, then cpu; or name one, such as "cuda:1"."""
    num_workers: Annotated[int, Field(ge=0, le=256)] | Literal["auto"] = "auto"
    """Processes that load images. "auto" looks at the machine."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Number format of the convolutions and products while training; "bf16" is faster where the chip has it."""


class Recipe(Section):
    """One training run, whole."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        examples=["desk-r50"],
        json_schema_extra={"words": "1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first"},
    )
    """Name of the run: letters, digits, dot, dash and underscore."""
    dataset: Dataset
    classes: Classes
    model: Model = Field(default_factory=Model)
    training: Training = Field(default_factory=Training)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    schedule: Schedule = Field(default_factory=Schedule)
    augmentation: Augmentation = Field(default_factory=Augmentation)
    early_stopping: EarlyStopping | None = None
    evaluation: Evaluation = Field(default_factory=Evaluation)
    previews: Previews = Field(default_factory=Previews)
    queue: Queue = Field(default_factory=Queue)
    hardware: Hardware = Field(default_factory=Hardware)

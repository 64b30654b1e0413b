"""`[dataset]` and `[classes]`: the photos, their labels, and the class map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from engine.recipe.sections.base import Fault, RecipePath, Section, as_tuple, refuse

ClassName = Annotated[str, Field(min_length=1, max_length=200)]


class SplitPaths(Section):
    """Where a split lives, or a part of it."""

    images: RecipePath
    """Folder of images, relative to the recipe; folders within count too."""
    annotations: RecipePath
    """Folder of annotations, relative to the recipe; with COCO, the JSON file."""


SplitRoots = SplitPaths | Annotated[tuple[SplitPaths, ...], BeforeValidator(as_tuple), Field(min_length=1)]
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
        refuse(self._faults())
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
        tuple[ClassName, ...], BeforeValidator(as_tuple), Field(min_length=1, examples=[["mug", "laptop"]])
    ]
    """The classes to detect, in order. The background is added by the model and isn't named."""
    aliases: dict[ClassName, ClassName] = Field(default_factory=dict)
    """Other spellings in the annotations, each with the class it stands for."""
    ignore: Annotated[tuple[ClassName, ...], BeforeValidator(as_tuple)] = ()
    """Classes in the annotations that are left out on purpose."""

    @model_validator(mode="after")
    def _consistent(self) -> Classes:
        refuse(self._faults())
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

"""Correct what is written about one image, where there is no doubt how; every change goes to a ledger.

Boxes are judged by the reader's own policies, set to repair. Refuses to invent: what can't be known
is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from engine.annotations import codes
from engine.annotations.folders import composed
from engine.annotations.judge import Judge, Shown, names_image
from engine.annotations.labels import LabelMap
from engine.annotations.ledger import Ledger
from engine.annotations.objects import EDGE_TOLERANCE_PX, Drawn, ObjectJudge
from engine.annotations.picture import PictureFacts
from engine.annotations.raw import BoxForm, Numbers, RawAnnotation, RawObject, axis_as_written, xyxy
from engine.annotations.sources import Item
from engine.annotations.writers import Described, to_cxcywh_norm, to_xywh, turned
from engine.errors import Where, printable
from engine.recipe.schema import Dataset

_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Mended:
    """An image as it goes into the corrected copy.

    Attributes:
        item: The original.
        image: What is to be written.
        turn: Whether the picture's pixels are to be turned as EXIF says.
        as_it_was: Whether its annotation needs no change.
    """

    item: Item
    image: Described
    turn: bool
    as_it_was: bool


def repairing(dataset: Dataset) -> Dataset:
    """A dataset with the policies that repair, but for those by which the recipe asks for something else."""
    return dataset.model_copy(
        update={
            "missing_annotations": "negative" if dataset.missing_annotations == "negative" else "error",
            "missing_images": "error",
            "negative_images": "keep",
            "unknown_classes": "skip",
            "unreadable_boxes": "drop",
            "empty_boxes": "drop",
            "outside_boxes": "drop" if dataset.outside_boxes == "drop" else "clip",
            "duplicate_boxes": "keep" if dataset.duplicate_boxes == "keep" else "drop",
            "difficult_objects": "keep",
            "truncated_objects": "keep",
            "size_mismatch": "use_image",
        }
    )


def is_class_name(name: str) -> bool:
    """Whether a recipe and every format can hold this name of a class."""
    return 0 < len(name) <= _LONGEST_NAME and printable(name) == name


@dataclass(frozen=True, slots=True)
class Mender:
    """Corrects the images of one split.

    Attributes:
        dataset: As the recipe says.
        renamed: Class name as written -> as it should be.
        judge: The policies that repair.
        ledger: Told of every change.
    """

    dataset: Dataset
    renamed: Mapping[str, str]
    judge: Judge
    ledger: Ledger

    @classmethod
    def of(cls, dataset: Dataset, names: tuple[str, ...], renamed: Mapping[str, str], ledger: Ledger) -> Mender:
        """A mender that knows all of these class names, whether the recipe's map does or not."""
        policies = repairing(dataset)
        labels = LabelMap({composed(name): index for index, name in enumerate(names)}, names)
        return cls(dataset, renamed, Judge(policies, ledger, ObjectJudge(policies, labels, ledger)), ledger)

    def mended(self, item: Item, raw: RawAnnotation, facts: PictureFacts) -> Mended | None:
        """One image, corrected; None when it has to be left out."""
        told = len(self.ledger.changes)
        where = Where(item.annotation_path or item.image_path, item=raw.within[:200])
        if not self._may_fit(where, raw, facts):
            return None
        shown = self.judge.shown(where, facts, raw)
        assert shown is not None, "the policy is to believe the image"
        if self.dataset.format == "voc" and raw.filename and not names_image(raw.filename, item.image_path):
            found = f'the annotation names "{raw.filename[:200]}"'
            self.ledger.change(codes.NAME_DISAGREES, where, found, "the image's name is written")
        turn = self._must_turn(where, raw, facts, shown)
        image = self._described(item, raw, facts, shown, turn=turn)
        if raw.objects and not image.corners:
            found, done = "none of its objects can be kept", "image left out: as a picture without objects it would lie"
            self.ledger.change(codes.NEGATIVE, where, found, done)
            return None
        # Corners of VOC files are written counting from 0, so files that count from 1 are all written anew.
        as_it_was = told == len(self.ledger.changes) and item.annotation_path is not None
        return Mended(item, image, turn, as_it_was and not self.dataset.first_pixel)

    def _may_fit(self, where: Where, raw: RawAnnotation, facts: PictureFacts) -> bool:
        stored = (facts.width, facts.height)
        if raw.size in (None, stored, facts.shown_size) or self.dataset.size_mismatch == "use_image":
            return True
        width, height = stored if self.dataset.exif_orientation == "ignore" else facts.shown_size
        far_x, far_y = width + EDGE_TOLERANCE_PX, height + EDGE_TOLERANCE_PX
        for written in raw.objects:
            corners = xyxy(raw.form, written.numbers, (width, height), self.dataset.first_pixel)
            if max(corners[0], corners[2]) > far_x or max(corners[1], corners[3]) > far_y:
                found = f"the annotation says {_by(raw.size)}, the image has {width} x {height}, and boxes reach beyond"
                done = "image left out: it was labelled on another version of the picture"
                self.ledger.change(codes.SIZE_MISMATCH, where, found, done)
                return False
        return True

    def _must_turn(self, where: Where, raw: RawAnnotation, facts: PictureFacts, shown: Shown) -> bool:
        """Whether only turned pixels leave no doubt about how the boxes lie."""
        if facts.orientation == 1 or not raw.objects:
            return False
        unclear = raw.size is None or facts.shown_size == (facts.width, facts.height)
        if shown.apply_exif and not unclear:
            return False
        if self.dataset.exif_orientation != "auto":
            code = codes.ORIENTATION_UNCLEAR if shown.apply_exif else codes.ORIENTATION_RAW
            action = "the picture is turned" if shown.apply_exif else "picture and boxes are turned"
            found = f"orientation {facts.orientation}, which the recipe settles by dataset.exif_orientation"
            self.ledger.change(code, where, found, action)
        return True

    def _described(
        self, item: Item, raw: RawAnnotation, facts: PictureFacts, shown: Shown, *, turn: bool
    ) -> Described:
        place = item.annotation_path or item.image_path
        prepared = tuple(self._prepared(raw.form, written) for written in raw.objects)
        drawn = Drawn(place, msgspec.structs.replace(raw, objects=prepared), shown.size)
        kept = self.judge.kept(drawn)
        originals = {written.ref: written for written in raw.objects}
        stored = (facts.width, facts.height)
        objects, boxes = [], []
        for _, corners, written in kept:
            original = originals[written.ref]
            self._tell(drawn, original, written)
            box = turned(corners, facts.orientation, stored) if turn and not shown.apply_exif else corners
            size = facts.shown_size if turn else shown.size
            same = box == xyxy(raw.form, original.numbers, shown.size, self.dataset.first_pixel)
            numbers = original.numbers if same else _numbers(raw.form, box, size)
            objects.append(msgspec.structs.replace(written, numbers=numbers))
            boxes.append(box)
        size = facts.shown_size if turn else shown.size
        return Described(item.name, size, msgspec.structs.replace(raw, objects=tuple(objects)), tuple(boxes))

    def _prepared(self, form: BoxForm, written: RawObject) -> RawObject:
        """An object under its right name, its corners in order."""
        name = self.renamed.get(written.name, written.name)
        numbers = written.numbers if written.fault else _in_order(form, written.numbers)
        return msgspec.structs.replace(written, name=name, numbers=numbers)

    def _tell(self, drawn: Drawn, original: RawObject, kept: RawObject) -> None:
        where = drawn.where(original)
        if kept.name != original.name and self.dataset.format != "yolo":  # there, the file of names is corrected
            self.ledger.change(
                codes.CLASS_UNKNOWN, where, f'class "{original.name[:200]}"', f'renamed to "{kept.name[:200]}"'
            )
        if kept.numbers != original.numbers:
            form = drawn.raw.form
            axes = [axis for axis in (0, 1) if _axis(original.numbers, axis) != _axis(kept.numbers, axis)]
            written = "; ".join(axis_as_written(form, original.numbers, 1 if axis else 0) for axis in axes)
            self.ledger.change(codes.BOX_EMPTY, where, f"inverted box: {written}", "turned round")


def _by(size: tuple[int, int] | None) -> str:
    return "no size" if size is None else f"{size[0]} x {size[1]}"


def _axis(numbers: Numbers, axis: int) -> tuple[float, float]:
    return numbers[axis], numbers[axis + 2]


def _in_order(form: BoxForm, numbers: Numbers) -> Numbers:
    """The same box with its lesser corner first, in its own form."""
    if not all(map(math.isfinite, numbers)):
        return numbers
    a, b, c, d = numbers
    if form == "xyxy":
        return min(a, c), min(b, d), max(a, c), max(b, d)
    if form == "xywh":
        return min(a, a + c), min(b, b + d), abs(c), abs(d)
    return a, b, abs(c), abs(d)


def _numbers(form: BoxForm, corners: Numbers, size: tuple[int, int]) -> Numbers:
    if form == "xyxy":
        return corners
    return to_xywh(corners) if form == "xywh" else to_cxcywh_norm(corners, size)

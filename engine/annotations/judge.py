"""Apply the recipe's policies to one image and what is written about it: a record, or the reasons why not.

The one place that decides what dirt is; the check and the training both read through it.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engine.annotations import codes
from engine.annotations.findings import Findings
from engine.annotations.folders import composed, stem
from engine.annotations.labels import LabelMap
from engine.annotations.objects import Drawn, ObjectJudge
from engine.annotations.picture import SUFFIXES_OF, PictureFacts
from engine.annotations.raw import Numbers, RawAnnotation, RawObject
from engine.annotations.records import ImageRecord
from engine.errors import Problem, Where
from engine.recipe.schema import Dataset

_MODES = {
    "L": "greyscale", "1": "black and white", "P": "palette", "CMYK": "CMYK", "YCbCr": "YCbCr", "LA": "transparency",
    "RGBA": "transparency", "PA": "transparency", "I": "16-bit",
}  # fmt: skip


class Shown(NamedTuple):
    """The picture as the model sees it."""

    size: tuple[int, int]
    apply_exif: bool


@dataclass(frozen=True, slots=True)
class Judge:
    """The policies on images and where findings go; objects are left to an `ObjectJudge`."""

    dataset: Dataset
    findings: Findings
    objects: ObjectJudge

    @classmethod
    def of(cls, dataset: Dataset, labels: LabelMap, findings: Findings) -> Judge:
        """A judge by a recipe's policies and class map."""
        return cls(dataset, findings, ObjectJudge(dataset, labels, findings))

    def record(
        self, image_path: str, annotation_path: str | None, facts: PictureFacts, raw: RawAnnotation
    ) -> ImageRecord | None:
        """Judge one image.

        Args:
            image_path: The image file.
            annotation_path: Its annotation; None for a picture taken without objects.
            facts: What the image's header says.
            raw: What the annotation says.

        Returns:
            The record, or None when the image can't be used.
        """
        where = Where(annotation_path or image_path, item=raw.within[:200])
        self._tell_oddities(image_path, where, facts, raw)
        shown = self.shown(where, facts, raw)
        if shown is None:
            return None
        if not raw.objects and self.dataset.negative_images == "skip":
            self.findings.settled(codes.NEGATIVE, "images left out", Where(image_path))
            return None
        kept = self.kept(Drawn(where.path, raw, shown.size))
        excuse = self.dataset.difficult_objects == "excuse"
        return ImageRecord(
            image_path=Path(image_path),
            annotation_path=None if annotation_path is None else Path(annotation_path),
            width=shown.size[0],
            height=shown.size[1],
            boxes_xyxy=np.array([corners for _, corners, _ in kept], dtype=np.float32).reshape(-1, 4),
            labels=np.array([label for label, _, _ in kept], dtype=np.int64),
            difficult=np.array([excuse and written.difficult for _, _, written in kept], dtype=np.bool_),
            crowd=np.array([written.crowd for _, _, written in kept], dtype=np.bool_),
            apply_exif=shown.apply_exif,
        )

    def kept(self, drawn: Drawn) -> list[tuple[int, Numbers, RawObject]]:
        """Each usable object of an image: label, corners within the picture, and what was written."""
        kept: list[tuple[int, Numbers, RawObject]] = []
        seen: set[tuple[int, Numbers]] = set()
        for written in drawn.raw.objects:
            judged = self.objects.judge(drawn, written)
            if judged is None:
                continue
            if judged in seen:
                self.objects.tell_twice(drawn, written)
                if self.dataset.duplicate_boxes != "keep":
                    continue
            seen.add(judged)
            kept.append((*judged, written))
        return kept

    def shown(self, where: Where, facts: PictureFacts, raw: RawAnnotation) -> Shown | None:
        """The picture that the boxes lie on; None when the annotation is about another one."""
        policy = self.dataset.exif_orientation
        upright = Shown(facts.shown_size, apply_exif=True)
        stored = Shown((facts.width, facts.height), apply_exif=False)
        shown = stored if policy == "ignore" else upright
        if raw.size is None:
            if raw.objects and raw.form != "cxcywh_norm":
                self.findings.settled(codes.SIZE_UNKNOWN, "the image's size is used", where)
        elif raw.size not in (upright.size, stored.size):
            return self._mismatch(where, raw.size, shown)
        if facts.orientation == 1 or not raw.objects or policy != "auto":
            return shown
        if raw.size == stored.size != upright.size:
            detail = f"orientation {facts.orientation}"
            self.findings.settled(codes.ORIENTATION_RAW, "these images are not turned", where, detail=detail)
            return stored
        if raw.size is None or upright.size == stored.size:
            action = "the annotation doesn't say whether boxes were drawn before or after it; after is assumed"
            fix = 'look at labelled samples; if boxes sit wrong, set dataset.exif_orientation = "ignore", else "apply"'
            self.findings.settled(codes.ORIENTATION_UNCLEAR, action, where, warning=fix)
        return upright

    def _mismatch(self, where: Where, written: tuple[int, int], shown: Shown) -> Shown | None:
        found = f"size mismatch: the annotation says {written[0]} x {written[1]}, "
        found += f"the image has {shown.size[0]} x {shown.size[1]}"
        fix = 'label it again on this image, or, if the boxes fit it, set dataset.size_mismatch = "use_image"'
        problem = Problem(codes.SIZE_MISMATCH, where, found, fix)
        policy = self.dataset.size_mismatch
        self.findings.by_policy(policy, problem, key="dataset.size_mismatch", action="the image's size is used")
        return shown if policy == "use_image" else None

    def _tell_oddities(self, image_path: str, where: Where, facts: PictureFacts, raw: RawAnnotation) -> None:
        if not image_path.lower().endswith(SUFFIXES_OF.get(facts.format, ())):
            action = "read as what they are"
            self.findings.settled(codes.FORMAT_DISAGREES, action, Where(image_path), detail=facts.format)
        if facts.mode != "RGB":
            word = _MODES.get(facts.mode, "16-bit" if facts.mode.startswith("I;16") else facts.mode)
            self.findings.settled(codes.PICTURE_CONVERTED, "converted to it", Where(image_path), detail=word)
        if raw.filename and not names_image(raw.filename, image_path):
            action = "the image with the annotation's own name is used"
            self.findings.settled(codes.NAME_DISAGREES, action, where)


def names_image(written: str, image_path: str) -> bool:
    """Whether a name in an annotation, with or without folders and suffix, means this image."""
    if image_path.endswith(f"/{written}"):
        return True
    written = composed(posixpath.basename(written.replace("\\", "/")))
    name = composed(posixpath.basename(image_path))
    return name == written or stem(name) in (written, stem(written))

"""What each box of a preview image is at a score threshold: right, a mistake of some kind, or missed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from engine.errors import printable
from engine.previewfile import Box, PreviewImage

RIGHT, WRONG, MISSED, EXCUSED = "✔", "✘", "○", "–"

_WORDS = {
    "right": "right", "missed": "missed", "excused": "not counted", "localisation": "poor box",
    "classification": "wrong class", "duplicate": "found twice", "background": "false", "both": "class and box",
}  # fmt: skip
# Names are made up by people: more than this fits nowhere.
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class JudgedBox:
    """A detection, or an object that was there to be found.

    Attributes:
        label: Place in the class names.
        name: The class, fit for a terminal.
        box_xyxy: Pixels of the image.
        score: None for an object.
        verdict: As in `engine.analysis`.
    """

    label: int
    name: str
    box_xyxy: Box
    score: float | None
    verdict: str

    @property
    def is_right(self) -> bool:
        """Whether it found something, or was found."""
        return self.verdict == "right"

    @property
    def is_error(self) -> bool:
        """Whether it counts against the detector."""
        return self.verdict not in {"right", "excused"}

    @property
    def sign(self) -> str:
        """The one character that stands for the verdict."""
        if not self.is_error:
            return RIGHT if self.is_right else EXCUSED
        return MISSED if self.score is None else WRONG

    @property
    def words(self) -> str:
        """The verdict in words; those of an object nothing found are "missed", whatever lies on it."""
        if self.score is None and self.is_error:
            return _WORDS["missed"]
        return _WORDS[self.verdict]


@dataclass(frozen=True, slots=True)
class Judgement:
    """All boxes of an image.

    Attributes:
        found: Detections from the threshold on, surest first.
        truth: Objects.
    """

    found: tuple[JudgedBox, ...] = ()
    truth: tuple[JudgedBox, ...] = ()

    @property
    def num_right(self) -> int:
        """Objects that were found."""
        return sum(one.is_right for one in self.found)

    @property
    def num_wrong(self) -> int:
        """Detections that found nothing."""
        return sum(one.is_error for one in self.found)

    @property
    def num_missed(self) -> int:
        """Objects that weren't found."""
        return sum(one.is_error for one in self.truth)

    @property
    def rows(self) -> tuple[JudgedBox, ...]:
        """What a table tells: what was found, then what was missed."""
        return (*self.found, *(one for one in self.truth if not one.is_right))


@lru_cache(maxsize=256)
def judge(image: PreviewImage, class_names: tuple[str, ...], threshold: float) -> Judgement:
    """Tell what each box is.

    Args:
        image: With all its detections.
        class_names: What its labels mean.
        threshold: Detections below it are left out.
    """
    # Not before a picture is shown: the dashboard starts sooner.
    from engine.analysis import GroundTruth, judge_images  # noqa: PLC0415
    from engine.analysis.tables import ImageEntry, from_columns  # noqa: PLC0415

    truth = GroundTruth(
        images=(ImageEntry(0, image.name),), class_names=class_names, category_ids=tuple(range(len(class_names))),
        image=np.zeros(len(image.truth), dtype=np.int64),
        label=np.array([one.label for one in image.truth], dtype=np.int64),
        boxes_xywh=_xywh([one.box_xyxy for one in image.truth]),
        area=_xywh([one.box_xyxy for one in image.truth])[:, 2:].prod(axis=1),
        excused=np.array([one.excused for one in image.truth], dtype=bool),
    )  # fmt: skip
    found = from_columns(
        [0] * len(image.found), [one.label for one in image.found], _xywh([one.box_xyxy for one in image.found]),
        [one.score for one in image.found],
    )
    [judged] = judge_images(truth, found, threshold)

    def box(label: int, box_xywh: Box, score: float | None, verdict: str) -> JudgedBox:
        x, y, width, height = box_xywh
        name = printable(class_names[label][:_LONGEST_NAME])
        return JudgedBox(label, name, (x, y, x + width, y + height), score, verdict)

    return Judgement(
        tuple(box(one.label, one.box_xywh, one.score, one.verdict) for one in judged.detections),
        tuple(box(one.label, one.box_xywh, None, one.verdict) for one in judged.objects),
    )


def _xywh(boxes: list[Box]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    low, high = np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])
    return np.concatenate([low, high - low], axis=1)

"""Every code a dataset problem can carry, with its title. Codes are stable: none is ever reused."""

from __future__ import annotations

from typing import Final

FOLDER_MISSING: Final = "D100"
SPLIT_EMPTY: Final = "D101"
BOX_EMPTY: Final = "D102"
BOX_OUTSIDE: Final = "D103"
BOX_UNREADABLE: Final = "D104"
CLASS_UNKNOWN: Final = "D105"
SIZE_MISMATCH: Final = "D106"
ANNOTATION_MISSING: Final = "D107"
IMAGE_MISSING: Final = "D108"
IMAGE_UNREADABLE: Final = "D109"
ANNOTATION_UNREADABLE: Final = "D110"
TOO_LARGE: Final = "D111"
STEM_SHARED: Final = "D112"
CLASS_NOT_IN_TRAIN: Final = "D113"
CLASS_ONLY_OUTSIDE_TRAIN: Final = "D114"
FILE_IN_TWO_SPLITS: Final = "D115"
TRAIN_WITHOUT_BOXES: Final = "D116"
SPLIT_WITHOUT_BOXES: Final = "D117"
SIZE_UNKNOWN: Final = "D118"
ORIENTATION_RAW: Final = "D119"
ORIENTATION_UNCLEAR: Final = "D120"
NEGATIVE: Final = "D121"
NAME_DISAGREES: Final = "D122"
FORMAT_DISAGREES: Final = "D123"
PICTURE_CONVERTED: Final = "D124"
PATH_OUTSIDE: Final = "D125"
BOX_TWICE: Final = "D126"
FLAG_DROPPED: Final = "D127"
NAMES_DISAGREE: Final = "D128"
IMAGE_LEAKED: Final = "D129"
IMAGE_TWICE: Final = "D130"
IMAGE_NEARLY_LEAKED: Final = "D131"
IMAGE_NEARLY_TWICE: Final = "D132"
BOX_VANISHES: Final = "D133"
IMBALANCE: Final = "D134"
NOT_WRITTEN: Final = "D135"
MARK_LOST: Final = "D136"
DATASETS_DIFFER: Final = "D137"

TITLES: Final[dict[str, str]] = {
    FOLDER_MISSING: "folder or file missing",
    SPLIT_EMPTY: "split without images",
    BOX_EMPTY: "empty box",
    BOX_OUTSIDE: "box outside its image",
    BOX_UNREADABLE: "box that can't be read",
    CLASS_UNKNOWN: "class not in the map",
    SIZE_MISMATCH: "annotated size disagrees with the image",
    ANNOTATION_MISSING: "image without annotation",
    IMAGE_MISSING: "annotation without image",
    IMAGE_UNREADABLE: "image that can't be read",
    ANNOTATION_UNREADABLE: "annotation that can't be read",
    TOO_LARGE: "file refused for its size",
    STEM_SHARED: "several images share one annotation",
    CLASS_NOT_IN_TRAIN: "class of the map never labelled",
    CLASS_ONLY_OUTSIDE_TRAIN: "class never labelled in train",
    FILE_IN_TWO_SPLITS: "same image file in two places",
    TRAIN_WITHOUT_BOXES: "nothing to learn from",
    SPLIT_WITHOUT_BOXES: "nothing to measure on",
    SIZE_UNKNOWN: "annotation without image size",
    ORIENTATION_RAW: "labels drawn before EXIF rotation",
    ORIENTATION_UNCLEAR: "EXIF rotation that labels don't settle",
    NEGATIVE: "image without objects",
    NAME_DISAGREES: "annotation names another file",
    FORMAT_DISAGREES: "image isn't what its suffix says",
    PICTURE_CONVERTED: "picture that isn't 8-bit RGB",
    PATH_OUTSIDE: "path that leaves its folder",
    BOX_TWICE: "box drawn twice",
    FLAG_DROPPED: "difficult or truncated object",
    NAMES_DISAGREE: "class ids in doubt",
    IMAGE_LEAKED: "same picture in two splits",
    IMAGE_TWICE: "same picture twice in a split",
    IMAGE_NEARLY_LEAKED: "nearly the same picture in two splits",
    IMAGE_NEARLY_TWICE: "nearly the same picture twice in a split",
    BOX_VANISHES: "boxes too small for the input size",
    IMBALANCE: "class too rare beside others",
    NOT_WRITTEN: "file or folder that can't be written",
    MARK_LOST: "mark lost in conversion",
    DATASETS_DIFFER: "several datasets at once",
}
"""Code -> title, in order; the documentation has a section for each."""

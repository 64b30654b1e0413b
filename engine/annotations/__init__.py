"""Photos and their labels: read from Pascal VOC, COCO or YOLO into `ImageRecord`s, and audited.

`read_split` is what training reads; `audit` is what `engine check` shows; both take the same path.
"""

from engine.annotations.check import audit
from engine.annotations.grouping import group
from engine.annotations.picture import load_rgb
from engine.annotations.proportions import vanishing_boxes
from engine.annotations.read import read_split
from engine.annotations.records import Audit, ImageRecord, Split, SplitRead, SplitSummary

__all__ = [
    "Audit",
    "ImageRecord",
    "Split",
    "SplitRead",
    "SplitSummary",
    "audit",
    "group",
    "load_rgb",
    "read_split",
    "vanishing_boxes",
]

"""All that can be computed from ground truth and detections alone: figures, curves, errors, intervals.

No model and no torch. `analyse` says everything of a pair of both; `load_analysis` says it of a run.
"""

from engine.analysis.analyse import DEFAULT_SCORE, analyse, coco_figures
from engine.analysis.runfiles import load_analysis, read_measured, read_thresholds
from engine.analysis.schema import Analysis, CocoFigures, Thresholds
from engine.analysis.tables import Detections, GroundTruth
from engine.analysis.verdicts import JudgedImage, judge_images

__all__ = [
    "DEFAULT_SCORE",
    "Analysis",
    "CocoFigures",
    "Detections",
    "GroundTruth",
    "JudgedImage",
    "Thresholds",
    "analyse",
    "coco_figures",
    "judge_images",
    "load_analysis",
    "read_measured",
    "read_thresholds",
]

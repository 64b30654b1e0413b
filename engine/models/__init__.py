"""Builders of the detectors, their heads and their weights."""

from engine.models.build import build_detector
from engine.models.detector import Detection, Detector, Target

__all__ = ["Detection", "Detector", "Target", "build_detector"]

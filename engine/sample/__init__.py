"""A drawn data set that stands in for photos: mugs, laptops and keyboards on cluttered desks.

``engine sample DIR`` writes it, the quickstart trains on it and the tests look at it. Pillow draws
it, numpy chooses; torch is never imported.
"""

from engine.sample.scene import SAMPLE_CLASSES, SampleObject, Scene, draw_scene
from engine.sample.write import SampleCounts, write_sample

__all__ = [
    "SAMPLE_CLASSES",
    "SampleCounts",
    "SampleObject",
    "Scene",
    "draw_scene",
    "write_sample",
]

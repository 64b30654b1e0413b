"""Whether scores mean what they say: of detections with a score around 0.8, four in five should be right."""

from __future__ import annotations

import numpy as np

from engine.analysis.matching import Matches, Setting
from engine.analysis.schema import Calibration, ReliabilityBin

_NUM_BINS = 10


def calibration(setting: Setting, matches: Matches) -> Calibration | None:
    """Compare scores with the share of right detections at IoU 0.50; None without scores in [0, 1]."""
    counted = ~matches.excused[:, 0]
    score, right = setting.found.score[counted], matches.right[counted, 0]
    if not len(score) or score.min() < 0 or score.max() > 1:
        return None
    edges = np.linspace(0, 1, _NUM_BINS + 1)
    which = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, _NUM_BINS - 1)
    nums, scores, rights = (
        np.bincount(which, weights=values, minlength=_NUM_BINS) for values in (np.ones(len(score)), score, right)
    )
    bins = tuple(
        ReliabilityBin(
            low=float(edges[place].round(2)), high=float(edges[place + 1].round(2)), num_detections=int(num),
            mean_score=float(scores[place] / num) if num else None,
            share_right=float(rights[place] / num) if num else None,
        )
        for place, num in enumerate(nums)
    )
    return Calibration(bins=bins, ece=float(np.abs(scores - rights).sum() / len(score)))

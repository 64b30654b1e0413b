"""Which class was taken for which, the background included, at IoU 0.50."""

from __future__ import annotations

import numpy as np

from engine.analysis.matching import NOTHING, Matches, Pairs, Setting, pairs_of
from engine.analysis.schema import Confusion
from engine.analysis.tables import Flags, Ints


def confusion(setting: Setting, matches: Matches, score: float) -> Confusion:
    """Count, at a score threshold.

    Detections of the right class find their objects first, so that the diagonal is what precision and recall
    count as right. What is left of both is then paired without regard to class, the most overlapping first.

    Args:
        setting: What was matched.
        matches: Without regard to size.
        score: Only detections from this score on.
    """
    num_classes = len(setting.truth.class_names)
    counts = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)
    kept = setting.found.score >= score
    right = matches.right[:, 0] & kept
    labels = setting.found.label[right]
    np.add.at(counts, (labels, labels), 1)
    free_truth = matches.demanded.copy()
    free_truth[matches.truth[right, 0]] = False
    free_found = kept & ~right & ~matches.excused[:, 0]
    for found, truth in zip(*pair_rest(setting, free_found, free_truth), strict=True):
        counts[setting.truth.label[truth], setting.found.label[found]] += 1
        free_truth[truth] = free_found[found] = False
    counts[:, num_classes] += np.bincount(setting.truth.label[free_truth], minlength=num_classes + 1)
    counts[num_classes] += np.bincount(setting.found.label[free_found], minlength=num_classes + 1)
    return Confusion(score=score, counts=tuple(map(tuple, counts.tolist())))


def pair_rest(setting: Setting, free_found: Flags, free_truth: Flags) -> tuple[Ints, Ints]:
    """Pair detections and objects of any class that overlap by half or more, the most overlapping first."""
    found_rows, truth_rows = np.flatnonzero(free_found), np.flatnonzero(free_truth)
    pairs = pairs_of(
        setting.truth.select(truth_rows), setting.found.select(found_rows), least=0.5, same_class=False
    )
    chosen = _greedy(pairs, len(found_rows), len(truth_rows))
    return found_rows[pairs.found[chosen]], truth_rows[pairs.truth[chosen]]


def _greedy(pairs: Pairs, num_found: int, num_truth: int) -> Ints:
    """Pairs of which no two share a detection or an object."""
    of_found, of_truth = np.full(num_found, NOTHING), np.full(num_truth, NOTHING)
    for pair in np.argsort(-pairs.iou, kind="stable").tolist():
        found, truth = pairs.found[pair], pairs.truth[pair]
        if of_found[found] == NOTHING and of_truth[truth] == NOTHING:
            of_found[found] = of_truth[truth] = pair
    return np.asarray(of_found[of_found != NOTHING])

"""Which score threshold is best, and what a detector is worth there, at IoU 0.50."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.analysis.counting import ClassCounts
from engine.analysis.schema import Operating
from engine.analysis.tables import Floats

# Scores at which curves over the threshold are told.
SCORES: Floats = np.linspace(0, 1, 101)


def best_of_class(counts: ClassCounts) -> Operating | None:
    """At the threshold of the highest F1; of equal ones the highest threshold, for fewer detections are easier to read.

    None when no threshold finds anything.
    """
    candidates = np.unique(counts.score[counts.right[:, 0]])[::-1]
    return _best([counts], candidates)


def best_of_all(classes: Sequence[ClassCounts]) -> Operating | None:
    """At the one threshold for all classes of the highest mean F1 over the classes that have objects."""
    with_objects = [counts for counts in classes if counts.num_objects]
    if not with_objects:
        return None
    candidates = np.unique(np.concatenate([counts.score[counts.right[:, 0]] for counts in with_objects]))[::-1]
    return _best(with_objects, candidates, [*classes])


def _best(judged: Sequence[ClassCounts], candidates: Floats, told: Sequence[ClassCounts] = ()) -> Operating | None:
    if not len(candidates):
        return None
    f1 = np.mean([f1_at(counts, candidates) for counts in judged], axis=0)
    chosen = int(np.argmax(f1))
    score = _below(judged, float(candidates[chosen]))
    return operating(told or judged, score, float(f1[chosen]))


def _below(classes: Sequence[ClassCounts], score: float) -> float:
    """A short number between a score and the next lower one, so that rounding elsewhere can't leave the score out."""
    lower = [float(counts.score[counts.score < score].max(initial=-np.inf)) for counts in classes]
    bound = max([*lower, score - 0.02])
    middle = (bound + score) / 2
    for digits in range(2, 10):
        rounded = round(middle, digits)
        if bound < rounded <= score:
            return rounded
    return score


def f1_at(counts: ClassCounts, scores: Floats) -> Floats:
    """F1 when only detections from each score on count; 0 where nothing is right."""
    num_right, num_wrong = _counted(counts, scores)
    return 2 * num_right / np.maximum(num_right + num_wrong + counts.num_objects, 1)


def operating(classes: Sequence[ClassCounts], score: float, f1: float | None = None) -> Operating:
    """Counts of several classes together at a score; `f1` where it isn't that of the counts."""
    counted = [_counted(counts, np.array([score])) for counts in classes]
    num_right, num_wrong = (int(sum(int(one[part][0]) for one in counted)) for part in (0, 1))
    num_objects = sum(counts.num_objects for counts in classes)
    found = num_right + num_wrong
    return Operating(
        score=score, precision=num_right / found if found else None,
        recall=num_right / num_objects if num_objects else 0.0,
        f1=2 * num_right / (found + num_objects) if f1 is None and found + num_objects else (f1 or 0.0),
        num_right=num_right, num_wrong=num_wrong, num_missed=num_objects - num_right,
    )


def _counted(counts: ClassCounts, scores: Floats) -> tuple[Floats, Floats]:
    """How many detections from each score on are right and wrong."""
    num_kept = np.searchsorted(-counts.score, -scores, side="right")
    right = np.r_[0.0, np.cumsum(counts.right[:, 0])]
    wrong = np.r_[0.0, np.cumsum(counts.wrong[:, 0])]
    return right[num_kept], wrong[num_kept]

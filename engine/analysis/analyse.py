"""Ground truth and detections in, an `Analysis` out."""

from __future__ import annotations

import numpy as np

from engine.analysis.bootstrap import Resamples, num_resamples, resample
from engine.analysis.calibration import calibration
from engine.analysis.confusion import confusion
from engine.analysis.counting import ClassCounts, Tables, class_counts, count, voc_ap
from engine.analysis.matching import Setting, match
from engine.analysis.operating import SCORES, best_of_all, best_of_class, f1_at
from engine.analysis.schema import Analysis, ClassAnalysis, CocoFigures, Interval, Source, Speed, Thresholds
from engine.analysis.tables import Detections, Floats, GroundTruth
from engine.analysis.verdicts import error_costs, judge

# Told where no threshold is better than another.
DEFAULT_SCORE = 0.5
_UNKNOWN = Source()


def coco_figures(truth: GroundTruth, found: Detections) -> CocoFigures:
    """COCO's twelve figures alone."""
    return count(Setting.of(truth, found)).figures()


def best_thresholds(truth: GroundTruth, found: Detections) -> Thresholds | None:
    """The score thresholds of the best F1 alone, those that `analyse` tells; None when nothing was found."""
    setting = Setting.of(truth, found)
    matches = match(setting, (0.0, float("inf")), np.array([0.5]))
    counts = [class_counts(setting, matches, label) for label in range(len(truth.class_names))]
    best = best_of_all(counts)
    if best is None:
        return None
    own = (best_of_class(one) if one.num_objects else None for one in counts)
    scores = [best.score if one is None else one.score for one in own]
    return Thresholds(overall=best.score, per_class=dict(zip(truth.class_names, scores, strict=True)))


def analyse(
    truth: GroundTruth, found: Detections, *, source: Source = _UNKNOWN, speed: Speed | None = None
) -> Analysis:
    """Say all that can be said of detections.

    Args:
        truth: What there was to find.
        found: What was found.
        source: Where both are from.
        speed: What was measured while detecting.
    """
    return analysed(truth, found, source=source, speed=speed)[0]


def analysed(
    truth: GroundTruth, found: Detections, *, source: Source = _UNKNOWN, speed: Speed | None = None
) -> tuple[Analysis, Resamples | None]:
    """As `analyse`, and the resamples that its intervals are of; None with fewer than two images."""
    setting = Setting.of(truth, found)
    tables = count(setting)
    labels = range(len(truth.class_names))
    counts = [class_counts(setting, tables.matches, label) for label in labels]
    best = best_of_all(counts)
    # A single image says nothing of how much images differ.
    num_drawn = num_resamples(truth.num_demanded) if len(truth.images) > 1 else 0
    drawn = resample(setting, tables.matches, counts, num_drawn) if num_drawn else None
    classes = tuple(_class_analysis(setting, tables, counts[label], label, drawn) for label in labels)
    curves = [one.f1_by_score for one in classes if one.f1_by_score is not None]
    voc = [one.voc_ap50 for one in classes if one.voc_ap50 is not None]
    figures = tables.figures()
    analysis = Analysis(
        source=source, num_images=len(truth.images), num_objects=truth.num_demanded, num_detections=len(found),
        figures=figures, voc_ap50=float(np.mean(voc)) if voc else None, classes=classes, best=best,
        f1_by_score=_plain(np.mean(curves, axis=0)) if curves else None,
        confusion=confusion(setting, tables.matches, best.score if best else DEFAULT_SCORE),
        calibration=calibration(setting, tables.matches),
        errors=error_costs(setting, tables.matches, judge(setting, tables.matches)),
        intervals=_intervals(drawn, ("ap", "ap50", "ap75", "ar100"), figures), num_resamples=num_drawn, speed=speed,
    )
    return analysis, drawn


def _intervals(
    drawn: Resamples | None, names: tuple[str, ...], figures: CocoFigures, label: int | None = None
) -> dict[str, Interval]:
    found = {name: drawn.interval(name, getattr(figures, name), label) for name in names} if drawn else {}
    return {name: interval for name, interval in found.items() if interval is not None}


def _class_analysis(
    setting: Setting, tables: Tables, counts: ClassCounts, label: int, drawn: Resamples | None
) -> ClassAnalysis:
    own = setting.truth.label == label
    known = counts.num_objects > 0
    figures = tables.figures_of(label)
    return ClassAnalysis(
        name=setting.truth.class_names[label], num_images=len(np.unique(setting.truth.image[own])),
        num_objects=counts.num_objects, num_detections=len(counts.rows),
        figures=figures, voc_ap50=voc_ap(counts), best=best_of_class(counts) if known else None,
        precision50=_plain(tables.precision[label, 0, 0]) if known else None,
        precision75=_plain(tables.precision[label, 0, 5]) if known else None,
        f1_by_score=_plain(f1_at(counts, SCORES)) if known else None,
        intervals=_intervals(drawn, ("ap", "ap50"), figures, label),
    )


def _plain(values: Floats) -> tuple[float, ...]:
    """Curves need no more digits than a picture shows."""
    return tuple(np.round(values, 5).tolist())

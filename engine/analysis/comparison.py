"""Models side by side, on the same images, and whether their difference is more than luck.

All are judged by the same ground truth. The images are drawn anew in the same way for each model, so an image that
is hard for all of them moves all of them, and their difference stays: a paired bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from engine.analysis.analyse import analysed
from engine.analysis.bootstrap import Resamples, interval
from engine.analysis.schema import Analysis, CocoFigures, Interval, Source, Speed
from engine.analysis.tables import Detections, Floats, GroundTruth, ImageEntry, Ints
from engine.errors import EngineError

FORMAT = 1

FEWEST_IMAGES = 20
"""With fewer, a resample says little of other images: one that all of them happen to lack decides."""


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A model and what it found.

    Attributes:
        name: What to call it.
        truth: What it was measured by.
        found: What it found.
        source: Of which epoch, and on what.
        speed: How long it took, where that was measured.
    """

    name: str
    truth: GroundTruth
    found: Detections
    source: Source
    speed: Speed | None = None


class Behind(msgspec.Struct, frozen=True, kw_only=True):
    """How much a model lacks to the best one."""

    ap: float
    """AP of the best less its own."""
    interval: Interval | None
    """Where that would lie, 19 times in 20, with other images of the same kind; null with fewer than two images."""
    real: bool | None
    """Whether the interval leaves out zero: the difference is more than luck; null with too few images to tell."""
    share_better: float | None
    """In how many resamples this model was better than the best one, nevertheless."""


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A model in the ranking."""

    rank: int
    name: str
    epoch: int | None
    """Zero-based epoch of the weights."""
    figures: CocoFigures
    ap_interval: Interval | None
    ap_per_class: dict[str, float | None]
    f1: float | None
    """At the best score threshold."""
    score: float | None
    """That threshold."""
    median_s: float | None
    """Seconds an image, where it was measured."""
    behind: Behind | None
    """Null for the best, and where nothing could be measured."""


class RecipeDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the recipes that isn't the same in all of them."""

    key: str
    values: tuple[str, ...]
    """As TOML, in the order of the ranking."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Models side by side, the best by AP first."""

    format: int = FORMAT
    split: str
    num_images: int
    num_objects: int
    class_names: tuple[str, ...]
    models: tuple[Placed, ...]
    recipe_differences: tuple[RecipeDifference, ...] = ()
    notes: tuple[str, ...] = ()
    """What was left out so that all could be judged by the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """A comparison, and what was analysed for it.

    Attributes:
        comparison: The ranking.
        order: Place of each ranked model among the contenders.
        analyses: Of each, in the order of the ranking.
    """

    comparison: Comparison
    order: tuple[int, ...]
    analyses: tuple[Analysis, ...]


def compare(contenders: Sequence[Contender]) -> Compared:
    """Rank models by AP.

    Raises:
        EngineError: They have no image (X311) or no class (X312) in common.
    """
    aligned, notes = align(contenders)
    results = [analysed(one.truth, one.found, source=one.source, speed=one.speed) for one in aligned]
    order = sorted(range(len(results)), key=lambda place: -_or(results[place][0].figures.ap, -1.0))
    best = results[order[0]]
    models = tuple(
        _placed(rank, aligned[place], results[place], best if place != order[0] else None)
        for rank, place in enumerate(order, 1)
    )
    truth = aligned[0].truth
    comparison = Comparison(
        split=aligned[0].source.split, num_images=len(truth.images), num_objects=truth.num_demanded,
        class_names=truth.class_names, models=models, notes=tuple(notes),
    )
    return Compared(comparison, tuple(order), tuple(results[place][0] for place in order))


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _placed(
    rank: int, contender: Contender, result: tuple[Analysis, Resamples | None],
    best: tuple[Analysis, Resamples | None] | None,
) -> Placed:
    analysis = result[0]
    return Placed(
        rank=rank, name=contender.name, epoch=contender.source.epoch, figures=analysis.figures,
        ap_interval=analysis.intervals.get("ap"),
        ap_per_class={one.name: one.figures.ap for one in analysis.classes},
        f1=analysis.best.f1 if analysis.best else None, score=analysis.best.score if analysis.best else None,
        median_s=analysis.speed.median_s if analysis.speed else None, behind=_behind(result, best) if best else None,
    )


def _behind(own: tuple[Analysis, Resamples | None], best: tuple[Analysis, Resamples | None]) -> Behind | None:
    ap, best_ap = own[0].figures.ap, best[0].figures.ap
    if ap is None or best_ap is None:
        return None
    if own[1] is None or best[1] is None:
        return Behind(ap=best_ap - ap, interval=None, real=None, share_better=None)
    differences: Floats = best[1].overall["ap"] - own[1].overall["ap"]
    where = interval(differences, best_ap - ap)
    known = differences[~np.isnan(differences)]
    tells = where is not None and own[0].num_images >= FEWEST_IMAGES
    return Behind(
        ap=best_ap - ap, interval=where, real=where.low > 0 or where.high < 0 if where is not None and tells else None,
        share_better=float((known < 0).mean()) if len(known) else None,
    )


# --- the same images and classes for all ---


def align(contenders: Sequence[Contender]) -> tuple[list[Contender], list[str]]:
    """Judge all by the first one's ground truth, on the images and classes that all have.

    Returns:
        The contenders with the same ground truth, and what was left out, in words.

    Raises:
        EngineError: They have no image (X311) or no class (X312) in common.
    """
    first = contenders[0].truth
    images = [entry for entry in first.images if all(_key(entry) in _keys(one.truth) for one in contenders)]
    names = [name for name in first.class_names if all(name in one.truth.class_names for one in contenders)]
    if not images:
        raise EngineError.of(
            "X311", contenders[0].name, f"{', '.join(one.name for one in contenders[1:])} was measured on other images",
            "compare them on the same photos: name a folder of labelled ones, or a recipe, with --data",
        )
    if not names:
        raise EngineError.of(
            "X312", contenders[0].name, "the models have no class in common", "compare models of the same classes"
        )
    notes = []
    num_images = max(len(one.truth.images) for one in contenders)
    if len(images) < num_images:
        notes.append(f"compared on the {len(images)} images that all were measured on, of up to {num_images}")
    left_out = sorted({name for one in contenders for name in one.truth.class_names} - set(names))
    if left_out:
        notes.append(f"without the classes that not all know: {', '.join(left_out)}")
    cut = [_cut(one, images, names) for one in contenders]
    if any(not _same_objects(cut[0].truth, one.truth) for one in cut[1:]):
        notes.append(f"the labels differ between these runs; all are judged by those of {contenders[0].name}")
    return [replace(one, truth=cut[0].truth) for one in cut], notes


def _key(entry: ImageEntry) -> str:
    return entry.path or entry.file_name or str(entry.image_id)


def _keys(truth: GroundTruth) -> set[str]:
    return {_key(entry) for entry in truth.images}


def _cut(contender: Contender, images: Sequence[ImageEntry], names: Sequence[str]) -> Contender:
    """The part of a contender that is of these images and classes, told by their places."""
    truth, found = contender.truth, contender.found
    places = {_key(entry): place for place, entry in enumerate(images)}
    of_image = np.array([places.get(_key(entry), -1) for entry in truth.images], dtype=np.int64)
    of_label = np.array([names.index(name) if name in names else -1 for name in truth.class_names], dtype=np.int64)

    def kept(image: Ints, label: Ints) -> Ints:
        return np.flatnonzero((of_image[image] >= 0) & (of_label[label] >= 0))

    objects, detections = kept(truth.image, truth.label), kept(found.image, found.label)
    rows, picked = truth.select(objects), found.select(detections)
    cut = replace(
        rows, images=tuple(images), class_names=tuple(names), category_ids=tuple(range(len(names))),
        image=of_image[rows.image], label=of_label[rows.label],
    )
    return replace(
        contender, truth=cut, found=replace(picked, image=of_image[picked.image], label=of_label[picked.label])
    )


def _same_objects(first: GroundTruth, second: GroundTruth) -> bool:
    """Whether both demand the same, in whatever order; boxes to a hundredth of a pixel."""

    def sorted_rows(truth: GroundTruth) -> Floats:
        rows = np.column_stack([truth.image, truth.label, truth.excused, truth.boxes_xywh.round(2)])
        return np.asarray(rows[np.lexsort(rows.T)])

    one, other = sorted_rows(first), sorted_rows(second)
    return one.shape == other.shape and bool(np.array_equal(one, other))

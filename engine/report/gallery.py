"""The photos of a run that are worth a look: best, worst, and each kind of error, with every box and its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.analysis.matching import Setting, match
from engine.analysis.runfiles import Measured
from engine.analysis.tables import Flags, Floats
from engine.analysis.verdicts import judge
from engine.report.photos import Album, Photo

# Boxes below this are noise that no one would set a threshold to.
_LEAST_SCORE = 0.05
_MOST_BOXES = 150
# Usual width of a letter, in font sizes.
_LETTER = 0.62
_SHORT = {
    "classification": "wrong class", "localisation": "badly placed", "both": "wrong class and place",
    "duplicate": "twice", "background": "not labelled",
}


@dataclass(frozen=True, slots=True)
class Box:
    """A box as SVG draws it, in the photo's pixels.

    Attributes:
        kind: CSS classes: "right", "wrong", or "object truth".
        score: Its own; of an object, that of the detection which found it, None where none did.
    """

    x: float
    y: float
    width: float
    height: float
    kind: str
    words: str
    score: float | None
    text_x: float
    text_y: float


@dataclass(frozen=True, slots=True)
class Shot:
    """A photo with its boxes."""

    photo: str
    name: str
    caption: str
    width: int
    height: int
    font: float
    boxes: Sequence[Box]


@dataclass(frozen=True, slots=True)
class Shelf:
    """Some photos under a heading."""

    title: str
    words: str
    shots: Sequence[Shot]


@dataclass(frozen=True, slots=True)
class Gallery:
    """All photos of a run; `score` is where the threshold slider starts."""

    score: float
    albums: Sequence[Shelf]
    f1_by_score: Sequence[float] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """Every detection and object at IoU 0.50.

    Attributes:
        setting: In the order of which rows are told.
        right: (N,) found an object.
        excused: (N,) doesn't count.
        demanded: (M,) has to be found.
        finder_score: (M,) score of the detection that found it, NaN where none did.
        kinds: (N,) of wrong detections what they are, "" of others.
    """

    setting: Setting
    right: Flags
    excused: Flags
    demanded: Flags
    finder_score: Floats
    kinds: Sequence[str]


_SHELVES = {
    "classification": ("Wrong class", "The box fits an object, and is called something else."),
    "localisation": ("Badly placed", "The class is right, and the box overlaps its object by less than half."),
    "both": ("Wrong class, badly placed", "It overlaps an object by less than half, and is called something else."),
    "duplicate": ("Found twice", "A second box on an object that was found already."),
    "background": ("Nothing there", "A box where nothing was labelled. Look closely: a label may be missing."),
    "missed": ("Missed", "Objects that no box found."),
}


def make_gallery(
    measured: Measured, score: float, album: Album, *, per_shelf: int = 4, f1_by_score: Sequence[float] = ()
) -> Gallery | None:
    """Choose photos and draw their boxes; None when no photo can be shown.

    Args:
        measured: Ground truth and detections.
        score: The threshold at which photos are judged.
        album: Where photos are embedded.
        per_shelf: Photos a heading.
        f1_by_score: F1 at thresholds 0.00 to 1.00, told beside the slider.
    """
    judged = _judge(measured)
    shelves = []
    for title, words, images in _choose(judged, score):
        shots: list[Shot] = []
        for image in images:
            shot = _shot(judged, image, score, album) if len(shots) < per_shelf else None
            if shot is not None:
                shots.append(shot)
        if shots:
            shelves.append(Shelf(title, words, shots))
    return Gallery(score, shelves, f1_by_score) if shelves else None


def _judge(measured: Measured) -> _Judged:
    setting = Setting.of(measured.truth, measured.found)
    matches = match(setting, (0.0, float("inf")), np.array([0.5]))
    right, excused = matches.right[:, 0], matches.excused[:, 0]
    finder = np.full(len(setting.truth.image), np.nan)
    finder[matches.truth[right, 0]] = setting.found.score[right]
    kinds = judge(setting, matches).found
    kinds[right | excused] = ""
    return _Judged(setting, right, excused, matches.demanded, finder, [str(kind) for kind in kinds])


def _choose(judged: _Judged, score: float) -> list[tuple[str, str, list[int]]]:
    """Images of each shelf, the most telling first."""
    found, truth = judged.setting.found, judged.setting.truth
    num = len(truth.images)
    shown = (found.score >= score) & ~judged.excused
    right = np.bincount(found.image[shown & judged.right], minlength=num)
    wrong = np.bincount(found.image[shown & ~judged.right], minlength=num)
    unfound = judged.demanded & ~(judged.finder_score >= score)
    missed = np.bincount(truth.image[unfound], minlength=num)
    f1 = 2 * right / np.maximum(2 * right + wrong + missed, 1)
    interesting = np.flatnonzero(right + missed + wrong > 0)
    by_f1 = interesting[np.lexsort((-(right + missed)[interesting], f1[interesting]))]
    best = interesting[np.lexsort((-right[interesting], -f1[interesting]))]
    worst = [int(image) for image in by_f1 if f1[image] < 1]
    shelves = [
        ("Worst", "The photos with the lowest F1 at the best threshold.", worst),
        ("Best", "The photos with the highest F1, the fullest first.", [int(image) for image in best if right[image]]),
    ]
    kinds = np.array(judged.kinds, dtype=object)
    for kind, (title, words) in _SHELVES.items():
        if kind == "missed":
            images = np.argsort(-missed, kind="stable")[: np.count_nonzero(missed)]
        else:
            rows = np.flatnonzero((kinds == kind) & shown)
            images = found.image[rows[np.argsort(-found.score[rows], kind="stable")]]
        shelves.append((title, words, list(dict.fromkeys(int(image) for image in images))))
    return shelves


def _shot(judged: _Judged, image: int, score: float, album: Album) -> Shot | None:
    truth, found, names = judged.setting.truth, judged.setting.found, judged.setting.truth.class_names
    entry = truth.images[image]
    photo = album.add(Path(entry.path), (entry.width, entry.height)) if entry.path else None
    if photo is None:
        return None
    font = round(max(photo.width, photo.height) / 60, 1)
    objects = np.flatnonzero((truth.image == image) & judged.demanded)
    rows = np.flatnonzero((found.image == image) & (found.score >= _LEAST_SCORE) & ~judged.excused)
    rows = rows[np.argsort(-found.score[rows])][:_MOST_BOXES]
    boxes = [
        _box(truth.boxes_xywh[row], "object truth", f"{names[truth.label[row]]}, missed", finder, font, photo)
        for row, finder in zip(objects, judged.finder_score[objects], strict=True)
    ]
    boxes += [
        _box(found.boxes_xywh[row], "right" if judged.right[row] else "wrong", _words(judged, row), score, font, photo)
        for row, score in zip(rows[::-1], found.score[rows[::-1]], strict=True)
    ]
    shown = rows[found.score[rows] >= score]
    num_right = int(judged.right[shown].sum())
    missed = int((~(judged.finder_score[objects] >= score)).sum())
    caption = f"{entry.file_name}: {num_right} right, {len(shown) - num_right} wrong, {missed} missed"
    return Shot(photo.key, entry.file_name, caption, photo.width, photo.height, font, boxes)


def _words(judged: _Judged, row: int) -> str:
    found = judged.setting.found
    name = judged.setting.truth.class_names[found.label[row]]
    kind = judged.kinds[row]
    return f"{name} {found.score[row]:.2f}" + (f" {_SHORT[kind]}" if kind else "")


def _box(xywh: Floats, kind: str, words: str, score: float, font: float, photo: Photo) -> Box:
    x, y, width, height = (round(float(value), 1) for value in xywh)
    # Words begin at the box's corner, and end within the photo.
    text_x = max(0.0, min(x, photo.width - _LETTER * font * len(words)))
    text_y = y - 0.3 * font if y > 1.4 * font else y + 1.1 * font
    known = None if np.isnan(score) else float(score)
    return Box(x, y, width, height, kind, words, known, round(text_x, 1), round(text_y, 1))

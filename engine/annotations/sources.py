"""List what a split consists of: each image with its annotation, whatever the format keeps them in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.annotations import codes
from engine.annotations.findings import Findings
from engine.annotations.folders import list_images, list_labels
from engine.annotations.raw import RawAnnotation
from engine.annotations.records import SPLITS
from engine.annotations.voc import read_voc
from engine.errors import DataError, Where
from engine.recipe.schema import Dataset, SplitPaths


@dataclass(frozen=True, slots=True)
class Item:
    """An image to be read, and how to get at what is written about it.

    Attributes:
        image_path: The image file.
        annotation_path: Its annotation; None when it has none and counts as a negative.
        read: Reads the annotation; may raise `DataError`.
    """

    image_path: str
    annotation_path: str | None
    read: Callable[[], RawAnnotation]


def list_items(dataset: Dataset, paths: SplitPaths, findings: Findings) -> list[Item]:
    """The images of a split, sorted by path; what can't be paired goes to the findings.

    Args:
        dataset: Format and policies.
        paths: Where the split lives.
        findings: Told of missing folders, images and annotations.

    Returns:
        The pairs that can be read; empty when a folder is missing.
    """
    try:
        images = list_images(paths.images)
        labels = list_labels(paths.annotations, ".xml")
    except DataError as error:
        findings.add_all(error)
        return []
    _tell_missing_images(dataset, paths, labels, images, findings)
    items = [_item(dataset, images[stem], labels.get(stem, []), paths.annotations / stem, findings) for stem in images]
    return sorted((item for item in items if item is not None), key=lambda item: item.image_path)


def _item(dataset: Dataset, images: list[str], labels: list[str], expected: Path, findings: Findings) -> Item | None:
    if len(images) > 1:
        others = ", ".join(Path(path).name for path in images)
        found = f"{len(images)} images have the same name but for the suffix ({others}): which one is labelled?"
        findings.fault(codes.STEM_SHARED, Where(images[0]), found, "rename or delete all but one")
        return None
    image = images[0]
    if labels:
        label = labels[0]
        return Item(image, label, lambda: read_voc(label))
    if dataset.missing_annotations == "error":
        findings.fault(
            codes.ANNOTATION_MISSING,
            Where(image),
            f"image without annotation: {expected}.xml is missing",
            'label it; if it shows no object, set dataset.missing_annotations = "negative", or "skip" to leave it out',
        )
        return None
    negative = dataset.missing_annotations == "negative"
    action = "taken as pictures without objects" if negative else "images left out"
    findings.settled(codes.ANNOTATION_MISSING, action, Where(image), key="dataset.missing_annotations")
    return Item(image, None, lambda: RawAnnotation(form="xyxy")) if negative else None


def _tell_missing_images(
    dataset: Dataset,
    paths: SplitPaths,
    labels: dict[str, list[str]],
    images: dict[str, list[str]],
    findings: Findings,
) -> None:
    unpaired = [stem for stem in labels if stem not in images]
    elsewhere = _stems_of_neighbours(dataset, paths) if unpaired else frozenset()
    for stem in unpaired:
        if stem in elsewhere:
            continue
        where = Where(labels[stem][0])
        if dataset.missing_images == "skip":
            findings.settled(codes.IMAGE_MISSING, "annotations left out", where, key="dataset.missing_images")
            continue
        found = f"annotation without image: no picture named {Path(stem).name} in {paths.images}"
        fix = 'add the image or delete the annotation, or set dataset.missing_images = "skip"'
        findings.fault(codes.IMAGE_MISSING, where, found, fix)


def _stems_of_neighbours(dataset: Dataset, paths: SplitPaths) -> frozenset[str]:
    """Images of the other splits that keep their annotations in the same folder."""
    stems: set[str] = set()
    for split in SPLITS:
        other: SplitPaths | None = getattr(dataset, split)
        if other is not None and other.annotations == paths.annotations and other.images != paths.images:
            try:
                stems.update(list_images(other.images))
            except DataError:
                continue  # told where that split is read
    return frozenset(stems)

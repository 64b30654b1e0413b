"""List what a split consists of: each image with what is written about it, whatever the format."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from engine.annotations import codes
from engine.annotations.coco import read_coco
from engine.annotations.findings import Findings
from engine.annotations.folders import by_stem, composed, list_files, stem, suffix_of
from engine.annotations.picture import IMAGE_SUFFIXES, PictureFacts
from engine.annotations.raw import RawAnnotation
from engine.annotations.records import SPLITS, Split
from engine.annotations.scan import look_at
from engine.annotations.voc import read_voc
from engine.annotations.yolo import read_names, read_yolo
from engine.errors import DataError, Problem, Where
from engine.recipe.schema import Classes, Dataset, SplitPaths

# What labelling tools leave among YOLO label files.
_NOT_LABELS = frozenset({"classes", "obj", "predefined_classes"})


@dataclass(frozen=True, slots=True)
class Item:
    """An image to be read, and how to get at what is written about it.

    Attributes:
        image_path: The image file.
        name: Its name relative to the split's folder of images, with forward slashes.
        annotation_path: Its annotation; None when it has none.
        read: Reads the annotation; may raise `DataError`.
        lack: That it has no annotation and may not go without; None when all is well. See `tell_lack`.
    """

    image_path: str
    name: str
    annotation_path: str | None
    read: Callable[[], RawAnnotation]
    lack: Problem | None = None


@dataclass(frozen=True, slots=True)
class _Lister:
    """One split being listed."""

    dataset: Dataset
    classes: Classes
    split: Split
    findings: Findings

    def belongs(self, name: str) -> bool:
        """Whether an image of train's folders, by its relative name, is in this split."""
        dataset = self.dataset
        if dataset.val_fraction is None or self.split == "test":
            return True
        return is_drawn(stem(name), dataset.val_fraction, dataset.split_seed) == (self.split == "val")


def list_items(dataset: Dataset, classes: Classes, split: Split, findings: Findings) -> list[Item]:
    """The images of a split, sorted by path; what can't be paired goes to the findings.

    Args:
        dataset: Where it lives, format and policies.
        classes: The class map; names the ids of YOLO labels where no file does.
        split: Which one.
        findings: Told of missing folders, images and annotations.

    Returns:
        The pairs that can be read, and images that lack an annotation; nothing from a place that can't be.
    """
    lister = _Lister(dataset, classes, split, findings)
    items: dict[str, Item] = {}
    for root in dataset.roots(split):
        try:
            listed = _coco_items(lister, root) if dataset.format == "coco" else _folder_items(lister, root)
            for item in listed:
                if items.setdefault(item.image_path, item) is not item:
                    found = f"the image is listed twice in {split}: two of its places overlap"
                    fix = f"remove one of the places from dataset.{split}"
                    findings.fault(codes.FILE_IN_TWO_SPLITS, Where(item.image_path), found, fix)
        except DataError as error:
            findings.add_all(error)
    return [items[path] for path in sorted(items)]


def is_drawn(name: str, fraction: float, seed: int) -> bool:
    """Whether an image is drawn for validation: by its name alone, so that others don't matter.

    Args:
        name: Relative name without suffix.
        fraction: Share to be drawn, from 0 to 1.
        seed: Another number draws others.
    """
    digest = hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < fraction * 2**64


# --- one label file an image: VOC and YOLO ---


def _folder_items(lister: _Lister, root: SplitPaths) -> Iterator[Item]:
    dataset = lister.dataset
    images = by_stem(list_files(root.images, IMAGE_SUFFIXES))
    suffix = ".txt" if dataset.format == "yolo" else ".xml"
    labels = by_stem(list_files(root.annotations, frozenset({suffix})))
    read: Callable[[str], RawAnnotation] = read_voc
    if dataset.format == "yolo":
        read = partial(read_yolo, names=_yolo_names(lister, labels))
        labels = {name: paths for name, paths in labels.items() if name in images or Path(name).name not in _NOT_LABELS}
    _tell_lonely_labels(lister, root, labels, images)
    elsewhere = (
        _labelled_elsewhere(dataset, root, suffix) if any(name not in labels for name in images) else frozenset()
    )
    for name, paths in images.items():
        if not lister.belongs(name) or (name in elsewhere and name not in labels):
            continue
        if len(paths) > 1:
            others = ", ".join(Path(path).name for path in paths)
            found = f"{len(paths)} images have the same name but for the suffix ({others}): which one is labelled?"
            lister.findings.fault(codes.STEM_SHARED, Where(paths[0]), found, "rename or delete all but one")
        elif name in labels:
            yield Item(paths[0], name + suffix_of(paths[0]), labels[name][0], partial(read, labels[name][0]))
        else:
            image_name = name + suffix_of(paths[0])
            yield from _unlabelled(lister, paths[0], image_name, f"{root.annotations / name}{suffix} is missing")


def _yolo_names(lister: _Lister, labels: dict[str, list[str]]) -> dict[int, str]:
    if lister.dataset.names_file is not None:
        return read_names(lister.dataset.names_file)
    beside = labels.get("classes")
    names = dict(enumerate(lister.classes.names))
    if beside is not None and read_names(Path(beside[0])) != names:
        found = "the class ids aren't those of classes.names, which counts as long as names_file isn't set"
        fix = f'set dataset.names_file = "{beside[0]}", or delete that file'
        lister.findings.fault(codes.NAMES_DISAGREE, Where(beside[0]), found, fix)
    return names


def _tell_lonely_labels(
    lister: _Lister, root: SplitPaths, labels: dict[str, list[str]], images: dict[str, list[str]]
) -> None:
    lonely = [name for name in labels if name not in images and lister.belongs(name)]
    elsewhere = _stems_of_neighbours(lister.dataset, root) if lonely else frozenset()
    for name in lonely:
        if name not in elsewhere:
            _tell_missing_image(lister, Where(labels[name][0]), f"no picture named {name} in {root.images}")


def _tell_missing_image(lister: _Lister, where: Where, found: str) -> None:
    fix = 'add the image or delete the annotation, or set dataset.missing_images = "skip"'
    problem = Problem(codes.IMAGE_MISSING, where, f"annotation without image: {found}", fix)
    policy = lister.dataset.missing_images
    lister.findings.by_policy(policy, problem, key="dataset.missing_images", action="annotations left out")


def _stems_of_neighbours(dataset: Dataset, root: SplitPaths) -> frozenset[str]:
    """Images of other places that keep their annotations in the same folder."""
    stems: set[str] = set()
    for other in _neighbours(dataset, root):
        try:
            stems.update(by_stem(list_files(other.images, IMAGE_SUFFIXES)))
        except DataError:
            continue  # told where that place is read
    return frozenset(stems)


def _neighbours(dataset: Dataset, root: SplitPaths) -> Iterator[SplitPaths]:
    for split in SPLITS:
        for other in dataset.roots(split):
            if other.annotations == root.annotations and other.images != root.images:
                yield other


def _labelled_elsewhere(dataset: Dataset, root: SplitPaths, suffix: str) -> frozenset[str]:
    """Images of a folder that several places share, labelled in another place's folder."""
    stems: set[str] = set()
    for split in SPLITS:
        for other in dataset.roots(split):
            if other.images == root.images and other.annotations != root.annotations:
                try:
                    stems.update(by_stem(list_files(other.annotations, frozenset({suffix}))))
                except DataError:
                    continue  # told where that place is read
    return frozenset(stems)


def _unlabelled(lister: _Lister, image: str, name: str, found: str) -> Iterator[Item]:
    policy = lister.dataset.missing_annotations
    negative = policy == "negative"
    fix = 'label it; if it shows no object, set dataset.missing_annotations = "negative", or "skip" to leave it out'
    problem = Problem(codes.ANNOTATION_MISSING, Where(image), f"image without annotation: {found}", fix)
    if policy == "error":
        yield Item(image, name, None, partial(_refuse, problem), problem)
        return
    action = "taken as pictures without objects" if negative else "images left out"
    lister.findings.by_policy(policy, problem, key="dataset.missing_annotations", action=action)
    if negative:
        yield Item(image, name, None, lambda: RawAnnotation("xyxy"))


def _refuse(problem: Problem) -> RawAnnotation:
    raise DataError((problem,))


def tell_lack(item: Item, seen: PictureFacts | DataError, dataset: Dataset, findings: Findings) -> None:
    """Tell of an image that lacks its annotation: that it does, or that nobody could label it.

    Args:
        item: The image.
        seen: What was seen of it; when only its header was, it is decoded here.
        dataset: The policy on images that can't be read.
        findings: Told.
    """
    assert item.lack is not None
    fault = seen
    if isinstance(fault, PictureFacts) and not fault.thumbnail:
        fault = next(look_at([item.image_path], decode=True))
    if isinstance(fault, PictureFacts):
        findings.add(item.lack)
        return
    for problem in fault.problems:
        findings.by_policy(
            dataset.unreadable_images, problem, key="dataset.unreadable_images", action="images left out"
        )


# --- one file about many images: COCO ---


def _coco_items(lister: _Lister, root: SplitPaths) -> Iterator[Item]:
    if not root.annotations.is_file():
        fix = 'give the JSON file: train = { images = "folder", annotations = "labels.json" }'
        raise DataError.of(codes.FOLDER_MISSING, str(root.annotations), "is not a file", fix)
    images = list_files(root.images, IMAGE_SUFFIXES)
    file = read_coco(root.annotations)
    json_path = str(root.annotations)
    listed = {composed(name): raw for name, raw in file.images.items() if lister.belongs(composed(name))}
    for name, raw in listed.items():
        if name.startswith(("../", "/")) or name in ("..", "."):
            found = f'"{raw.filename[:200]}" leads out of {root.images}'
            fix = "write file names relative to the folder of images"
            lister.findings.fault(codes.PATH_OUTSIDE, Where(json_path, item=raw.within[:200]), found, fix)
        elif name in images:
            yield Item(images[name], name, json_path, partial(_given, raw))
        else:
            where = Where(json_path, item=raw.within[:200])
            _tell_missing_image(lister, where, f"no such picture in {root.images}")
    for orphan in file.orphans if lister.split != "val" or lister.dataset.val_fraction is None else ():
        _tell_missing_image(lister, Where(json_path, item=orphan), "the file doesn't list that image")
    unlisted = [name for name in images if name not in listed and lister.belongs(name)]
    elsewhere = _names_of_other_files(lister.dataset, root) if unlisted else frozenset()
    for name in unlisted:
        if name not in elsewhere:
            yield from _unlabelled(lister, images[name], name, f"{PurePosixPath(json_path).name} doesn't list it")


def _given(raw: RawAnnotation) -> RawAnnotation:
    return raw


def _names_of_other_files(dataset: Dataset, root: SplitPaths) -> frozenset[str]:
    """Images that other COCO files list in the same folder."""
    names: set[str] = set()
    for split in SPLITS:
        for other in dataset.roots(split):
            if other.images == root.images and other.annotations != root.annotations:
                try:
                    names.update(composed(name) for name in read_coco(other.annotations).images)
                except DataError:
                    continue  # told where that file is read
    return frozenset(names)

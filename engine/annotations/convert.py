"""Write a dataset in another format, under a new folder, without judging it.

Everything that a detection dataset says is carried over as far as the target can hold it: empty
and outside boxes, classes that no map knows. Outlines (COCO and YOLO segmentations) are not: boxes
are what is trained on. What is lost is told. The originals are never touched.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from engine.annotations import codes
from engine.annotations.findings import Findings
from engine.annotations.folders import stem
from engine.annotations.lines import moved
from engine.annotations.picture import PictureFacts
from engine.annotations.raw import RawAnnotation, xyxy
from engine.annotations.records import SPLITS, Split
from engine.annotations.scan import look_at
from engine.annotations.sources import Item, list_items, tell_lack
from engine.annotations.writers import Described, coco_file, lost_in_yolo, turned, voc_xml, yolo_lines
from engine.errors import DataError, Problem, Where, printable
from engine.recipe.schema import Classes, Dataset, SplitPaths

Format = Literal["voc", "coco", "yolo"]
_LABEL_SUFFIX: dict[Format, str] = {"voc": ".xml", "yolo": ".txt"}


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written.

    Attributes:
        dataset: What a recipe should say of it now: the places, and the policies that still have something to decide.
        places: Split name -> where it is now.
        names_file: The file that names YOLO's class ids; None for other formats.
        num_images: Images written.
        num_objects: Objects written.
        problems: What couldn't be carried over, and what was wrong with the source.
    """

    dataset: Dataset
    places: Mapping[str, SplitPaths]
    names_file: Path | None
    num_images: int
    num_objects: int
    problems: tuple[Problem, ...]


def convert(
    dataset: Dataset, classes: Classes, *, to: Format, out_dir: Path, link: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Conversion:  # fmt: skip
    """Write a dataset in another format.

    Args:
        dataset: The source; its places, how its numbers are meant, its policies on missing and unreadable files.
        classes: Their order becomes that of class ids; further classes follow in the order of their names.
        to: The format to write.
        out_dir: A folder that is new or empty; gets a folder for each split.
        link: Hard links to the images where the file system can, instead of copies.
        on_progress: Called with (images done, images in all).

    Raises:
        DataError: `out_dir` is taken or can't be written (D135); a split has no usable image (why, or D101).
    """
    require_free(dataset, out_dir)
    findings = {split: Findings(split, str(out_dir / split)) for split in SPLITS if dataset.roots(split)}
    described = _describe_all(dataset, classes, to, findings)
    used = {written.name for images in described.values() for image, _ in images for written in image.raw.objects}
    names = (*classes.names, *sorted(used - set(classes.names)))
    try:
        places = _write_all(described, names, to, out_dir, findings)
        names_file = write_names(dict(enumerate(names)), out_dir) if to == "yolo" else None
        _bring_all(described, places, on_progress, link=link)
    except OSError as fault:
        raise not_written(out_dir, fault) from fault
    return Conversion(
        dataset=moved(dataset, places, names_file, form=to),
        places=places,
        names_file=names_file,
        num_images=sum(len(images) for images in described.values()),
        num_objects=sum(len(image.raw.objects) for images in described.values() for image, _ in images),
        problems=tuple(problem for found in findings.values() for problem in found.problems()),
    )


def _describe_all(
    dataset: Dataset, classes: Classes, to: Format, findings: Mapping[Split, Findings]
) -> dict[Split, list[tuple[Described, str]]]:
    """What is to be written of each split, with the image files it is about."""
    described = {}
    for split, found in findings.items():
        described[split] = _describe(dataset, list_items(dataset, classes, split, found), to, found)
        if not described[split]:
            raise nothing_in(split, found.problems())
    return described


def require_free(dataset: Dataset, out_dir: Path) -> None:
    """Refuse a folder that holds something, or lies among the dataset's own files (D135)."""
    fix = "choose a folder that is new or empty; nothing is ever overwritten"
    if printable(str(out_dir)) != str(out_dir):
        found = "the name holds characters that a recipe shouldn't"
        raise DataError.of(codes.NOT_WRITTEN, str(out_dir), found, "choose a name of letters and digits")
    try:
        taken = out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir()))
        new = out_dir.resolve()
    except OSError as fault:
        raise not_written(out_dir, fault) from fault
    if taken:
        raise DataError.of(codes.NOT_WRITTEN, str(out_dir), "there is something already", fix)
    for root in (root for split in SPLITS for root in dataset.roots(split)):
        for place in (root.images, root.annotations):
            if new.is_relative_to(place.resolve()):
                found = f"lies within the dataset itself ({place}), which is never touched"
                raise DataError.of(codes.NOT_WRITTEN, str(out_dir), found, "choose a folder beside it")


def not_written(out_dir: Path, fault: OSError) -> DataError:
    """The error for a disk that is full or may not be written (D135)."""
    fix = "free space or choose another folder; what was begun there may be removed"
    place = str(fault.filename2 or fault.filename or out_dir)
    return DataError((Problem(codes.NOT_WRITTEN, Where(place), f"can't be written: {fault.strerror}", fix),))


def nothing_in(split: str, problems: Sequence[Problem]) -> DataError:
    """The error for a split without a usable image: why that is, or D101."""
    errors = [problem for problem in problems if problem.severity == "error"]
    fix = "see what `engine check` says of this split"
    found = f"split {split} has no image that can be written"
    return DataError(errors or [Problem(codes.SPLIT_EMPTY, Where(item=f"dataset.{split}"), found, fix)])


# --- what is written about each image, in pixels ---


def _describe(dataset: Dataset, items: Sequence[Item], to: Format, findings: Findings) -> list[tuple[Described, str]]:
    described: dict[str, tuple[Described, str]] = {}
    for item, facts in zip(items, look_at([item.image_path for item in items], decode=False), strict=True):
        if item.lack is not None:
            tell_lack(item, facts, dataset, findings)
            continue
        if item.name in described:
            found = f"another image of this split is called {item.name}, in another place"
            findings.fault(codes.STEM_SHARED, Where(item.image_path), found, "rename one of the two")
            continue
        if not _nameable(item, to, findings):
            continue
        try:
            raw = _readable(item, item.read(), findings)
        except DataError as error:
            _leave_out(dataset.unreadable_annotations, "dataset.unreadable_annotations", error, findings)
            continue
        if isinstance(facts, DataError):
            _leave_out(dataset.unreadable_images, "dataset.unreadable_images", facts, findings)
            continue
        described[item.name] = (_described(dataset, item, facts, raw, to, findings), item.image_path)
    return list(described.values())


def _leave_out(policy: str, key: str, error: DataError, findings: Findings) -> None:
    for problem in error.problems:
        findings.by_policy(policy, problem, key=key, action="images left out")


def _nameable(item: Item, to: Format, findings: Findings) -> bool:
    try:
        item.name.encode()
    except UnicodeEncodeError:
        if to != "yolo":
            found = "the file's name isn't text in UTF-8, which this format can't hold"
            findings.fault(codes.NOT_WRITTEN, Where(item.image_path), found, "rename the image and its annotation")
            return False
    return True


def _readable(item: Item, raw: RawAnnotation, findings: Findings) -> RawAnnotation:
    """The annotation without objects whose numbers mean nothing, which no format can hold."""
    kept = []
    for written in raw.objects:
        if not written.fault and all(map(math.isfinite, written.numbers)):
            kept.append(written)
            continue
        place = f'{written.ref} "{written.name[:200]}"'
        where = Where(item.annotation_path or item.image_path, written.line, item=place)
        fault = written.fault or "not a finite number"
        findings.add(Problem(codes.BOX_UNREADABLE, where, f"object left out: {fault}", "correct it", "warning"))
    return RawAnnotation(raw.form, tuple(kept), raw.size, raw.filename, raw.within)


def _described(
    dataset: Dataset, item: Item, facts: PictureFacts, raw: RawAnnotation, to: Format, findings: Findings
) -> Described:
    stored = (facts.width, facts.height)
    told_by_size = raw.size == stored != facts.shown_size
    on_stored = dataset.exif_orientation == "ignore" or (dataset.exif_orientation == "auto" and told_by_size)
    drawn_on = stored if on_stored else facts.shown_size
    corners = tuple(xyxy(raw.form, written.numbers, drawn_on, dataset.first_pixel) for written in raw.objects)
    if not on_stored or facts.orientation == 1:
        return Described(item.name, raw.size or drawn_on, raw, corners)
    if told_by_size and to != "yolo":
        return Described(item.name, stored, raw, corners)
    # The target doesn't tell that boxes were drawn before the rotation, so they are rotated.
    findings.settled(codes.ORIENTATION_RAW, "their boxes are turned with the picture", Where(item.image_path))
    corners = tuple(turned(box, facts.orientation, stored) for box in corners)
    return Described(item.name, facts.shown_size, RawAnnotation("xyxy", raw.objects), corners)


# --- files ---


def _write_all(
    described: Mapping[Split, Sequence[tuple[Described, str]]],
    names: Sequence[str],
    to: Format,
    out_dir: Path,
    findings: Mapping[Split, Findings],
) -> dict[str, SplitPaths]:
    return {
        split: _write_labels([image for image, _ in images], names, to, out_dir / split, findings[split])
        for split, images in described.items()
    }


def _write_labels(
    images: Sequence[Described], names: Sequence[str], to: Format, out_dir: Path, findings: Findings
) -> SplitPaths:
    images_dir = out_dir / "images"
    images_dir.mkdir(parents=True)
    if to == "coco":
        path = out_dir / "annotations.json"
        path.write_text(json.dumps(coco_file(images, names), ensure_ascii=False, allow_nan=False), encoding="utf-8")
        return SplitPaths(images=images_dir, annotations=path)
    labels_dir = out_dir / ("labels" if to == "yolo" else "annotations")
    labels_dir.mkdir()
    ids = {name: number for number, name in enumerate(names)}
    for image in images:
        path = labels_dir / f"{stem(image.name)}{_LABEL_SUFFIX[to]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = _voc_or_tell(image, findings) if to == "voc" else yolo_lines(image, ids).encode()
        if path.exists():
            found = f"another image is called {stem(image.name)} but for the suffix, and both would share a label file"
            findings.fault(codes.STEM_SHARED, Where(image.name), found, "rename one of the two")
        elif content is not None:
            path.write_bytes(content)
    if to == "yolo":
        _tell_lost(images, findings)
    return SplitPaths(images=images_dir, annotations=labels_dir)


def _voc_or_tell(image: Described, findings: Findings) -> bytes | None:
    try:
        return voc_xml(image)
    except ValueError:
        found = "a name in its annotation holds characters that XML can't hold"
        findings.fault(codes.ANNOTATION_UNREADABLE, Where(image.name), found, "rename the class")
        return None


def _tell_lost(images: Iterable[Described], findings: Findings) -> None:
    for image in images:
        for mark, count in lost_in_yolo(image.raw.objects).items():
            for _ in range(count):
                action = "YOLO labels can't hold these marks"
                findings.settled(codes.MARK_LOST, action, Where(image.name), detail=mark)


def write_names(names: Mapping[int, str], out_dir: Path) -> Path:
    """The `data.yaml` that names YOLO's class ids."""
    path = out_dir / "data.yaml"
    path.write_text(yaml.safe_dump({"names": dict(names)}, allow_unicode=True), encoding="utf-8")
    return path


def _bring_all(
    described: Mapping[Split, Sequence[tuple[Described, str]]],
    places: Mapping[str, SplitPaths],
    on_progress: Callable[[int, int], None] | None,
    *,
    link: bool,
) -> None:
    sources = [
        (source, places[split].images / image.name) for split, images in described.items() for image, source in images
    ]
    for done, (source, target) in enumerate(sources, start=1):
        bring(source, target, link=link)
        if on_progress is not None:
            on_progress(done, len(sources))


def bring(source: str, target: Path, *, link: bool = False) -> None:
    """Copy an image into place, or link it where the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        with contextlib.suppress(OSError):
            target.hardlink_to(Path(source).resolve())
            return
    shutil.copyfile(source, target)

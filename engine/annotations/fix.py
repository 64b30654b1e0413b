"""Write a corrected copy of a dataset into a new folder, and say what differs. The original is never touched.

Corrected is what can be without a doubt. Images that can't be read, have no annotation or are copies are left
out; nothing becomes a picture without objects by itself. Classes that no map knows stay, for a person to decide.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.annotations import codes
from engine.annotations.convert import bring, not_written, nothing_in, require_free, write_names
from engine.annotations.duplicates import digest
from engine.annotations.folders import composed, stem, suffix_of
from engine.annotations.ledger import Change, Ledger, write_log
from engine.annotations.lines import moved
from engine.annotations.mend import Mended, Mender, is_class_name, repairing
from engine.annotations.picture import PictureFacts, save_upright
from engine.annotations.raw import RawAnnotation
from engine.annotations.records import SPLITS, Split
from engine.annotations.scan import look_at
from engine.annotations.sources import Item, list_items, tell_lack
from engine.annotations.spelling import corrections
from engine.annotations.writers import coco_file, voc_xml, yolo_lines
from engine.annotations.yolo import read_names
from engine.errors import DataError, Where
from engine.recipe.schema import Classes, Dataset, SplitPaths

_UNNAMED_ID = re.compile(r"class id (\d+)")
_NOT_TEXT = re.compile("[\ud800-\udfff]")
_SETTLED = frozenset({
    "unreadable_images", "empty_boxes", "outside_boxes", "size_mismatch", "exif_orientation",
})  # fmt: skip

_Read = tuple[Item, RawAnnotation, PictureFacts]


@dataclass(frozen=True, slots=True)
class Fixed:
    """A corrected copy.

    Attributes:
        dataset: What a recipe should say of it.
        classes: The recipe's class map, with `unknown` among the ignored.
        unknown: Class -> objects, of classes that the map doesn't know; they are in the copy as they were.
        changes: Everything that differs from the original.
        num_images: Images written.
        num_objects: Objects written.
    """

    dataset: Dataset
    classes: Classes
    unknown: Mapping[str, int]
    changes: tuple[Change, ...]
    num_images: int
    num_objects: int


def fix(
    dataset: Dataset, classes: Classes, *, out_dir: Path, on_progress: Callable[[int, int], None] | None = None
) -> Fixed:
    """Write a corrected copy of a dataset, in its own format.

    Args:
        dataset: The original; policies that settle dirt otherwise than by an error are followed.
        classes: The class map.
        out_dir: A folder that is new or empty; gets a folder for each split, `FIXES.md` and `fixes.json`.
        on_progress: Called with (images read, images in all).

    Raises:
        DataError: `out_dir` is taken or can't be written (D135); a folder, list or file of names can't be read;
            nothing would be left of a split. Nothing is written then, unless the disk fills up.
    """
    require_free(dataset, out_dir)
    ledgers = {split: Ledger(split, str(out_dir / split)) for split in SPLITS if dataset.roots(split)}
    read = _read(dataset, classes, ledgers, on_progress or (lambda _done, _total: None))
    ids = _class_ids(dataset, classes)
    used = {written.name for images in read.values() for _, raw, _ in images for written in raw.objects}
    renamed = corrections([*ids.values(), *sorted(used)], classes)
    names = _all_names(classes, used, renamed)
    images = _mended(dataset, read, ledgers, names, renamed)
    try:
        places, names_file = _write(dataset, images, out_dir, names, ids, renamed, ledgers["train"])
    except OSError as fault:
        raise not_written(out_dir, fault) from fault
    unknown = _unknown(images, classes)
    fixed = Fixed(
        dataset=moved(dataset, places, names_file, form=dataset.format, settled=_SETTLED),
        classes=classes.model_copy(update={"ignore": (*classes.ignore, *unknown)}),
        unknown=unknown,
        changes=tuple(change for ledger in ledgers.values() for change in ledger.changes),
        num_images=sum(map(len, images.values())),
        num_objects=sum(len(mended.image.corners) for split in images.values() for mended in split),
    )
    write_log(out_dir, fixed.changes, tuple(_notes(dataset, fixed)))
    return fixed


def _all_names(classes: Classes, used: Iterable[str], renamed: Mapping[str, str]) -> tuple[str, ...]:
    """Every class of the copy: those of the map first, in its order, each in one spelling of Unicode."""
    others = sorted({renamed.get(name, name) for name in used if is_class_name(name)})
    spelt: dict[str, str] = {}
    for name in (*classes.names, *others):
        spelt.setdefault(composed(name), name)
    return tuple(spelt.values())


def _class_ids(dataset: Dataset, classes: Classes) -> dict[int, str]:
    if dataset.format != "yolo":
        return {}
    return read_names(dataset.names_file) if dataset.names_file is not None else dict(enumerate(classes.names))


def _unknown(images: Mapping[Split, Sequence[Mended]], classes: Classes) -> dict[str, int]:
    known = {composed(name) for name in (*classes.names, *classes.ignore)}
    counts = Counter(
        written.name for split in images.values() for mended in split for written in mended.image.raw.objects
    )
    return {name: count for name, count in sorted(counts.items()) if composed(name) not in known}


def _notes(dataset: Dataset, fixed: Fixed) -> Iterator[str]:
    yield f"{fixed.num_images} images with {fixed.num_objects} objects are in this copy; the original wasn't touched."
    if dataset.format == "coco":
        yield "It holds boxes, classes and marks; outlines and other fields of the original are not carried over."
    else:
        yield "Annotations without a change are byte for byte those of the original; the others were written anew."
    if dataset.first_pixel:
        yield "Pixels are counted from 0 now, so that the recipe needs no `first_pixel`."
    for name, count in fixed.unknown.items():
        yield f'Left for you to decide: {count} objects of class "{name}", which the recipe doesn\'t name.'


# --- read and correct ---


def _read(
    dataset: Dataset, classes: Classes, ledgers: Mapping[Split, Ledger], tell: Callable[[int, int], None]
) -> dict[Split, list[_Read]]:
    policies = repairing(dataset)
    items = {split: list_items(policies, classes, split, ledger) for split, ledger in ledgers.items()}
    fatal = [problem for ledger in ledgers.values() for problem in ledger.fatal]
    if fatal:
        raise DataError(fatal)
    total, done = sum(map(len, items.values())), 0
    read: dict[Split, list[_Read]] = {split: [] for split in items}
    for split, listed in items.items():
        for item, facts in zip(listed, look_at([item.image_path for item in listed], decode=True), strict=True):
            done += 1
            tell(done, total)
            if item.lack is not None:
                tell_lack(item, facts, policies, ledgers[split])
                continue
            try:
                raw = item.read()
                if isinstance(facts, DataError):
                    raise facts
            except DataError as error:
                for problem in error.problems:
                    ledgers[split].add(problem)
                continue
            read[split].append((item, raw, facts))
    return read


def _mended(
    dataset: Dataset,
    read: Mapping[Split, Sequence[_Read]],
    ledgers: Mapping[Split, Ledger],
    names: tuple[str, ...],
    renamed: Mapping[str, str],
) -> dict[Split, list[Mended]]:
    images: dict[Split, list[Mended]] = {}
    for split, ledger in ledgers.items():
        mender = Mender.of(dataset, names, renamed, ledger)
        mended = (mender.mended(*one) for one in read[split])
        images[split] = [one for one in mended if one is not None]
    dropped = _copies(dataset, images, ledgers)
    for split, ledger in ledgers.items():
        kept = [one for one in images[split] if one.item.image_path not in dropped[split]]
        if not kept:
            raise nothing_in(split, ())
        images[split] = list(_under_own_names(kept, ledger))
    return images


def _copies(
    dataset: Dataset, images: Mapping[Split, Sequence[Mended]], ledgers: Mapping[Split, Ledger]
) -> dict[Split, set[str]]:
    """The image paths of each split that repeat a picture byte for byte; a leak stays where it is measured."""
    dropped: dict[Split, set[str]] = {split: set() for split in images}

    def drop(split: Split, path: str, code: str, found: str) -> None:
        dropped[split].add(path)
        ledgers[split].change(code, Where(path), found, "image left out, the other one is kept")

    for same in _same_bytes(images):
        last = max((split for split, _ in same), key=SPLITS.index)
        first = dict(reversed(same))
        for split, mended in same:
            path, twin = mended.item.image_path, first[split]
            if split != last and dataset.leaked_images == "error":
                found = f"byte for byte the same picture as {first[last].item.image_path}, which is in {last}"
                drop(split, path, codes.IMAGE_LEAKED, found)
            elif mended is not twin and (split == "train" or dataset.duplicate_images == "error"):
                found = f"byte for byte the same picture as {twin.item.image_path}"
                alike = mended.image.corners == twin.image.corners
                drop(split, path, codes.IMAGE_TWICE, found if alike else f"{found}, with other labels: look which fit")
    return dropped


def _same_bytes(images: Mapping[Split, Sequence[Mended]]) -> Iterator[list[tuple[Split, Mended]]]:
    sizes: defaultdict[int, list[tuple[Split, Mended]]] = defaultdict(list)
    for split, mended in ((split, mended) for split, listed in images.items() for mended in listed):
        sizes[Path(mended.item.image_path).stat().st_size].append((split, mended))
    for alike in (alike for alike in sizes.values() if len(alike) > 1):
        digests: defaultdict[bytes, list[tuple[Split, Mended]]] = defaultdict(list)
        for split, mended in alike:
            digests[digest(mended.item.image_path)].append((split, mended))
        yield from (same for same in digests.values() if len(same) > 1)


def _under_own_names(images: Iterable[Mended], ledger: Ledger) -> Iterator[Mended]:
    """Images of several places under names that differ by more than the suffix, and are text."""
    taken: set[str] = set()
    for mended in images:
        name = _NOT_TEXT.sub("_", mended.item.name)
        base, suffix, number = stem(name), suffix_of(name), 1
        while stem(name).lower() in taken:
            number += 1
            name = f"{base}-{number}{suffix}"
        taken.add(stem(name).lower())
        if name == mended.item.name:
            yield mended
            continue
        is_text = _NOT_TEXT.search(mended.item.name) is None
        code = codes.STEM_SHARED if is_text else codes.NOT_WRITTEN
        found = "an image in another place has this name" if is_text else "the file's name isn't text in UTF-8"
        ledger.change(code, Where(mended.item.image_path), found, f"written as {name}")
        yield replace(mended, image=replace(mended.image, name=name), as_it_was=False)


# --- write ---


def _write(
    dataset: Dataset,
    images: Mapping[Split, Sequence[Mended]],
    out_dir: Path,
    names: Sequence[str],
    ids: Mapping[int, str],
    renamed: Mapping[str, str],
    ledger: Ledger,
) -> tuple[dict[str, SplitPaths], Path | None]:
    number_of, new_ids = _numbers(names, {number: renamed.get(name, name) for number, name in ids.items()})
    places: dict[str, SplitPaths] = {
        split: _write_split(dataset, listed, names, number_of, out_dir / split) for split, listed in images.items()
    }
    if dataset.format != "yolo":
        return places, None
    for number, name in ids.items():
        if name in renamed:
            found, done = f'class {number} is "{name}"', f'renamed to "{renamed[name]}"'
            ledger.change(codes.CLASS_UNKNOWN, Where(str(dataset.names_file)), found, done)
    return places, write_names(new_ids, out_dir)


def _numbers(names: Sequence[str], ids: Mapping[int, str]) -> tuple[dict[str, int], dict[int, str]]:
    """Each class's id in YOLO labels, where ids stay what they are; and the names of ids, with those that had none."""
    number_of: dict[str, int] = {}
    for number, name in ids.items():
        number_of.setdefault(name, number)
    for match in filter(None, map(_UNNAMED_ID.fullmatch, names)):
        number_of.setdefault(match[0], int(match[1]))
    free = max([*ids, *number_of.values(), -1]) + 1
    others = [name for name in names if name not in number_of]
    new = dict(enumerate(others, start=free))
    return number_of | {name: number for number, name in new.items()}, {**ids, **new}


def _write_split(
    dataset: Dataset, images: Sequence[Mended], names: Sequence[str], number_of: Mapping[str, int], out_dir: Path
) -> SplitPaths:
    images_dir, labels_dir = out_dir / "images", out_dir / ("labels" if dataset.format == "yolo" else "annotations")
    for mended in images:
        target = images_dir / mended.image.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if mended.turn:
            save_upright(mended.item.image_path, target)
        else:
            bring(mended.item.image_path, target)
    if dataset.format == "coco":
        path = out_dir / "annotations.json"
        content = coco_file([mended.image for mended in images], names)
        path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), encoding="utf-8")
        return SplitPaths(images=images_dir, annotations=path)
    suffix = ".txt" if dataset.format == "yolo" else ".xml"
    for mended in images:
        path = labels_dir / f"{stem(mended.image.name)}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if mended.as_it_was and mended.item.annotation_path is not None:
            shutil.copyfile(mended.item.annotation_path, path)
        elif dataset.format == "yolo":
            path.write_text(yolo_lines(mended.image, dict(number_of)), encoding="utf-8")
        else:
            path.write_bytes(voc_xml(mended.image))
    return SplitPaths(images=images_dir, annotations=labels_dir)

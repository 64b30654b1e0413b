"""Read a split into records: the one path that both `engine check` and the training take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.annotations import codes
from engine.annotations.findings import Findings
from engine.annotations.judge import Judge
from engine.annotations.labels import LabelMap
from engine.annotations.picture import IMAGE_SUFFIXES, PictureFacts
from engine.annotations.raw import RawAnnotation
from engine.annotations.records import ImageRecord, Split, SplitRead
from engine.annotations.scan import look_at
from engine.annotations.sources import Item, list_items, tell_lack
from engine.errors import DataError, Where
from engine.recipe.schema import Classes, Dataset


@dataclass(frozen=True, slots=True)
class OpenSplit:
    """A split whose folders have been listed and whose files haven't been opened yet."""

    judge: Judge
    items: list[Item]


def open_split(dataset: Dataset, classes: Classes, split: Split) -> OpenSplit:
    """List a split's images and annotations.

    Args:
        dataset: Where it lives, and what to do about dirt.
        classes: The class map.
        split: Which one.

    Returns:
        What there is to read; nothing for a split that the recipe doesn't have.
    """
    roots = dataset.roots(split)
    findings = Findings(split, str(roots[0].images) if roots else "")
    items = list_items(dataset, classes, split, findings)
    if roots and not items and not findings:
        found, fix = _empty_words(dataset, split)
        findings.fault(codes.SPLIT_EMPTY, Where(str(roots[0].images)), found, fix)
    return OpenSplit(Judge.of(dataset, LabelMap.of(classes), findings), items)


def _empty_words(dataset: Dataset, split: Split) -> tuple[str, str]:
    if split == "val" and dataset.val_fraction is not None:
        found = f"split val is empty: val_fraction = {dataset.val_fraction} draws none of the images of train"
        return found, "raise val_fraction, or change split_seed"
    found = f"split {split} is empty: no images ({', '.join(sorted(IMAGE_SUFFIXES))}) in this folder or below it"
    return found, f"put images there, or correct dataset.{split}"


def read_open(opened: OpenSplit, facts: Iterable[PictureFacts | DataError]) -> SplitRead:
    """Read the annotations of a listed split and judge them; see `read_split`.

    Args:
        opened: The split.
        facts: What was seen of each of its items' images, in order.
    """
    records = []
    for item, seen in zip(opened.items, facts, strict=True):
        record = _read_item(opened.judge, item, seen)
        if record is not None:
            records.append(record)
    return SplitRead(tuple(records), opened.judge.findings.problems())


def read_split(dataset: Dataset, classes: Classes, split: Split, *, decode: bool = False) -> SplitRead:
    """Read one split and apply the recipe's policies.

    Args:
        dataset: Where it lives, and what to do about dirt.
        classes: The class map.
        split: Which one.
        decode: Read every pixel, which finds truncated images; otherwise headers only.

    Returns:
        The usable images sorted by path, and every problem. An image or object at fault is not
        among the records, whether the policy calls it an error or leaves it out. A split that the
        recipe doesn't have reads as empty.
    """
    opened = open_split(dataset, classes, split)
    return read_open(opened, look_at([item.image_path for item in opened.items], decode=decode))


def _read_item(judge: Judge, item: Item, seen: PictureFacts | DataError) -> ImageRecord | None:
    if item.lack is not None:
        tell_lack(item, seen, judge.dataset, judge.findings)
        return None
    raw = _annotation(judge, item)
    if isinstance(seen, DataError):
        policy = judge.dataset.unreadable_images
        for problem in seen.problems:
            judge.findings.by_policy(policy, problem, key="dataset.unreadable_images", action="images left out")
        return None
    return None if raw is None else judge.record(item.image_path, item.annotation_path, seen, raw)


def _annotation(judge: Judge, item: Item) -> RawAnnotation | None:
    try:
        return item.read()
    except DataError as error:
        policy = judge.dataset.unreadable_annotations
        for problem in error.problems:
            judge.findings.by_policy(
                policy, problem, key="dataset.unreadable_annotations", action="left out with their images"
            )
        return None

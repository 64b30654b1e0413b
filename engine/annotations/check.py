"""Audit a whole dataset: every split, and what only shows between splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from engine.annotations import codes
from engine.annotations.cache import AuditCache, PictureMemory
from engine.annotations.duplicates import duplicate_problems
from engine.annotations.findings import in_order
from engine.annotations.picture import PictureFacts
from engine.annotations.proportions import imbalance_problems
from engine.annotations.read import open_split, read_open
from engine.annotations.records import SPLITS, Audit, SplitRead, SplitSummary, summarise
from engine.annotations.scan import look_at
from engine.errors import DataError, Problem, Where
from engine.recipe.schema import Classes, Dataset


def audit(
    dataset: Dataset,
    classes: Classes,
    *,
    decode: bool = True,
    cache_dir: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Find everything that can be found wrong with a dataset before training.

    Args:
        dataset: Where it lives, and what to do about dirt.
        classes: The class map.
        decode: Read every pixel, which finds truncated images and pictures that look alike;
            otherwise headers only.
        cache_dir: Where to remember what was found, so that unchanged data is answered at once;
            None to remember nothing.
        on_progress: Called with (images done, images in all).

    Returns:
        The splits as training will read them, every problem, and counts.
    """
    tell = on_progress or (lambda _done, _total: None)
    if cache_dir is None:
        return _audit(dataset, classes, tell, decode=decode, memory=None)
    cache = AuditCache.of(cache_dir, dataset, classes, decode=decode)
    found = cache.load()
    if found is not None:
        total = sum(counts.num_images for counts in found.summary.values())
        tell(total, total)
        return found
    memory = PictureMemory.of(cache_dir, dataset)
    found = _audit(dataset, classes, tell, decode=decode, memory=memory)
    memory.save()
    cache.save(found)
    return found


def _audit(
    dataset: Dataset,
    classes: Classes,
    tell: Callable[[int, int], None],
    *,
    decode: bool,
    memory: PictureMemory | None,
) -> Audit:
    opened = {split: open_split(dataset, classes, split) for split in SPLITS if dataset.roots(split)}
    paths = [item.image_path for listed in opened.values() for item in listed.items]
    seen = look_at(paths, decode=decode, memory=memory)
    thumbnails: dict[str, bytes] = {}

    def counted() -> Iterator[PictureFacts | DataError]:
        for done, (path, facts) in enumerate(zip(paths, seen, strict=True), start=1):
            if isinstance(facts, PictureFacts):
                thumbnails[path] = facts.thumbnail
            tell(done, len(paths))
            yield facts

    facts = counted()
    splits: dict[str, SplitRead] = {
        split: read_open(listed, islice(facts, len(listed.items))) for split, listed in opened.items()
    }
    summary: dict[str, SplitSummary] = {split: summarise(read.records, classes.names) for split, read in splits.items()}
    problems = [problem for read in splits.values() for problem in read.problems]
    problems += _empty_after_policies(splits)
    problems += duplicate_problems(dataset, splits, thumbnails)
    problems += _unlabelled(summary)
    problems += imbalance_problems(summary["train"])
    # A folder that two splits share is told once.
    return Audit(splits, in_order(dict.fromkeys(problems)), summary)


def _empty_after_policies(splits: Mapping[str, SplitRead]) -> list[Problem]:
    return [
        Problem(
            codes.SPLIT_EMPTY,
            Where(item=f"dataset.{split}"),
            f"split {split} is empty: every image was left out",
            "see the notes on this split for what was left out and why",
        )
        for split, read in splits.items()
        if not read.records and not any(problem.severity == "error" for problem in read.problems)
    ]


def _unlabelled(summary: Mapping[str, SplitSummary]) -> list[Problem]:
    problems = []
    for split, counts in summary.items():
        if counts.num_images and not counts.num_boxes:
            problems.append(_without_boxes(split))
    train = summary["train"]
    if not train.num_boxes:
        return problems
    for name, count in train.boxes_per_class.items():
        if count == 0:
            problems.append(_unseen(name, {split: s.boxes_per_class[name] for split, s in summary.items()}))
    return problems


def _without_boxes(split: str) -> Problem:
    where = Where(item=f"dataset.{split}")
    if split == "train":
        fix = "check that classes.names are the names in the annotations and none is ignored by mistake"
        return Problem(codes.TRAIN_WITHOUT_BOXES, where, "nothing to learn from: no object of any class in train", fix)
    found = f"nothing to measure on: no object of any class in {split}"
    fix = "check the class map; put labelled images into this split"
    return Problem(codes.SPLIT_WITHOUT_BOXES, where, found, fix, severity="warning")


def _unseen(name: str, counts: Mapping[str, int]) -> Problem:
    where = Where(item=f'classes.names "{name}"')
    elsewhere = ", ".join(f"{count} in {split}" for split, count in counts.items() if count)
    if elsewhere:
        found = f'class "{name}" is never labelled in train ({elsewhere}): it can\'t be learnt'
        fix = "move labelled images into train, or put the class into classes.ignore"
        return Problem(codes.CLASS_ONLY_OUTSIDE_TRAIN, where, found, fix, severity="warning")
    found = f'class "{name}" of the map is never labelled'
    fix = "remove it from classes.names, or check how the annotations spell it"
    return Problem(codes.CLASS_NOT_IN_TRAIN, where, found, fix, severity="warning")

"""Audit a whole dataset: every split, and what only shows between splits."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from engine.annotations import codes
from engine.annotations.findings import in_order
from engine.annotations.read import open_split, read_open
from engine.annotations.records import SPLITS, Audit, ImageRecord, SplitRead, SplitSummary, summarise
from engine.errors import Problem, Where
from engine.recipe.schema import Classes, Dataset


class _Progress:
    """Counts images across splits."""

    def __init__(self, total: int, tell: Callable[[int, int], None] | None) -> None:
        self._done, self._total, self._tell = 0, total, tell

    def step(self) -> None:
        self._done += 1
        if self._tell is not None:
            self._tell(self._done, self._total)


def audit(
    dataset: Dataset,
    classes: Classes,
    *,
    decode: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Find everything that can be found wrong with a dataset before training.

    Args:
        dataset: Where it lives, and what to do about dirt.
        classes: The class map.
        decode: Read every pixel, which finds truncated images; otherwise headers only.
        on_progress: Called with (images done, images in all).

    Returns:
        The splits as training will read them, every problem, and counts.
    """
    opened = {split: open_split(dataset, classes, split) for split in SPLITS if dataset.roots(split)}
    progress = _Progress(sum(len(split.items) for split in opened.values()), on_progress)
    splits: dict[str, SplitRead] = {
        split: read_open(listed, decode=decode, on_item=progress.step) for split, listed in opened.items()
    }
    summary: dict[str, SplitSummary] = {split: summarise(read.records, classes.names) for split, read in splits.items()}
    problems = [problem for read in splits.values() for problem in read.problems]
    problems += _empty_after_policies(splits)
    problems += _shared_files(splits)
    problems += _unlabelled(summary)
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


def _shared_files(splits: Mapping[str, SplitRead]) -> list[Problem]:
    owners: dict[str, tuple[str, ImageRecord]] = {}
    problems = []
    for split, read in splits.items():
        for record in read.records:
            first = owners.setdefault(os.path.realpath(record.image_path), (split, record))
            if first[0] != split:
                found = f"the same image is in {first[0]} and in {split}: what is measured was learnt"
                fix = "keep it in one of them; if all are, give each split a folder of its own"
                problems.append(Problem(codes.FILE_IN_TWO_SPLITS, Where(str(record.image_path)), found, fix))
    return problems


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

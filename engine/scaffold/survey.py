"""Read a dataset whose layout is known: its classes, and what is dirty about it."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.annotations import Audit, Split, audit
from engine.annotations.codes import TITLES
from engine.annotations.findings import Findings
from engine.annotations.folders import composed
from engine.annotations.records import SPLITS
from engine.annotations.sources import list_items
from engine.errors import DataError, Problem, Where
from engine.recipe.schema import Classes, Dataset
from engine.scaffold.formats import YoloNames, is_class_name
from engine.scaffold.layout import Layout

VAL_FRACTION = 0.2
_UNNAMED = re.compile(r"class id (\d+)")
_POLICY = re.compile(r'\bdataset\.(\w+) = "(\w+)"')
# Where a remedy names several, the one that changes least about what is learnt.
_SAFE = {"missing_annotations": "skip"}
# A class this many times rarer than one with nearly its name is probably a slip of the keyboard.
_SLIP_TIMES, _SLIP_LIKENESS = 10, 0.8

Counts = Mapping[str, Mapping[Split, int]]


@dataclass(frozen=True, slots=True)
class ClassMap:
    """What `[classes]` will say.

    Attributes:
        names: In order, with their objects in each split.
        outside: Classes that only splits other than train show: can't be learnt.
        unused: Names of the names file that no object has.
        slips: Rare name -> the frequent one that was probably meant.
    """

    names: Counts
    outside: Counts
    unused: tuple[str, ...] = ()
    slips: Mapping[str, str] | None = None

    def as_classes(self) -> Classes:
        """As the recipe will be read."""
        return Classes(names=tuple(self.names), ignore=tuple(self.outside))


@dataclass(frozen=True, slots=True)
class Dirt:
    """Findings of one kind that stop a run.

    Attributes:
        count: How many.
        title: What it is.
        first: The first place.
        setting: The safe policy as a line of `[dataset]`, or "" where it must be mended.
        fix: The remedy in words.
    """

    count: int
    title: str
    first: Where
    setting: str
    fix: str


def as_dataset(layout: Layout, names: YoloNames | None) -> Dataset:
    """The `[dataset]` section of a layout, paths absolute."""
    content: dict[str, object] = {"format": layout.format}
    for split, pairs in layout.splits.items():
        places = [{"images": str(pair.images), "annotations": str(pair.annotations)} for pair in pairs]
        content[split] = places[0] if len(places) == 1 else places
    if "val" not in layout.splits:
        content["val_fraction"] = VAL_FRACTION
    if names is not None and names.readable:
        content["names_file"] = str(names.path)
    return Dataset.model_validate(content)


# --- classes ---


def class_map(dataset: Dataset, names: YoloNames | None) -> ClassMap:
    """Count the classes that the annotations name and put them in order.

    Those of YOLO and COCO files stay in the order of their ids; others come by frequency.

    Raises:
        DataError: There is no object at all (D003).
    """
    counts = _counts(dataset, names)
    if not counts:
        found = f"none of its {dataset.format} annotations names an object"
        raise DataError.of("D003", str(dataset.roots("train")[0].annotations), found, "label some images first")
    if names is None or not names.readable:
        # Without a file that the recipe can point to, ids count classes.names: none may be missing.
        order = list(names.names.values()) if names is not None else _in_order(dataset, counts)
        told: Counts = {name: counts.get(name, Counter()) for name in order}
        if dataset.format == "yolo":
            return ClassMap(told, {})
        return _divided(dataset, told)
    named = [composed(name) for name in names.names.values()]
    order = [name for name in named if name in counts]
    unused = tuple(name for name in named if name and name not in counts)
    return _divided(dataset, {name: counts[name] for name in dict.fromkeys(order)}, unused)


def _divided(dataset: Dataset, counts: Counts, unused: tuple[str, ...] = ()) -> ClassMap:
    # A share of train that is drawn by chance says nothing about where a class belongs.
    learnable = {name for name, found in counts.items() if found.get("train") or dataset.val_fraction is not None}
    names = {name: found for name, found in counts.items() if name in learnable}
    outside = {name: found for name, found in counts.items() if name not in learnable}
    return ClassMap(names, outside, unused, _slips(names))


def _counts(dataset: Dataset, names: YoloNames | None) -> dict[str, Counter[Split]]:
    # Without a file that the recipe can point to, ids count the class map's names.
    stand_in = ("class0",) if names is None or names.readable else tuple(names.names.values())
    counts: dict[str, Counter[Split]] = {}
    for split in SPLITS:
        for name in _objects(dataset, Classes(names=stand_in), split):
            counts.setdefault(composed(name), Counter())[split] += 1
    if names is None and dataset.format == "yolo":
        return _numbered(counts)
    return {name: found for name, found in counts.items() if is_class_name(name) and not _UNNAMED.fullmatch(name)}


def _objects(dataset: Dataset, classes: Classes, split: Split) -> Iterator[str]:
    """The class of each object as written; what can't be read is told by the audit."""
    if not dataset.roots(split):
        return
    for item in list_items(dataset, classes, split, Findings(split, "")):
        try:
            raw = item.read()
        except DataError:
            continue
        yield from (written.name for written in raw.objects)


def _numbered(counts: Mapping[str, Counter[Split]]) -> dict[str, Counter[Split]]:
    """Names for class ids that no file names: class0, class1 and so on, without a gap."""
    by_id = {0: counts.get("class0", Counter())}
    for name, found in counts.items():
        match = _UNNAMED.fullmatch(name)
        if match:
            by_id[int(match[1])] = found
    greatest = max(by_id) if counts else -1
    if greatest > 1000:  # no class id but a slip; the audit tells it
        greatest = max((index for index in by_id if index <= 1000), default=-1)
    return {f"class{index}": by_id.get(index, Counter()) for index in range(greatest + 1)}


def _in_order(dataset: Dataset, counts: Mapping[str, Counter[Split]]) -> list[str]:
    return list(counts) if dataset.format == "yolo" else sorted(counts, key=lambda name: (-counts[name].total(), name))


def _slips(names: Counts) -> dict[str, str]:
    totals = {name: sum(found.values()) for name, found in names.items()}
    slips = {}
    for name, total in totals.items():
        frequent = [other for other in totals if other != name and totals[other] >= _SLIP_TIMES * total > 0]
        lower = {other.lower(): other for other in frequent}
        near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=_SLIP_LIKENESS)
        if near:
            slips[name] = lower[near[0]]
    return slips


# --- dirt ---


def look(
    dataset: Dataset, classes: Classes, *, cache_dir: Path | None, on_progress: Callable[[int, int], None] | None
) -> tuple[Audit, tuple[Dirt, ...]]:
    """Audit the dataset; what would stop a run is told by kind, with the policy that lets it pass."""
    found = audit(dataset, classes, cache_dir=cache_dir, on_progress=on_progress)
    return found, _dirt([problem for problem in found.problems if problem.severity == "error"])


def _dirt(problems: Sequence[Problem]) -> tuple[Dirt, ...]:
    kinds: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        kinds.setdefault((problem.code, _setting(problem)), []).append(problem)
    return tuple(
        Dirt(len(kind), TITLES.get(code, kind[0].found), kind[0].where, setting, kind[0].fix)
        for (code, setting), kind in kinds.items()
    )


def _setting(problem: Problem) -> str:
    match = _POLICY.search(problem.fix)
    return f'{match[1]} = "{_SAFE.get(match[1], match[2])}"' if match else ""

"""The text of a recipe, with the reasons for its values as comments."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.annotations import Audit, Split
from engine.errors import Where, printable
from engine.recipe.schema import Dataset, SplitPaths
from engine.recipe.values import toml_key, toml_value
from engine.scaffold.formats import FORMAT_WORDS
from engine.scaffold.layout import Layout
from engine.scaffold.model import Choice
from engine.scaffold.survey import VAL_FRACTION, ClassMap, Dirt

BATCH_SIZE = 4
_WIDEST = 60
"""Lines of more characters don't push the comments of others to the right."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a recipe is written from."""

    name: str
    path: Path
    top: Path
    layout: Layout
    dataset: Dataset
    audit: Audit
    classes: ClassMap
    dirt: tuple[Dirt, ...]
    choice: Choice


def recipe_name(folder: Path) -> str:
    """A run's name from a folder's: letters, digits, dots, dashes and underscores, at most 64."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name).strip("-._")[:64]
    return name if re.match(r"[A-Za-z0-9]", name) else "dataset"


def recipe_text(plan: Plan) -> str:
    """The recipe."""
    sections = (_head(plan), _dataset(plan), _classes(plan), _model(plan.choice), _training(plan.choice))
    return "\n".join(line for section in sections for line in section) + "\n"


def _aligned(rows: Sequence[tuple[str, str]], indent: str = "") -> Iterator[str]:
    """Lines with their comments below one another."""
    width = max((len(code) for code, _ in rows if len(code) <= _WIDEST), default=0)
    for code, remark in rows:
        yield (f"{indent}{code:<{width}}  # {_safe(remark)}" if remark else f"{indent}{code}").rstrip()


def _safe(text: str) -> str:
    """Text that stays within a comment."""
    return printable(text)


def _head(plan: Plan) -> Iterator[str]:
    path = _shell(plan.path.name)
    yield f"# Written by `engine init` from {_safe(plan.top.name)}: {FORMAT_WORDS[plan.layout.format]}."
    yield "#"
    yield f"#     engine check {path}         everything that is wrong, before the night"
    yield f"#     engine run   {path}         train"
    yield ""
    yield f"name = {toml_value(plan.name)}"
    yield ""


def _shell(name: str) -> str:
    return name if re.fullmatch(r"[\w.+-]+", name) else f"'{_safe(name)}'"


# --- the photos ---


def _dataset(plan: Plan) -> Iterator[str]:
    dataset, folder = plan.dataset, plan.path.parent
    yield "[dataset]  # paths are relative to this file"
    yield f"format = {toml_value(dataset.format)}"
    for split in plan.layout.splits:
        counts = plan.audit.summary[split]
        num_images, num_boxes, num_negatives = counts.num_images, counts.num_boxes, counts.num_negatives
        if split == "train" and dataset.val_fraction is not None:
            drawn = plan.audit.summary["val"]
            num_images, num_boxes = num_images + drawn.num_images, num_boxes + drawn.num_boxes
            num_negatives += drawn.num_negatives
        without = f", {num_negatives} without any" if num_negatives else ""
        yield f"# {num_images} usable images, {num_boxes} objects{without}; {_sizes(plan, split)}"
        yield from _places(split, dataset.roots(split), folder)
    if dataset.val_fraction is not None:
        remark = "measured on and never learnt from; drawn by name, so that new images move none"
        yield f"val_fraction = {VAL_FRACTION}  # {remark}"
    if dataset.names_file is not None:
        yield f"names_file = {_path(dataset.names_file, folder)}  # names the class ids"
    for words in plan.layout.left_out:
        yield f"# Left out: {_safe(words)}."
    yield from _policies(plan.dirt, plan.top)
    yield ""


def _sizes(plan: Plan, split: Split) -> str:
    counts = plan.audit.summary[split]
    one, other = (f"{width} x {height}" for width, height in (counts.smallest, counts.largest))
    return f"{one} px" if one == other else f"{one} to {other} px"


def _places(split: str, roots: Sequence[SplitPaths], folder: Path) -> Iterator[str]:
    tables = [
        f"{{ images = {_path(root.images, folder)}, annotations = {_path(root.annotations, folder)} }}"
        for root in roots
    ]
    if len(tables) == 1:
        yield f"{split} = {tables[0]}"
        return
    yield f"{split} = ["
    yield from (f"  {table}," for table in tables)
    yield "]"


def _path(path: Path, folder: Path) -> str:
    """A path as a recipe in `folder` names it: relative, unless the two share nothing but the root."""
    text = os.path.relpath(path, folder)
    # A leading "~" would be read as somebody's home.
    if text.startswith("~") or os.path.commonpath([path, folder]) == path.anchor:
        text = str(path)
    return toml_value(text.replace("$", "$$"))


def _policies(dirt: Sequence[Dirt], top: Path) -> Iterator[str]:
    if not dirt:
        return
    yield ""
    yield '# The data is dirty, and a run starts only once that is settled: mend it, or take the "# " from a line'
    yield "# below. `engine check` tells every place."
    settings = [kind for kind in dirt if kind.setting]
    yield from _aligned([(f"# {kind.setting}", _told(kind, top)) for kind in settings])
    for kind in dirt:
        if not kind.setting:
            yield f"# To be mended: {_safe(_told(kind, top))}; {_safe(kind.fix)}."


def _told(kind: Dirt, top: Path) -> str:
    place = kind.first
    path = place.path and os.path.relpath(place.path, top)
    where = str(Where(path, place.line, place.column, place.item))
    times = "once" if kind.count == 1 else f"{kind.count} times"
    other = '; "negative" if such images show nothing' if kind.setting.startswith("missing_annotations") else ""
    return f"{kind.title}, {times}: {'first ' if kind.count > 1 else ''}{where}{other}"


# --- the classes ---


def _classes(plan: Plan) -> Iterator[str]:
    classes = plan.classes
    yield "[classes]"
    yield "names = ["
    yield from _aligned([(f"{toml_value(name)},", _objects(found)) for name, found in classes.names.items()], "  ")
    yield "]"
    if classes.outside:
        yield "ignore = [  # never labelled in train, so they can't be learnt"
        rows = [(f"{toml_value(name)},", _objects(found)) for name, found in classes.outside.items()]
        yield from _aligned(rows, "  ")
        yield "]"
    if classes.slips:
        pairs = ", ".join(f"{toml_key(slip)} = {toml_value(meant)}" for slip, meant in classes.slips.items())
        yield '# Misspelt? Then take the left name out of names, and the "# " from this line:'
        yield f"# aliases = {{ {_safe(pairs)} }}"
    if classes.unused:
        assert plan.dataset.names_file is not None, "only a names file names classes that no object has"
        listed = ", ".join(classes.unused[:8]) + (", ..." if len(classes.unused) > 8 else "")
        yield f"# {plan.dataset.names_file.name} names {len(classes.unused)} more that no object has: {_safe(listed)}"
    yield ""


def _objects(found: Mapping[Split, int]) -> str:
    return ", ".join(f"{count} in {split}" for split, count in found.items() if count) or "no object"


# --- the detector and its training ---


def _model(choice: Choice) -> Iterator[str]:
    yield "[model]"
    rows = [(f"arch = {toml_value(choice.arch)}", choice.why), (f"weights = {toml_value(choice.weights)}", "")]
    if choice.from_nothing:
        rows[1] = (rows[1][0], 'random; "imagenet" needs far fewer epochs, and a network once to fetch them')
    else:
        rows[1] = (rows[1][0], "what it has learnt already; fetched once, then kept")
    if choice.min_size is not None:
        rows.append((f"min_size = {choice.min_size}", "pixels of the shorter side; more finds smaller objects, slower"))
        rows.append((f"max_size = {choice.max_size}", ""))
    if choice.from_nothing:
        rows.append(("fpn_channels = 64", "a narrow pyramid and few samples keep a CPU quick"))
        rows += [("box_head_width = 256", ""), ("box_samples = 64", "")]
    yield from _aligned(rows)
    yield ""


def _training(choice: Choice) -> Iterator[str]:
    yield "[training]"
    yield from _aligned(
        [
            (f"epochs = {choice.epochs}", "passes over the training images"),
            (f"batch_size = {BATCH_SIZE}", "images at a time; 2 or 1 when memory runs out"),
        ]
    )
    yield ""
    yield "[optimizer]"
    if choice.from_nothing:
        rows = [('name = "adamw"', "from random weights it gets going sooner than SGD"), ("lr = 0.001", "")]
    else:
        rows = [('name = "sgd"', ""), ("lr = 0.005", "try 0.001 when the loss jumps around")]
    yield from _aligned(rows)
    yield ""
    yield "[schedule]"
    yield from _aligned([('kind = "cosine"', "falls to 0 at the end"), ("warmup_steps = 100", "rises slowly at first")])
    yield ""
    yield "[augmentation]"
    yield from _aligned([("horizontal_flip = 0.5", "0.0 where left and right differ, as in letters")])
    yield ""
    yield "[early_stopping]  # end the run when nothing improves; the best epoch is kept either way"
    yield 'metric = "val_loss"'
    yield f"patience = {max(5, choice.epochs // 4)}"

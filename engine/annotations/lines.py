"""The `[dataset]` table of a recipe, for a dataset that was written somewhere else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.annotations import codes
from engine.errors import DataError, Where
from engine.recipe.schema import Classes, Dataset, Recipe, SplitPaths
from engine.recipe.values import toml_value

# What a written copy has settled, so that its recipe needs no word about it.
_SETTLED = frozenset({
    "format", "train", "val", "test", "val_fraction", "split_seed", "names_file", "first_pixel",
    "missing_annotations", "missing_images", "unreadable_annotations", "unreadable_boxes",
})  # fmt: skip


def one_dataset(recipes: Iterable[Recipe]) -> tuple[Dataset, Classes]:
    """The dataset and class map that all of some recipes share.

    Raises:
        DataError: There is none, or more than one (D137).
    """
    shared: list[tuple[Dataset, Classes]] = []
    for recipe in recipes:
        if (recipe.dataset, recipe.classes) not in shared:
            shared.append((recipe.dataset, recipe.classes))
    if len(shared) == 1:
        return shared[0]
    found = "only one dataset is written at a time, and "
    found += f"the runs asked for have {len(shared)}, or class maps that differ" if shared else "no recipe can be read"
    fix = "name one recipe; settle a sweep over the dataset with --set"
    raise DataError.of(codes.DATASETS_DIFFER, Where(item="dataset"), found, fix)


def moved(
    dataset: Dataset,
    places: Mapping[str, SplitPaths],
    names_file: Path | None,
    *,
    form: str,
    settled: frozenset[str] = frozenset(),
) -> Dataset:
    """A dataset as a recipe should tell it once it has been written anew.

    Args:
        dataset: The original.
        places: Split name -> where it is now.
        names_file: What names YOLO's class ids; None for other formats.
        form: The format it has now.
        settled: Further policies that the copy doesn't need any more.

    Returns:
        The new places with the policies that still have something to decide.
    """
    kept = {name: value for name, value in _set_values(dataset) if name not in _SETTLED | settled}
    return Dataset.model_validate({**kept, **places, "format": form, "names_file": names_file})


def dataset_lines(dataset: Dataset, folder: Path) -> str:
    """A dataset as the `[dataset]` table of a recipe.

    Args:
        dataset: Anything but its defaults is told.
        folder: Where the recipe lies; paths are relative to it where the two share a folder.
    """
    lines = ["[dataset]", f"format = {toml_value(dataset.format)}"]
    lines += [f"{name} = {_value(value, folder)}" for name, value in _set_values(dataset) if name != "format"]
    return "\n".join(lines) + "\n"


def classes_lines(classes: Classes, undecided: Mapping[str, int]) -> str:
    """A class map as the `[classes]` table of a recipe.

    Args:
        classes: The map.
        undecided: Of `classes.ignore`, those that nobody has decided about: class -> objects.
    """
    lines = ["[classes]", f"names = {toml_value(classes.names)}"]
    if classes.aliases:
        lines.append(f"aliases = {toml_value(classes.aliases)}")
    if undecided:
        lines.append("# Not in the class map so far. What is to be learnt belongs into names.")
    lines.append("ignore = [")
    for name in classes.ignore:
        remark = f"  # {undecided[name]} object{'s' * (undecided[name] > 1)}" if name in undecided else ""
        lines.append(f"  {toml_value(name)},{remark}")
    return "\n".join([*lines, "]"]) + "\n"


def _set_values(dataset: Dataset) -> Iterator[tuple[str, Any]]:
    """Keys whose values aren't the defaults, in the order of the schema."""
    for name, field in Dataset.model_fields.items():
        value = getattr(dataset, name)
        if value != field.default:
            yield name, value


def _value(value: Any, folder: Path) -> str:
    if isinstance(value, SplitPaths):
        return f"{{ images = {_value(value.images, folder)}, annotations = {_value(value.annotations, folder)} }}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(item, folder) for item in value) + "]"
    return toml_value(_path(value, folder) if isinstance(value, Path) else value)


def _path(path: Path, folder: Path) -> str:
    path, folder = path.resolve(), folder.resolve()
    text = os.path.relpath(path, folder)
    # A leading "~" would be read as somebody's home.
    if text.startswith("~") or os.path.commonpath([path, folder]) == path.anchor:
        text = str(path)
    return text.replace("$", "$$")

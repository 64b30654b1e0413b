"""Write a recipe for a folder of labelled images that nobody has described: what `engine init` does.

Refuses to overwrite a recipe, and to guess where nothing usable is found.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from engine import machine
from engine.errors import DataError, EngineError
from engine.needs import WeightsCheck
from engine.scaffold.formats import FORMAT_WORDS, YoloNames, layouts, yolo_names
from engine.scaffold.layout import Layout
from engine.scaffold.model import choose
from engine.scaffold.survey import as_dataset, class_map, look
from engine.scaffold.tree import Tree, look_through
from engine.scaffold.write import BATCH_SIZE, Plan, recipe_name, recipe_text

__all__ = ["Plan", "default_path", "scaffold"]


def default_path(folder: Path) -> Path:
    """Where a folder's recipe goes: `recipes/<folder>.toml` where there is such a folder, else beside."""
    name = f"{recipe_name(folder.resolve())}.toml"
    return Path("recipes") / name if Path("recipes").is_dir() else Path(name)


def scaffold(
    folder: Path,
    path: Path | None = None,
    *,
    cache_dir: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """Look at a folder of images and annotations and write a recipe for it.

    Args:
        folder: The folder.
        path: The recipe to write; `default_path` when left out.
        cache_dir: Where to remember what was found in the images, for the check that follows.
        on_progress: Called with (images done, images in all).

    Returns:
        What the recipe was written from.

    Raises:
        DataError: Nothing usable was found (D003).
        EngineError: The recipe exists already (E108) or can't be written (E101).
    """
    path = default_path(folder) if path is None else path
    _refuse_taken(path)
    tree = look_through(folder)
    layout = _best(tree)
    names = yolo_names(tree) if layout.format == "yolo" else None
    plan = _planned(tree, layout, names, path.parent.resolve() / path.name, cache_dir, on_progress)
    _write(path, recipe_text(plan))
    return plan


def _planned(
    tree: Tree, layout: Layout, names: YoloNames | None, path: Path, cache_dir: Path | None,
    on_progress: Callable[[int, int], None] | None,
) -> Plan:
    dataset = as_dataset(layout, names)
    classes = class_map(dataset, names)
    audit, dirt = look(dataset, classes.as_classes(), cache_dir=cache_dir, on_progress=on_progress)
    choice = choose(
        audit.splits["train"].records,
        has_gpu=machine.num_cuda_devices() != 0, batch_size=BATCH_SIZE, weights=WeightsCheck(),
    )
    return Plan(recipe_name(tree.top), path, tree.top, layout, dataset, audit, classes, dirt, choice)


def _best(tree: Tree) -> Layout:
    found = layouts(tree)
    if not found:
        raise _nothing_usable(tree)
    best, *others = found
    left_out = [*best.left_out, *_unlabelled(tree, best)]
    for other in others:
        words = FORMAT_WORDS[other.format]
        left_out.append(f"{words} of {other.num_images} images, which lies here too")
    return Layout(best.format, best.splits, best.num_images, tuple(left_out))


def _unlabelled(tree: Tree, layout: Layout) -> list[str]:
    """Folders of pictures that no annotations belong to."""
    read = [pair.images for pairs in layout.splits.values() for pair in pairs]
    folders = {tree.path(folder): len(names) for folder, names in tree.images.items()}
    lonely = {path: count for path, count in folders.items() if not any(path.is_relative_to(root) for root in read)}
    return [
        f"{os.path.relpath(path, tree.top)} with {count} images, which no annotations belong to"
        for path, count in sorted(lonely.items())[:5]
    ]


def _nothing_usable(tree: Tree) -> EngineError:
    seen = {"images": tree.num_images}
    for suffix in (".xml", ".json", ".txt"):
        seen[f"{suffix[1:]} files"] = sum(map(len, tree.of_kind(suffix).values()))
    told = ", ".join(f"{count} {what}" for what, count in seen.items())
    found = f"no labelled images in it or below: {told}, and none that belong together"
    fix = (
        "init looks for images with a Pascal VOC file (IMG_1.jpg, IMG_1.xml) or a YOLO file (IMG_1.txt) of the same "
        "name, side by side or in folders of their own, or for a COCO JSON file that lists the images; "
        "label some, or name the folder that holds both"
    )
    return DataError.of("D003", str(tree.top), found, fix)


def _refuse_taken(path: Path) -> None:
    if os.path.lexists(path):
        raise EngineError.of("E108", str(path), "exists already; nothing was written", "name another file with -o")


def _write(path: Path, text: str) -> None:
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        found = "a folder or class has a name that isn't Unicode, which no recipe can hold"
        raise EngineError.of("E101", str(path), found, "rename it") from error
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        _refuse_taken(path)
    except OSError as error:
        found = f"the recipe can't be written: {error.strerror}"
        raise EngineError.of("E101", str(path), found, "name a file in a folder that exists with -o") from error

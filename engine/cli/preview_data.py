"""`engine preview-data`: draw what the model will see, augmentation and input size included."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.options import count, set_option
from engine.cli.printing import console, print_problems, progress_bar, shown_path
from engine.errors import DataError, EngineError, Problem, printable

if TYPE_CHECKING:
    from rich.table import Table

    from engine.annotations import ImageRecord
    from engine.data.preview import Repeats, Seen
    from engine.recipe.schema import Recipe

# With more classes, those not seen share a line.
_MAX_UNSEEN = 12


@click.command("preview-data")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("-o", "--output", "path", metavar="FILE.png", type=click.Path(path_type=Path, dir_okay=False),
              help="The picture to write. Left out: <recipe>-data.png here.")
@click.option("--num", "num_images", default=16, show_default=True, type=click.IntRange(1, 200),
              help="Images drawn: the first ones of the epoch.")
@click.option("--epoch", default=1, show_default=True, type=click.IntRange(1), help="The epoch, counted from 1.")
@click.option("--seed", type=click.IntRange(0), help="Another seed than the recipe's training.seed.")
@set_option
def command(
    recipe: Path, path: Path | None, num_images: int, epoch: int, seed: int | None, overrides: tuple[str, ...]
) -> None:  # fmt: skip
    """Draw the training images of RECIPE as the model will see them.

    They are the very images that an epoch begins with: changed as [augmentation] says and resized for the network, with
    the boxes that are left. Also tells how many objects were cut away and how often images are repeated. Only its own
    pictures are ever overwritten. Exit code 1 when an image couldn't be read.
    """
    from engine.report.contact_sheet import refuse_overwriting

    options = overrides if seed is None else (*overrides, f"training.seed={seed}")
    wanted = _one_recipe(recipe, options)
    if epoch > wanted.training.epochs:
        raise click.BadParameter(f"the run has only {count(wanted.training.epochs, 'epoch')}", param_hint="'--epoch'")
    target = path or Path(f"{recipe.stem}-data.png")
    refuse_overwriting(target)
    records = _training_records(wanted)
    seen, problems = _look(wanted, records, epoch - 1, num_images)
    if seen:
        _draw(seen, wanted, target, title=f"{wanted.name}: {count(len(seen), 'image')} of epoch {epoch}")
        _tell(seen, wanted, records)
        console(stderr=True).print(f"drew {shown_path(str(target))}", soft_wrap=True)
    print_problems(problems)
    sys.exit(1 if problems else 0)


def _one_recipe(path: Path, overrides: Sequence[str]) -> Recipe:
    """The recipe, or any run of a sweep whose runs all see the same pictures.

    Raises:
        EngineError: The recipe can't be read, or its runs see different pictures.
    """
    from engine.recipe.load import load_recipes

    recipes = [loaded.recipe for loaded in load_recipes(path, overrides=overrides)]
    if len({_what_counts(recipe) for recipe in recipes}) > 1:
        found = f"nothing was drawn: the {len(recipes)} runs of the sweep see different pictures"
        raise EngineError.of("E107", str(path), found, "choose one with --set KEY=VALUE for the keys of [sweep]")
    return recipes[0]


def _what_counts(recipe: Recipe) -> str:
    """Everything that what the model sees follows from, as text."""
    training, model = recipe.training, recipe.model
    return repr((
        recipe.dataset, recipe.classes, recipe.augmentation, training.seed, training.epochs, training.batch_size,
        training.repeat_threshold, model.arch, model.input_min_size, model.input_max_size,
    ))  # fmt: skip


def _training_records(recipe: Recipe) -> Sequence[ImageRecord]:
    from engine.annotations import group, read_split

    with progress_bar("reading", unit="files"):
        read = read_split(recipe.dataset, recipe.classes, "train")
    errors = [problem for problem in read.problems if problem.severity == "error"]
    if errors:
        raise DataError(group(errors))
    return read.records


def _look(
    recipe: Recipe, records: Sequence[ImageRecord], epoch: int, num_images: int
) -> tuple[list[Seen], list[Problem]]:
    from engine.data.preview import Seen, look

    seen: list[Seen] = []
    problems: list[Problem] = []
    with progress_bar("loading") as tell:
        for done, found in enumerate(look(recipe, records, epoch=epoch, num_images=num_images), 1):
            if isinstance(found, Seen):
                seen.append(found)
            else:
                problems.extend(found.problems)
            tell(done, num_images)
    return seen, problems


def _draw(seen: Sequence[Seen], recipe: Recipe, path: Path, *, title: str) -> None:
    from PIL import Image

    from engine.evaluation.drawing import DrawnBoxes
    from engine.report.contact_sheet import Tile, contact_sheet, save_sheet

    tiles = [
        Tile(Image.fromarray(one.pixels), DrawnBoxes(one.boxes_xyxy, one.labels), _caption(one)) for one in seen
    ]
    save_sheet(contact_sheet(tiles, recipe.classes.names, title=title), path)


def _caption(one: Seen) -> str:
    height, width, _ = one.pixels.shape
    first, *others = (record.image_path.name for record in one.records)
    return f"{width} x {height}  {first}" + (f" and {len(others)} more" if others else "")


# --- in words ---


def _tell(seen: Sequence[Seen], recipe: Recipe, records: Sequence[ImageRecord]) -> None:
    from engine.data.preview import repeats

    out = console()
    out.print(_class_table(seen, recipe.classes.names))
    for line in (_dropped_line(seen, recipe), _repeats_line(repeats(recipe, records), recipe)):
        if line:
            out.print(line, soft_wrap=True)


def _class_table(seen: Sequence[Seen], names: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class")
    table.add_column("boxes", justify="right")
    table.add_column("images", justify="right")
    num_unseen = 0
    for label, name in enumerate(names):
        numbers = [int((one.labels == label).sum()) for one in seen]
        if any(numbers) or len(names) <= _MAX_UNSEEN:
            table.add_row(Text(printable(name)), str(sum(numbers)), str(sum(map(bool, numbers))))
        else:
            num_unseen += 1
    if num_unseen:
        table.add_row(Text(f"{num_unseen} of the {len(names)} classes", "dim"), "0", "0")
    num_empty = sum(not len(one.labels) for one in seen)
    if num_empty:
        table.add_row(Text("images without objects", "dim"), "", str(num_empty))
    return table


def _dropped_line(seen: Sequence[Seen], recipe: Recipe) -> str:
    num_kept, num_dropped = sum(len(one.labels) for one in seen), sum(one.num_dropped for one in seen)
    if not num_dropped:
        return ""
    total = num_kept + num_dropped
    return (
        f"{num_dropped} of {count(total, 'object')} ({num_dropped / total:.0%}) dropped: crops, mosaic or scaling left "
        f"less than {recipe.augmentation.min_visible:g} of them to be seen (augmentation.min_visible)"
    )


def _repeats_line(found: Repeats | None, recipe: Recipe) -> str:
    if found is None:
        return ""
    if not found.num_repeated:
        return f"no image is repeated: no class is rarer than repeat_threshold = {recipe.training.repeat_threshold:g}"
    return (
        f"{found.num_repeated} of {count(found.num_images, 'image')} come more often, up to {found.greatest:.1f} times "
        f"an epoch, which makes it {count(found.num_draws, 'image')} long (training.repeat_threshold)"
    )

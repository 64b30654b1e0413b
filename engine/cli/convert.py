"""`engine convert`: write a recipe's dataset in another format, in a new folder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.annotations.convert import Format
from engine.cli.options import count, set_option
from engine.cli.printing import console, print_problems, progress_bar, shown_path
from engine.errors import has_errors

_NAMES = {"voc": "Pascal VOC", "coco": "COCO", "yolo": "YOLO"}


@click.command("convert")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--to", "form", type=click.Choice(["voc", "coco", "yolo"]), required=True, help="The format to write.")
@click.option("--link/--copy", default=False, help="Link images where the disk can, or copy them.  [default: copy]")
@set_option
def command(recipe: Path, out: Path, form: Format, overrides: tuple[str, ...], *, link: bool) -> None:
    """Write the dataset of RECIPE in another format into the new folder OUT.

    Everything is carried over that the format can hold; what it can't is told. The originals are never touched and
    nothing is overwritten. Prints the [dataset] table for a recipe. Exit code 1 when something had to be left out.
    """
    from engine.annotations import group
    from engine.annotations.convert import convert
    from engine.annotations.lines import dataset_lines, one_dataset
    from engine.recipe.load import load_recipes

    dataset, classes = one_dataset(loaded.recipe for loaded in load_recipes(recipe, overrides=overrides))
    with progress_bar("converting") as tell:
        done = convert(dataset, classes, to=form, out_dir=out, link=link, on_progress=tell)
    what = f"{count(done.num_images, 'image')} with {count(done.num_objects, 'object')}"
    console(stderr=True).print(f"wrote {what} as {_NAMES[form]} into {shown_path(str(out))}", soft_wrap=True)
    print_problems(group(done.problems))
    console(stderr=True).print(f"for a recipe in {shown_path(str(recipe.parent)) or '.'}:", soft_wrap=True)
    click.echo(dataset_lines(done.dataset, recipe.parent), nl=False)
    sys.exit(1 if has_errors(done.problems) else 0)

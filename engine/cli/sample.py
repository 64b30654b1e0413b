"""`engine sample`: draw a small dataset to try things on."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.printing import progress_bar
from engine.errors import DataError


@click.command("sample")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", default=0, type=click.IntRange(0), show_default=True, help="One seed, one set of photos.")
@click.option("--train", "num_train", default=240, type=click.IntRange(1), show_default=True, help="Training photos.")
@click.option("--val", "num_val", default=60, type=click.IntRange(1), show_default=True, help="Validation photos.")
@click.option("--test", "num_test", default=40, type=click.IntRange(0), show_default=True, help="Test photos.")
@click.option("--if-absent", is_flag=True, help="Do nothing when the folder already holds a sample dataset.")
def command(folder: Path, seed: int, num_train: int, num_val: int, num_test: int, *, if_absent: bool) -> None:
    """Draw a Pascal VOC dataset of mugs, laptops and keyboards on desks into FOLDER."""
    from engine.sample import SampleCounts, write_sample
    from engine.sample.write import MARKER

    if if_absent and (folder / MARKER).exists():
        click.echo(f"{folder} is there already")
        return
    counts = SampleCounts(num_train, num_val, num_test)
    with progress_bar(unit="photos", keep=True) as tell:
        try:
            write_sample(folder, seed=seed, counts=counts, on_image=tell)
        except FileExistsError as error:
            raise DataError.of("D001", str(folder), str(error), "name another folder, or remove this one") from error
        except OSError as error:
            raise DataError.of("D002", str(folder), f"can't be written: {error}", "name another folder") from error
    click.echo(f"drew {num_train} training, {num_val} validation and {num_test} test photos into {folder}")

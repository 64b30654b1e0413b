"""`engine predict`: detect objects in images with a run's best model."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from engine.cli.options import count, runs_option
from engine.cli.printing import console, print_problems, shown_path
from engine.errors import DataError, Problem, printable
from engine.modelfile import find_model
from engine.rundir import write_bytes_atomic

if TYPE_CHECKING:
    from engine.evaluation.drawing import DrawnBoxes

_JPEG_QUALITY = 92
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


@click.command("predict")
@click.argument("run")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--threshold", default=0.5, show_default=True, type=click.FloatRange(0, 1), help="Least score shown.")
@click.option("--out", "out_dir", type=click.Path(path_type=Path, file_okay=False),
              help="Folder for pictures and predictions.json; the run's predictions/ when left out.")
@click.option("--json", "as_json_only", is_flag=True, help="Print JSON instead of a table.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps or auto.")
@runs_option
def command(
    run: str, images: tuple[Path, ...], threshold: float, out_dir: Path | None, device: str, runs_dir: Path,
    *, as_json_only: bool,
) -> None:
    """Detect objects in IMAGES (files or folders) with the best model of RUN.

    Prints a table, draws each picture, and writes predictions.json. Exit code 1 when an image
    couldn't be read.
    """
    file = find_model(run, runs_dir)
    paths = find_images(images)
    target = out_dir or (file.run_dir.predictions if file.run_dir else Path("predictions"))
    pairs = output_paths(paths, target)
    refuse_overwriting(pairs, target)

    from tqdm import tqdm

    from engine.annotations import load_rgb
    from engine.evaluation.drawing import draw_boxes, save_jpeg
    from engine.evaluation.predict import above, as_json, load_predictor

    predictor = load_predictor(file, device)
    names = predictor.detector.class_names
    results: list[tuple[Path, DrawnBoxes]] = []
    problems: list[Problem] = []
    for path, drawn_path in tqdm(pairs, unit=" images", disable=not sys.stderr.isatty()):
        try:
            found = above(predictor.predict(path), threshold)
            picture = draw_boxes(load_rgb(path, apply_exif=True), names, found)
        except DataError as error:
            problems.extend(error.problems)
            continue
        save_jpeg(picture, drawn_path, quality=_JPEG_QUALITY)
        results.append((path, found))
    plain = [as_json(path, found, names) for path, found in results]
    text = json.dumps({"run": file.name, "epoch": predictor.epoch + 1, "threshold": threshold, "images": plain},
                      indent=2)
    write_bytes_atomic(target / "predictions.json", text.encode())
    if as_json_only:
        click.echo(text)
    else:
        _print(results, names, target)
    print_problems(problems)
    sys.exit(1 if problems else 0)


def find_images(images: Sequence[Path]) -> list[Path]:
    """The picture files that a person named, folders searched.

    Raises:
        DataError: A name doesn't exist, or a folder holds no pictures.
    """
    found: list[Path] = []
    problems: list[Problem] = []
    for name in images:
        if name.is_dir():
            inside = sorted(path for path in name.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
            found.extend(inside)
            if inside:
                continue
        elif name.is_file():
            found.append(name)
            continue
        error = DataError.of("X103", str(name), "no picture is there", "name picture files, or folders that hold some")
        problems.extend(error.problems)
    if problems:
        raise DataError(problems)
    return found


def output_paths(paths: Sequence[Path], target: Path) -> list[tuple[Path, Path]]:
    """Each picture with the file it is drawn into; names that would clash get a number."""
    taken: set[str] = set()
    pairs = []
    for path in paths:
        name, number = f"{path.stem}.jpg", 2
        while name.lower() in taken:
            name, number = f"{path.stem}-{number}.jpg", number + 1
        taken.add(name.lower())
        pairs.append((path, target / name))
    return pairs


def _is_ours(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.keys() >= {"run", "threshold", "images"}


def refuse_overwriting(pairs: Sequence[tuple[Path, Path]], target: Path) -> None:
    """Stop before a person's file is overwritten; only a folder of former predictions may be.

    Raises:
        DataError: A file to be written is there and isn't a former prediction.
    """
    inputs = {path.resolve() for path, _ in pairs}
    ours = _is_ours(target / "predictions.json")
    for drawn_path in (target / "predictions.json", *(drawn_path for _, drawn_path in pairs)):
        if drawn_path.resolve() in inputs or (drawn_path.exists() and not ours):
            raise DataError.of(
                "X104", str(drawn_path), "this file would be overwritten", "name another folder with --out"
            )


def _print(results: Sequence[tuple[Path, DrawnBoxes]], names: Sequence[str], target: Path) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("image", "class", "score", "x min", "y min", "x max", "y max"):
        table.add_column(heading, justify="left" if heading in ("image", "class") else "right")
    num_found = 0
    for path, found in results:
        assert found.scores is not None  # predictions have scores
        for box, label, score in zip(found.boxes_xyxy, found.labels, found.scores, strict=True):
            numbers = (f"{value:.0f}" for value in box)
            table.add_row(Text(printable(path.name)), Text(printable(names[label])), f"{score:.2f}", *numbers)
            num_found += 1
        if not len(found.labels):
            table.add_row(Text(printable(path.name)), Text("nothing", "dim"), "", "", "", "", "")
    out = console()
    out.print(table)
    out.print(
        f"{count(num_found, 'object')} in {count(len(results), 'image')}; pictures and predictions.json in "
        f"{shown_path(str(target))}", soft_wrap=True,
    )

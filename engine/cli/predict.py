"""`engine predict`: detect objects in photos, videos and streams with a trained model."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from engine.cli.options import DetectPrecision, count, precision_option, runs_option
from engine.cli.printing import console, print_problems, progress_bar, shown_path
from engine.errors import printable
from engine.machine import require_writable
from engine.modelfile import ModelFile, find_model
from engine.prediction.choices import LEAST_TILE, MOST_OVERLAP, MOST_TILE, Choices
from engine.prediction.inputs import Inputs, find_inputs
from engine.prediction.outputs import FORMS, Outputs

if TYPE_CHECKING:
    from engine.analysis import Thresholds
    from engine.prediction.job import Job, Tally

# Of more pictures than this, the table tells classes rather than every object.
_MOST_LISTED = 20
_INTERRUPTED = 130  # what shells say of a program that Ctrl-C ended


class _Threshold(click.ParamType[float | str]):
    """A score, or which of the run's own."""

    name = "threshold"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's
        return "SCORE|best|per-class"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if value in ("best", "per-class"):
            return str(value)
        return float(click.FloatRange(0, 1).convert(value, param, ctx))


class _Forms(click.ParamType[frozenset[str]]):
    """Forms of output, separated by commas."""

    name = "forms"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's
        return "FORM,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        if isinstance(value, frozenset):
            return value
        forms = {word.strip() for word in str(value).split(",") if word.strip()}
        unknown = sorted(forms - set(FORMS))
        if unknown:
            self.fail(f"no form {', '.join(map(repr, unknown))}; there are {', '.join(FORMS)}", param, ctx)
        return frozenset(forms)


@click.command("predict")
@click.argument("run")
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@click.option("--threshold", default="best", show_default=True, type=_Threshold(),
              help="Least score shown: a number, or the run's best by F1, for all or for each class.")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Look for this class only. May be given again.")
@click.option("--save", "forms", default="pictures", show_default=True, type=_Forms(),
              help=f"What to write besides predictions.json: {', '.join(FORMS)}.")
@click.option("--out", "out_dir", type=click.Path(path_type=Path, file_okay=False),
              help="Folder for what is written; the run's predictions/ when left out.")
@click.option("--tile", type=click.IntRange(LEAST_TILE, MOST_TILE), metavar="PX",
              help="Look at large pictures in tiles as well.")
@click.option("--overlap", type=click.FloatRange(0, MOST_OVERLAP), default=0.2, show_default=True,
              help="Share of a tile that its neighbour shows too.")
@click.option("--batch-size", type=click.IntRange(1, 256), help="Pictures at a time.  [default: suits the device]")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, metavar="N",
              help="Look at every Nth frame of videos and streams.")
@click.option("--recursive/--no-recursive", default=True, help="Search folders below folders.  [default: recursive]")
@click.option("--watch", "watched", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
              help="Go on with pictures as they arrive in this folder, until Ctrl-C.")
@click.option("--json", "as_json_only", is_flag=True,
              help="Print JSON instead of a table; a line for each picture where they come one by one.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps or auto.")
@precision_option
@runs_option
def command(
    run: str, inputs: tuple[str, ...], threshold: float | str, classes: tuple[str, ...], forms: frozenset[str],
    out_dir: Path | None, tile: int | None, overlap: float, batch_size: int | None, every: int, watched: Path | None,
    device: str, precision: DetectPrecision, runs_dir: Path, *, recursive: bool, as_json_only: bool,
) -> None:
    """Detect objects in every INPUT with the model RUN.

    RUN is a run (its best model) or a checkpoint file. INPUT is a picture, a folder, a pattern such as "shots/*.jpg",
    a video, camera:0, or the URL of a stream. Exit code 1 when something couldn't be read.
    """
    if not inputs and watched is None:
        raise click.UsageError("name pictures, or a folder with --watch")
    file = find_model(run, runs_dir)
    found = find_inputs(inputs, recursive=recursive)
    outputs = Outputs(out_dir or (file.run_dir.predictions if file.run_dir else Path("predictions")), forms)
    _refuse(found, outputs, watched)

    from engine.evaluation.predict import load_predictor
    from engine.prediction.apply import Applier, least_scores
    from engine.prediction.job import Job
    from engine.prediction.saving import Saver

    predictor = load_predictor(file, device, precision)
    least, per_class, whence = _thresholds(threshold, predictor.thresholds, file)
    choices = Choices(least, per_class, classes, tile, overlap)
    least_scores(predictor.class_names, choices)  # refuses classes before anything is written
    about = {"run": file.name, "epoch": predictor.epoch + 1, "threshold": least}
    saver = Saver(outputs, predictor.class_names, about | ({"thresholds": per_class} if per_class else {}))
    job = Job(Applier(predictor, batch_size), choices, saver, every)
    one_by_one = watched is not None or bool(found.videos or found.streams)
    if as_json_only and one_by_one:
        job.on_seen = lambda plain: click.echo(json.dumps(plain))
    try:
        _work(job, found, watched, recursive=recursive)
    finally:
        saver.close()
    if as_json_only:
        if not one_by_one:
            click.echo(json.dumps(saver.index(), indent=2))
    else:
        _print(job, saver.images, outputs, f"least score {whence}")
    print_problems(job.tally.problems)
    sys.exit(_INTERRUPTED if job.tally.interrupted else 1 if job.tally.problems else 0)


def _refuse(found: Inputs, outputs: Outputs, watched: Path | None) -> None:
    """Stop for what is known to be wrong before anything is loaded.

    Raises:
        EngineError: Files would be overwritten, or PyAV is missing.
    """
    from engine.prediction.outputs import require_outside

    outputs.require_free(found)
    require_writable(outputs.target, "name another folder with --out")
    if watched is not None:
        require_outside(outputs.target, watched)
    if found.videos or found.streams:
        from engine.prediction.video import require_video

        require_video()


def _thresholds(
    wanted: float | str, known: Thresholds | None, file: ModelFile
) -> tuple[float, dict[str, float], str]:
    """The least score of all, those of classes, and where they come from in words."""
    from engine.analysis import DEFAULT_SCORE

    if not isinstance(wanted, str):
        return wanted, {}, f"{wanted:.2f}"
    if known is None:
        return DEFAULT_SCORE, {}, f"{DEFAULT_SCORE:.2f}, for nothing was measured that would tell the best"
    whose = "the run's" if file.run_dir else "the model's"
    if wanted == "best":
        return known.overall, {}, f"{known.overall:.2f}, {whose} best by F1 on val"
    told = ", ".join(f"{printable(name)} {score:.2f}" for name, score in known.per_class.items())
    return known.overall, known.per_class, f"{told}: {whose} best by F1 on val"


def _work(job: Job, found: Inputs, watched: Path | None, *, recursive: bool) -> None:
    from engine.prediction.watching import Arrivals

    # What arrives while the named pictures are looked at is new too.
    arrivals = Arrivals(watched, time.monotonic, recursive=recursive) if watched is not None else None
    with progress_bar(unit="images") as tell:
        job.on_progress = tell
        job.run(found)
        if arrivals is not None and watched is not None and not job.tally.interrupted:
            if not job.tally.problems:
                console(stderr=True).print(f"watching {shown_path(str(watched))}; Ctrl-C ends it", soft_wrap=True)
            job.watch(arrivals, watched)


def _print(job: Job, images: Sequence[dict[str, Any]], outputs: Outputs, whence: str) -> None:
    tally = job.tally
    out = console()
    listed = len(images) == tally.num_images <= _MOST_LISTED
    if tally.num_images:
        out.print(_objects(images) if listed else _classes(tally, job.saver.class_names))
    pictures = count(tally.num_images, "image")
    out.print(f"{count(sum(tally.objects.values()), 'object')} in {pictures}, {whence}", soft_wrap=True)
    if tally.num_dropped:
        out.print(f"{count(tally.num_dropped, 'frame')} came too fast and went unseen", soft_wrap=True)
    if tally.interrupted:
        out.print("ended by Ctrl-C; what was found so far is kept", soft_wrap=True)
    out.print(f"written into {shown_path(str(outputs.target))}", soft_wrap=True)


def _objects(images: Sequence[dict[str, Any]]) -> Table:
    """Every object."""
    table = _table("image", "class", numbers=("score", "x min", "y min", "x max", "y max"))
    for image in images:
        name = Text(printable(Path(image["image"]).name))
        for one in image["detections"]:
            box = (f"{value:.0f}" for value in one["box_xyxy"])
            table.add_row(name, Text(printable(one["label"])), f"{one['score']:.2f}", *box)
        if not image["detections"]:
            table.add_row(name, Text("nothing", "dim"), "", "", "", "", "")
    return table


def _classes(tally: Tally, class_names: Sequence[str]) -> Table:
    """How many objects of each class."""
    table = _table("class", numbers=("objects", "in images"))
    for name in class_names:
        table.add_row(Text(printable(name)), str(tally.objects[name]), str(tally.images[name]))
    return table


def _table(*words: str, numbers: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in words:
        table.add_column(heading)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table

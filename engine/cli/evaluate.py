"""`engine evaluate`: how good a model, or another tool's detections, are, and what kinds of mistakes they make."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.options import DetectPrecision, precision_option, runs_option
from engine.cli.printing import console, print_problems, progress_bar, shown_path
from engine.machine import require_writable

if TYPE_CHECKING:
    from engine.cli.evaluating import Outcome


@click.command("evaluate")
@click.argument("model", required=False, metavar="[RUN|CHECKPOINT]")
@click.option("--split", type=click.Choice(("train", "val", "test")),
              help="Which photos of the recipe, or of --data; val when left out.")
@click.option("--data", type=click.Path(path_type=Path, exists=True),
              help="Other photos: a folder of them with their labels, or a recipe.")
@click.option("--ground-truth", type=click.Path(path_type=Path), help="COCO JSON; instead of a model.")
@click.option("--detections", type=click.Path(path_type=Path), help="COCO's list of results for --ground-truth.")
@click.option("--out", "out_dir", type=click.Path(path_type=Path, file_okay=False),
              help="Folder for the analysis and its pictures; the run's evaluation/ when left out.")
@click.option("--json", "as_json", is_flag=True, help="Print the analysis as JSON.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps or auto.")
@precision_option
@runs_option
def command(
    model: str | None, split: str | None, data: Path | None, ground_truth: Path | None, detections: Path | None,
    out_dir: Path | None, device: str, precision: DetectPrecision, runs_dir: Path, *, as_json: bool,
) -> None:
    """Measure the best model of RUN, a CHECKPOINT file, or another tool's detections.

    Tells COCO's and Pascal VOC's figures with intervals, each class, the best score thresholds, which classes are
    taken for which, what each kind of error costs, calibration and speed. Exit code 1 when a photo couldn't be read.
    """
    foreign = ground_truth is not None or detections is not None
    if foreign and (model is not None or split is not None or data is not None):
        raise click.UsageError("--ground-truth and --detections take the place of a model and its photos.")
    if out_dir is not None:
        from engine.cli.evaluating import refuse_overwriting

        refuse_overwriting(out_dir)
        require_writable(out_dir, "name another folder with --out")
    if foreign:
        if ground_truth is None or detections is None:
            raise click.UsageError("--ground-truth and --detections go together.")
        outcome = _foreign(ground_truth, detections, out_dir)
    elif model is None:
        raise click.UsageError("Name a run or a checkpoint, or give --ground-truth and --detections.")
    else:
        outcome = _own(model, split, data, out_dir, device, precision, runs_dir)
    _tell(outcome, as_json=as_json)
    print_problems(outcome.problems)
    sys.exit(1 if outcome.problems else 0)


def _own(
    model: str, split: str | None, data: Path | None, out_dir: Path | None, device: str,
    precision: DetectPrecision, runs_dir: Path,
) -> Outcome:
    from engine.cli.evaluating import Photos, as_split, evaluate_model, photos_in, photos_of_run
    from engine.modelfile import find_model

    file, wanted = find_model(model, runs_dir), as_split(split)

    def choose(names: Sequence[str]) -> Photos:
        return photos_of_run(file, wanted or "val") if data is None else photos_in(data, wanted, file, names)

    if out_dir is None and file.run_dir is not None:
        require_writable(file.run_dir.evaluation, "make it writable, or name another folder with --out")
    with progress_bar("detecting") as tell:
        return evaluate_model(file, choose, device, out_dir, tell, precision)


def _foreign(ground_truth: Path, detections: Path, out_dir: Path | None) -> Outcome:
    from engine.analysis.cocofile import read_file
    from engine.analysis.runfiles import Content, EvaluationFiles, analyse_content, save_analysis, save_measured
    from engine.cli.evaluating import Outcome

    read_from = EvaluationFiles(ground_truth, detections, Path(), Path())
    content = Content(read_file(ground_truth), read_file(detections))
    analysis = analyse_content(content, read_from)
    files = EvaluationFiles.in_folder(out_dir) if out_dir else None
    if files is not None:
        save_measured(files, content)
        save_analysis(files, analysis)
    return Outcome(analysis, files, ())


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    if outcome.files is not None:
        from engine.report.evaluation_plots import draw_plots

        draw_plots(outcome.analysis, outcome.files.plots)
    if as_json:
        from engine.analysis.runfiles import analysis_json

        sys.stdout.write(analysis_json(outcome.analysis).decode() + "\n")
        return
    from engine.cli.evaluation_table import print_analysis

    print_analysis(outcome.analysis)
    if outcome.files is not None:
        files = outcome.files
        console().print(
            f"all of it as JSON: {shown_path(str(files.analysis))}; pictures: {shown_path(str(files.plots))}/",
            soft_wrap=True,
        )

"""`engine export`: a run's best model as a file for other programs, judged before it is given away."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from engine.cli.options import count, figure, runs_option
from engine.cli.printing import console, print_problems, progress_bar, shown_path
from engine.errors import Problem, Where, printable
from engine.machine import require_writable
from engine.modelfile import find_model

if TYPE_CHECKING:
    from engine.export.bundle import Bundle
    from engine.export.exporting import Exported, Target
    from engine.export.gate import GateReport, NumberFormat

# Images that differ, as told on a terminal; the JSON tells more.
_NUM_TOLD = 8


@click.command("export")
@click.argument("run")
@click.option("--to", "target", type=click.Choice(["onnx", "torchscript"]), default="onnx", show_default=True,
              help="Kind of file.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), default="fp32", show_default=True,
              help="Number format of the network; boxes are always computed in fp32.")
@click.option("--bundle", "bundle_path", type=click.Path(path_type=Path), metavar="DIR|FILE.zip",
              help="Also make a bundle for a device: model, runner, README.")
@click.option("--check", "checked", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Export nothing; judge a file that was exported from RUN before.")
@click.option("--images", "num_images", type=click.IntRange(min=0), default=200, show_default=True,
              help="Validation images to compare on; 0 takes all.")
@click.option("--calibration", "num_calibration", type=click.IntRange(min=0), default=100, show_default=True,
              help="Training images that int8 takes its ranges from; 0 takes all.")
@click.option("--max-ap-drop", type=click.FloatRange(min=0, max=1),
              help="AP that may be lost.  [default: 0.002, 0.01 for fp16, 0.02 for int8]")
@click.option("--overwrite", is_flag=True, help="Replace a former export and a former bundle.")
@click.option("--json", "as_json", is_flag=True, help="Print what was measured as JSON.")
@runs_option
def command(
    run: str, target: Target, precision: NumberFormat, bundle_path: Path | None, checked: Path | None,
    num_images: int, num_calibration: int, max_ap_drop: float | None, runs_dir: Path,
    *, overwrite: bool, as_json: bool,
) -> None:
    """Export the best model of RUN (or a checkpoint in a run) into the run's export/ folder.

    The file takes a photo of any size and gives boxes in its pixels: resizing, normalisation and suppression are
    inside. It gets its name only when it finds on validation images what the trained model finds; otherwise it is
    put aside, the images that differ are named, and the exit code is 1.
    """
    if bundle_path is not None and (target != "onnx" or checked is not None):
        raise click.UsageError("--bundle goes with --to onnx, and not with --check")
    file = find_model(run, runs_dir)

    from engine.export.bundle import make_bundle, require_free
    from engine.export.exporting import Wish, check_file, export_model, former_export, run_of

    wish = Wish(target, precision, num_images, num_calibration, max_ap_drop, overwrite)
    if checked is not None:
        with progress_bar() as tell:
            report = check_file(file, checked, wish, lambda what, done, total: tell(done, total, what))
        _tell(report, checked, report.as_dict(), precision, as_json=as_json)
        sys.exit(0 if report.passed else 1)
    if bundle_path is not None:
        require_free(bundle_path, overwrite=overwrite)
    if bundle_path is not None:
        require_writable(bundle_path.parent, "name another place with --bundle")
    exported = former_export(file, wish) if bundle_path is not None and not overwrite else None
    if exported is None:
        require_writable(run_of(file).exports, "make it writable, or copy the run to where you may write")
        with progress_bar() as tell:
            exported = export_model(file, wish, lambda what, done, total: tell(done, total, what))
    bundle = None
    if bundle_path is not None and exported.report.passed:
        bundle = make_bundle(exported, bundle_path, overwrite=overwrite)
    _tell(exported.report, exported.path, exported.facts, precision, as_json=as_json)
    _tell_files(exported, bundle, quiet=as_json)
    sys.exit(0 if exported.report.passed else 1)


def _tell(
    report: GateReport, path: Path, facts: dict[str, object], precision: NumberFormat, *, as_json: bool
) -> None:
    if as_json:
        click.echo(json.dumps({"file": str(path), **facts}, indent=2))
    else:
        out = console()
        out.print(_table(report, path))
        if report.agreement is None:
            out.print("neither finds anything on these images, so only AP was compared", soft_wrap=True)
        else:
            share = f"{100 * report.agreement:.2f}".rstrip("0").rstrip(".")
            out.print(
                f"{share} % of {count(report.num_detections, 'detection')} on {count(report.num_images, 'image')} "
                "agree", soft_wrap=True,
            )
    if not report.passed:
        print_problems([refusal(report, path, precision)])


def refusal(report: GateReport, path: Path, precision: NumberFormat) -> Problem:
    """Why a file wasn't let through, with the images that differ, and what may help."""
    images = [f"{one.image} ({one.missed} missed, {one.added} added)" for one in report.differing[:_NUM_TOLD]]
    more = report.num_differing - len(images)
    where = f"; {', '.join(images)}{f' and {more} more' if more > 0 else ''}" if images else ""
    found = f"the file doesn't find what the trained model finds: {'; '.join(report.reasons)}{where}"
    return Problem("X408", Where(str(path)), found, _remedy(report, precision))


def _remedy(report: GateReport, precision: NumberFormat) -> str:
    """What may help against a refusal; a larger loss of AP may be allowed, but never other boxes."""
    remedies = {
        "fp32": ["export it again with other versions of torch and onnxruntime"],
        "fp16": ["use fp32"],
        "int8": ["calibrate with more images (--calibration 0 takes all)", "use fp16 or fp32"],
    }[precision]
    if report.only_costs_ap:
        remedies.append("allow more with --max-ap-drop")
    return ", or ".join(remedies)


def _table(report: GateReport, path: Path) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("trained model", justify="right")
    table.add_column(Text(printable(path.name)), justify="right")
    sides = report.torch, report.exported
    table.add_row("AP", *(figure(side.ap, 4) for side in sides))
    table.add_row("AP50", *(figure(side.ap50, 4) for side in sides))
    table.add_row("ms per image", *(figure(side.ms_per_image, 1) for side in sides))
    return table


def _tell_files(exported: Exported, bundle: Bundle | None, *, quiet: bool) -> None:
    out = console(stderr=quiet)
    size = f"{exported.path.stat().st_size / 1e6:.1f} MB"
    if not exported.report.passed:
        words = "refused and put aside"
    else:
        words = "there already" if exported.reused else "exported"
    out.print(f"{words}: {shown_path(str(exported.path))} ({size})", soft_wrap=True)
    if bundle is not None:
        out.print(f"bundle: {shown_path(str(bundle.path))} ({bundle.size_bytes / 1e6:.1f} MB)", soft_wrap=True)

"""`engine replay`: repeat a step that a run discarded."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from engine.cli.options import runs_option
from engine.cli.printing import console, shown_path
from engine.errors import QueueError, printable
from engine.recipe.load import read_resolved
from engine.rundir import RunDir, find_run_dir

if TYPE_CHECKING:
    from engine.training.replay import Repeated


@click.command("replay")
@click.argument("run")
@click.option("--step", type=click.IntRange(1), help="Which discarded step; the first one when left out.")
@click.option("--list", "only_list", is_flag=True, help="List the steps that can be repeated.")
@runs_option
def command(run: str, step: int | None, runs_dir: Path, *, only_list: bool) -> None:
    """Repeat a step of RUN that was discarded because its loss or gradients were spoilt.

    A run keeps its first few discarded steps: the images, the weights before the step and every random
    state. Nothing of the run is changed. Exit code 0 when the step came out as it was, to the bit.
    """
    run_dir = find_run_dir(runs_dir, run)
    bundle = _bundle(run_dir, step)
    if only_list:
        for path in _bundles(run_dir):
            click.echo(f"step {_step_of(path)}")
        return

    from engine.training.replay import repeat

    repeated = repeat(read_resolved(run_dir.resolved), bundle)
    _print(repeated)
    sys.exit(0 if repeated.is_the_same else 1)


def _bundles(run_dir: RunDir) -> list[Path]:
    return sorted(run_dir.replays.glob("step-*.pt"))


def _step_of(bundle: Path) -> int:
    """The one-based step of a bundle."""
    return int(bundle.stem.removeprefix("step-")) + 1


def _bundle(run_dir: RunDir, step: int | None) -> Path:
    bundles = _bundles(run_dir)
    if not bundles:
        raise QueueError.of(
            "Q130", run_dir.run_id, "the run keeps no discarded step",
            "there is nothing to repeat: no loss was spoilt, or the disk was too full to keep the step",
        )
    if step is None:
        return bundles[0]
    found = [bundle for bundle in bundles if _step_of(bundle) == step]
    if not found:
        steps = ", ".join(str(_step_of(bundle)) for bundle in bundles)
        raise QueueError.of("Q130", run_dir.run_id, f"step {step} isn't kept", f"kept are the steps {steps}")
    return found[0]


def _print(repeated: Repeated) -> None:
    out = console()
    out.print(f"step {repeated.step + 1}, {len(repeated.image_paths)} images")
    parts = Table("part of the loss", "then", "now", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, value in repeated.recorded.items():
        parts.add_row(name, _figure(value), _figure(repeated.losses.get(name, math.nan)))
    out.print(parts)
    images = Table("image", "objects", "loss alone", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for path, boxes, loss in zip(repeated.image_paths, repeated.num_boxes, repeated.alone, strict=True):
        ink = "" if math.isfinite(loss) else "bold red"
        images.add_row(Text(printable(shown_path(path))), str(boxes), Text(_figure(loss), style=ink))
    out.print(images)
    if repeated.first_fault:
        out.print(f"the first layer whose output isn't finite: {repeated.first_fault}")
    elif all(math.isfinite(loss) for loss in repeated.alone):
        out.print("every layer's output is finite: the loss is only huge, as after steps at too high a learning rate")
    out.print(f"norm of the gradients: {_figure(repeated.gradient_norm)}")
    out.print(
        "the step came out as it was, to the bit" if repeated.is_the_same
        else "the step came out differently: another machine, device or version of torch computes it"
    )


def _figure(value: float) -> str:
    return f"{value:.6g}"

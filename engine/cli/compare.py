"""`engine compare`: which run is best, and whether that is more than luck."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cli.choosing import RUNS_HELP, run_dirs_of, runs_argument
from engine.cli.options import count, figure, runs_option
from engine.cli.printing import console, print_problems, progress_bar, shown_path
from engine.errors import DataError, Problem, printable
from engine.machine import require_writable
from engine.rundir import RunDir, write_bytes_atomic

if TYPE_CHECKING:
    from engine.analysis.comparison import Compared, Comparison, Contender, Placed
    from engine.report.evaluation_plots import Series

# Below this many columns intervals make room for the runs' names.
_NARROW = 76
_LEAST_NAME = 12
_WIDE = 100
_FILES = ("comparison.json", "comparison.csv", "comparison.png")


@click.command("compare", epilog=RUNS_HELP)
@runs_argument
@click.option("--split", default="val", show_default=True, type=click.Choice(("train", "val", "test")),
              help="Which photos of the recipes, or of --data.")
@click.option("--data", type=click.Path(path_type=Path, exists=True),
              help="Other photos for all of them: a folder of them with their labels, or a recipe.")
@click.option("--out", "out_dir", type=click.Path(path_type=Path, file_okay=False),
              help="Folder for comparison.json, .csv and .png, the curves over one another.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the ranking as CSV.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps or auto.")
@runs_option
@click.pass_context
def command(
    ctx: click.Context, runs: tuple[str, ...], split: str, data: Path | None, out_dir: Path | None, device: str,
    runs_dir: Path, *, as_json: bool, as_csv: bool,
) -> None:
    """Rank RUNS by AP, with intervals, and tell which differences are more than luck.

    All are judged on the same photos; what wasn't measured on them yet is measured first. Shows each class and the
    keys in which the recipes differ.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two answers; take one of them.")
    run_dirs = run_dirs_of(runs, runs_dir)
    if len(run_dirs) < 2:
        raise click.UsageError("Name two runs or more.")
    if out_dir is not None:
        _refuse_overwriting(out_dir)
        require_writable(out_dir, "name another folder with --out")
    chosen = split if ctx.get_parameter_source("split") is not click.core.ParameterSource.DEFAULT else None
    contenders, problems = _contenders(run_dirs, chosen, data, device)
    compared = _compared(contenders, run_dirs)
    if out_dir is not None:
        _write(compared, [run_dirs[place] for place in compared.order], out_dir)
    if as_json or as_csv:
        sys.stdout.write(_json(compared.comparison).decode() + "\n" if as_json else _csv(compared.comparison))
    else:
        _print(compared.comparison)
        if out_dir is not None:
            console().print(f"JSON, CSV and curves: {shown_path(str(out_dir))}/comparison.*", soft_wrap=True)
    print_problems(problems)
    sys.exit(1 if problems else 0)


def _refuse_overwriting(out_dir: Path) -> None:
    import msgspec

    from engine.analysis.comparison import Comparison

    try:
        msgspec.json.decode((out_dir / _FILES[0]).read_bytes(), type=Comparison)
    except (OSError, msgspec.DecodeError):
        for name in _FILES:
            if (out_dir / name).exists():
                raise DataError.of(
                    "X104", str(out_dir / name), "this file would be overwritten", "name another folder with --out"
                ) from None


# --- what each run found ---


def _contenders(
    run_dirs: Sequence[RunDir], split: str | None, data: Path | None, device: str
) -> tuple[list[Contender], list[Problem]]:
    contenders: list[Contender] = []
    problems: list[Problem] = []
    for run_dir in run_dirs:
        contender, told = _contender(run_dir, split, data, device)
        contenders.append(contender)
        problems.extend(told)
    return contenders, problems


def _contender(
    run_dir: RunDir, split: str | None, data: Path | None, device: str
) -> tuple[Contender, Sequence[Problem]]:
    """What a run's best model found: as it was kept, or found now where it wasn't or the model is a newer one."""
    from engine.analysis import read_measured
    from engine.analysis.comparison import Contender
    from engine.analysis.runfiles import EvaluationFiles, read_analysis
    from engine.cli.evaluating import Photos, as_split, evaluate_model, name_of_data, photos_in, photos_of_run
    from engine.modelfile import find_model

    wanted = as_split(split)
    name = name_of_data(data, wanted) if data else (wanted or "val")
    # Photos under --data may have changed since, so they are always looked at anew.
    measured = None if data else read_measured(run_dir, name)
    problems: Sequence[Problem] = ()
    if measured is None or measured.source.epoch != _best_epoch(run_dir, measured.source.epoch):
        file = find_model(run_dir)

        def choose(names: Sequence[str]) -> Photos:
            return photos_of_run(file, wanted or "val") if data is None else photos_in(data, wanted, file, names)

        with progress_bar(f"detecting: {run_dir.run_id}") as tell:
            problems = evaluate_model(file, choose, device, None, tell).problems
        measured = read_measured(run_dir, name)
        assert measured is not None  # it was just written
    analysis = read_analysis(EvaluationFiles.of_run(run_dir, name).analysis)
    speed = analysis.speed if analysis else None
    return Contender(run_dir.run_id, measured.truth, measured.found, measured.source, speed), problems


def _best_epoch(run_dir: RunDir, unknown: int | None) -> int | None:
    from engine.events import CheckpointEvent, EventTail

    events = EventTail(run_dir.events).read_all()
    best = [one.epoch for one in events if isinstance(one, CheckpointEvent) and one.kind == "best"]
    return best[-1] if best else unknown


def _compared(contenders: Sequence[Contender], run_dirs: Sequence[RunDir]) -> Compared:
    from dataclasses import replace

    import msgspec

    from engine.analysis.comparison import RecipeDifference, compare
    from engine.recipe.difference import differing
    from engine.recipe.load import read_resolved

    compared = compare(contenders)
    recipes = [read_resolved(run_dirs[place].resolved) for place in compared.order]
    rows = tuple(RecipeDifference(key=key, values=tuple(values)) for key, values in differing(recipes).items())
    return replace(compared, comparison=msgspec.structs.replace(compared.comparison, recipe_differences=rows))


# --- files ---


def _write(compared: Compared, run_dirs: Sequence[RunDir], out_dir: Path) -> None:
    from engine.report.evaluation_plots import draw_comparison

    write_bytes_atomic(out_dir / _FILES[0], _json(compared.comparison))
    write_bytes_atomic(out_dir / _FILES[1], _csv(compared.comparison).encode())
    draw_comparison(compared.analyses, [_series(run_dir) for run_dir in run_dirs], out_dir / _FILES[2])


def _series(run_dir: RunDir) -> Series:
    from engine.events import EpochEvent, EventTail
    from engine.report.evaluation_plots import Series

    def known(value: float | None) -> float:
        return float("nan") if value is None else value

    epochs = [event for event in EventTail(run_dir.events).read_all() if isinstance(event, EpochEvent)]
    return Series(
        run_dir.run_id, [event.epoch + 1 for event in epochs], [known(event.ap) for event in epochs],
        [known(event.val_loss) for event in epochs],
    )


def _json(comparison: Comparison) -> bytes:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(comparison), indent=1)


def _csv(comparison: Comparison) -> str:
    """A line for each model; a column for each figure and each class's AP."""
    import msgspec

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    figures = msgspec.structs.fields(type(comparison.models[0].figures))
    writer.writerow([
        "rank", "run", "epoch", "split", "images", *(one.name for one in figures), "ap_low", "ap_high", "behind_ap",
        "behind_low", "behind_high", "behind_real", "f1", "score", "median_s",
        *(f"ap {name}" for name in comparison.class_names),
    ])
    for one in comparison.models:
        within = (one.ap_interval.low, one.ap_interval.high) if one.ap_interval else (None, None)
        behind = one.behind
        lacks = (behind.interval.low, behind.interval.high) if behind and behind.interval else (None, None)
        writer.writerow([
            one.rank, one.name, None if one.epoch is None else one.epoch + 1, comparison.split, comparison.num_images,
            *msgspec.structs.astuple(one.figures), *within, behind.ap if behind else None, *lacks,
            behind.real if behind else None, one.f1, one.score, one.median_s,
            *(one.ap_per_class[name] for name in comparison.class_names),
        ])
    return text.getvalue()


# --- the terminal ---


def _print(comparison: Comparison) -> None:
    out = console()
    out.print(Text.assemble(
        (f"{count(len(comparison.models), 'run')} on {printable(comparison.split)}", "bold"),
        (f"  {count(comparison.num_images, 'image')}, {count(comparison.num_objects, 'object')}", "dim"),
    ))
    for note in comparison.notes:
        out.print(printable(note), style="yellow")
    out.print()
    _print_ranking(out, comparison)
    _print_verdicts(out, comparison)
    if len(comparison.class_names) > 1:
        _print_rows(out, "AP", comparison, [
            (name, [figure(one.ap_per_class[name]) for one in comparison.models]) for name in comparison.class_names
        ])
    if comparison.recipe_differences:
        _print_rows(out, "recipe", comparison, [(one.key, one.values) for one in comparison.recipe_differences])


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)


def _print_ranking(out: Console, comparison: Comparison) -> None:
    table, wide = _table(), out.width >= _WIDE
    table.add_column("")
    table.add_column("run", overflow="fold", min_width=_LEAST_NAME)
    narrow = out.width < _NARROW
    headings = ["AP", *([] if narrow else ["95 %"]), "AP50", *(["AP75", "AR100", "F1", "ms/image"] if wide else [])]
    for heading in [*headings, "behind", *([] if narrow else ["95 %"])]:
        table.add_column(heading, justify="right", no_wrap=True)
    for one in comparison.models:
        figures, behind = one.figures, one.behind
        speed_ms = one.median_s and 1000 * one.median_s
        wider = (*map(figure, (figures.ap75, figures.ar100, one.f1)), figure(speed_ms, 0)) if wide else ()
        lacks = behind.interval if behind else None
        range_ap = Text(f"{one.ap_interval.low:.3f}-{one.ap_interval.high:.3f}" if one.ap_interval else "", "dim")
        range_behind = Text(f"{lacks.low:.3f} to {lacks.high:.3f}" if lacks else "", "dim")
        table.add_row(
            f"#{one.rank}", Text(printable(one.name), "bold green" if one.rank == 1 else ""), figure(figures.ap),
            *([] if narrow else [range_ap]), figure(figures.ap50), *wider, figure(behind.ap) if behind else "",
            *([] if narrow else [range_behind]),
        )
    out.print(table)
    out.print()


def _print_verdicts(out: Console, comparison: Comparison) -> None:
    from engine.analysis.comparison import FEWEST_IMAGES

    best, *others = comparison.models
    if best.figures.ap is None:
        out.print("there is nothing to find in these images, so nothing can be ranked", style="yellow")
    alike = [one for one in others if one.behind and one.behind.real is False]
    worse = [one for one in others if one.behind and one.behind.real]
    if comparison.num_images < FEWEST_IMAGES and any(one.behind for one in others):
        are = "is" if comparison.num_images == 1 else "are"
        words = f"{count(comparison.num_images, 'image')} {are} too few to tell skill from luck: measure on "
        out.print(Text(f"{words}{FEWEST_IMAGES} or more, with --split or --data", "yellow"), soft_wrap=True)
    for one in alike:
        assert one.behind is not None  # chosen by it
        out.print(_alike(best, one))
    if worse:
        names = ", ".join(f"#{one.rank}" for one in worse)
        out.print(Text(f"#1 is better than {names}: that is more than luck with these images", "green"))
    out.print()


def _alike(best: Placed, one: Placed) -> Text:
    assert one.behind is not None  # asked before
    chance = one.behind.share_better
    words = f"#{best.rank} and #{one.rank} can't be told apart with these images"
    return Text(words + (f": #{one.rank} was better in {chance:.0%} of the resamples" if chance else ""), "yellow")


def _print_rows(
    out: Console, title: str, comparison: Comparison, rows: Sequence[tuple[str, Sequence[str]]]
) -> None:
    """A row for each class or key, a column for each run by its rank."""
    table = _table()
    table.add_column(title, overflow="fold")
    for one in comparison.models:
        table.add_column(f"#{one.rank}", overflow="fold")
    for name, values in rows:
        strong = _best_value(values) if title == "AP" else None
        table.add_row(
            Text(printable(name)),
            *(Text(printable(value), "bold" if place == strong else "") for place, value in enumerate(values)),
        )
    out.print(table)
    out.print()


def _best_value(values: Sequence[str]) -> int | None:
    known = [(float(value), -place) for place, value in enumerate(values) if value != "-"]
    return -max(known)[1] if known else None

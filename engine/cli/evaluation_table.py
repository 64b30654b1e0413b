"""An analysis on the terminal, at 80 columns as at 120."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.analysis.schema import Analysis, ClassAnalysis, Interval, Operating
from engine.cli.options import count, figure
from engine.cli.printing import console
from engine.errors import printable

# Terminal widths from which each class has its interval and its sizes, and AP75 as well.
_WIDE, _WIDER = 112, 132
_MOST_CLASSES_CONFUSED = 8
_MOST_CONFUSIONS = 8
_BAR = 20


def print_analysis(analysis: Analysis) -> None:
    """Print all of it."""
    out = console()
    _title(out, analysis)
    if not analysis.num_objects:
        out.print("there is nothing to find in these images, so nothing can be measured", style="yellow")
    _figures(out, analysis)
    _classes(out, analysis)
    _errors(out, analysis)
    _confusion(out, analysis)
    _rest(out, analysis)


def _title(out: Console, analysis: Analysis) -> None:
    source = analysis.source
    epoch = f", epoch {source.epoch + 1}" if source.epoch is not None else ""
    line = Text(printable(source.model) + epoch, style="bold")
    if source.split:
        line.append(f"  on {printable(source.split)}", style="bold cyan")
    out.print(line)
    out.print(
        f"{count(analysis.num_images, 'image')}, {count(analysis.num_objects, 'object')}, "
        f"{count(analysis.num_detections, 'detection')}", style="dim",
    )
    out.print()


def _table(*headings: str, left: int = 1) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(Text(heading), justify="left" if place < left else "right", no_wrap=place >= left,
                         overflow="fold")
    return table


def _figures(out: Console, analysis: Analysis) -> None:
    figures, intervals = analysis.figures, analysis.intervals
    table = _table("", "", "95 %", "small", "medium", "large")
    rows: tuple[tuple[str, float | None, str, Sequence[float | None]], ...] = (
        ("AP", figures.ap, "ap", (figures.ap_small, figures.ap_medium, figures.ap_large)),
        ("AP50", figures.ap50, "ap50", ()),
        ("AP75", figures.ap75, "ap75", ()),
        ("VOC AP50", analysis.voc_ap50, "", ()),
        ("AR1", figures.ar1, "", ()),
        ("AR10", figures.ar10, "", ()),
        ("AR100", figures.ar100, "ar100", (figures.ar_small, figures.ar_medium, figures.ar_large)),
    )
    for name, value, key, others in rows:
        strong = Text(figure(value), style="bold" if key == "ap" else "")
        table.add_row(name, strong, _interval(intervals.get(key)), *map(figure, others))
    out.print(table)
    out.print()


def _interval(interval: Interval | None) -> Text:
    return Text(f"{interval.low:.3f} to {interval.high:.3f}" if interval else "", style="dim")


def _classes(out: Console, analysis: Analysis) -> None:
    if not analysis.classes:
        return
    wide, wider = out.width >= _WIDE, out.width >= _WIDER
    sizes = ("small", "medium", "large") if wide else ()
    table = _table(
        "class", "objects", "AP", *(("95 %",) if wide else ()), "AP50", *(("AP75",) if wider else ()), *sizes,
        "best at", "precision", "recall", "F1",
    )
    for one in analysis.classes:
        figures = _class_figures(one, wide=wide, wider=wider)
        table.add_row(printable(one.name), f"{one.num_objects:,}", *figures, *_at(one.best))
    if analysis.best is not None:
        gap = [""] * (len(table.columns) - 6)
        table.add_section()
        best = analysis.best
        table.add_row("all", f"{analysis.num_objects:,}", *gap, *_at(best))
    out.print(table)
    if analysis.best is not None:
        best = analysis.best
        out.print(Text(
            f"at {best.score:.3f}: {best.num_right:,} right, {best.num_wrong:,} wrong, {best.num_missed:,} missed; "
            "their F1 is the classes' mean", style="dim",
        ))
    out.print()


def _class_figures(one: ClassAnalysis, *, wide: bool, wider: bool) -> Iterable[str | Text]:
    figures = one.figures
    yield figure(figures.ap)
    if wide:
        yield _interval(one.intervals.get("ap"))
    yield figure(figures.ap50)
    if wider:
        yield figure(figures.ap75)
    if wide:
        yield from map(figure, (figures.ap_small, figures.ap_medium, figures.ap_large))


def _at(best: Operating | None) -> tuple[str, ...]:
    if best is None:
        return ("-",) * 4
    return (f"{best.score:.3f}", figure(best.precision), figure(best.recall), figure(best.f1))


def _errors(out: Console, analysis: Analysis) -> None:
    if analysis.figures.ap50 is None:
        return
    table = _table("error", "how many", "costs AP50", "", left=1)
    table.columns[-1].justify = "left"
    most = max((one.cost for one in analysis.errors), default=0)
    for one in sorted(analysis.errors, key=lambda one: -one.cost):
        filled = math.ceil(_BAR * one.cost / most) if most > 0 and one.cost > 0 else 0
        table.add_row(
            _ERROR_WORDS[one.kind], f"{one.count:,}", f"{100 * one.cost:.1f}", Text("█" * filled, style="red")
        )
    out.print(table)
    out.print()


_ERROR_WORDS = {
    "classification": "wrong class",
    "localisation": "box too far off",
    "both": "wrong class and box",
    "duplicate": "found twice",
    "background": "nothing there",
    "missed": "missed",
}


def _confusion(out: Console, analysis: Analysis) -> None:
    names = [printable(one.name) for one in analysis.classes]
    if not names:
        return
    counts = analysis.confusion.counts
    title = f"what is (down) taken for what (across), from score {analysis.confusion.score:.3f} on"
    widths = sum(max(len(name), 5) + 3 for name in [*names, "nothing"]) + max(map(len, [*names, "background"]))
    if len(names) > _MOST_CLASSES_CONFUSED or widths > out.width:
        _top_confusions(out, names, counts)
        return
    table = _table("", *names, "nothing")
    for row, (name, line) in enumerate(zip([*names, "background"], counts, strict=True)):
        cells = [
            Text(f"{number:,}" if number else "·", style="green" if row == column else "" if number else "dim")
            for column, number in enumerate(line)
        ]
        if row == len(names):
            table.add_section()
            cells[-1] = Text("")
        table.add_row(name, *cells)
    out.print(Text(title, style="bold"))
    out.print(table)
    out.print()


def _top_confusions(out: Console, names: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
    mistaken = sorted(
        ((counts[row][column], names[row], names[column]) for row in range(len(names)) for column in range(len(names))
         if row != column and counts[row][column]), reverse=True,
    )
    if mistaken:
        table = _table("what is", "taken for", "how often", left=2)
        for number, name, taken_for in mistaken[:_MOST_CONFUSIONS]:
            table.add_row(name, taken_for, f"{number:,}")
        out.print(table)
        out.print()


def _rest(out: Console, analysis: Analysis) -> None:
    if analysis.calibration is not None:
        bins = [one for one in analysis.calibration.bins if one.num_detections]
        direction = sum(one.num_detections * ((one.mean_score or 0) - (one.share_right or 0)) for one in bins)
        words = "too sure of itself" if direction > 0 else "too modest"
        out.print(f"calibration: scores are {analysis.calibration.ece:.3f} off on average (ECE), mostly {words}")
    if analysis.speed is not None:
        speed = analysis.speed
        form = "" if speed.precision == "fp32" else f", {speed.precision}"
        out.print(
            f"speed: {1000 * speed.median_s:.0f} ms an image (95 % below {1000 * speed.p95_s:.0f} ms) and "
            f"{1000 * speed.load_median_s:.0f} ms to load it, {speed.device}{form}"
        )

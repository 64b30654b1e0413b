"""The whole table of what engine gains: `python -m tests.bench.table`, or `make bench`.

Each detector is trained a few steps and then detects in a few photos: by the lesson's script, by a loop in the manner
of torchvision's reference, by engine exactly (fp32, default hardware), and by engine in bf16. End to end: JPEG photos
are read and decoded by each way's own loader. All begin with the same weights and see the same batches under the same
seeds. Each way has a process of its own, in interleaved rounds, and again with another allocator where one is
installed. Printed are medians with min-max over all counted steps, ratios to the lesson's script (with the system's
allocator, and with the same one), the peak of memory while training, and how far the losses are from the lesson's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from tests.bench.table.cases import Case, Way, cases, ways
from tests.bench.table.environment import found_allocator, worker_environment

Reading = dict[str, Any]
Readings = list[Reading]
_NUM_COMPARED = 3


def run_child(folder: Path, case: Case, way: Way | None, environment: Mapping[str, str]) -> str:
    """Run a process of `child.py`; what it printed last."""
    told = json.dumps("start" if way is None else asdict(way))
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.table.child", str(folder), json.dumps(asdict(case)), told],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )
    if done.returncode:
        raise SystemExit(f"{case.arch}, {way.name if way else 'weights'} failed:\n{done.stderr[-3000:]}")
    return (done.stdout.splitlines() or [""])[-1]


def read_rounds(
    chosen: Sequence[Case], folder: Path, *, minutes: float, rounds: int | None, console: Console, keep: Path | None
) -> Readings:
    """Interleaved rounds over all ways, as many as fit into the time, or as asked for."""
    from tests.bench.table.start import draw_photos

    name, preload = found_allocator()
    all_ways = ways(name)
    draw_photos(folder, max(case.batch_size * (case.num_warm_up + case.num_steps) for case in chosen))
    for case in chosen:
        run_child(folder, case, None, {})
    readings: Readings = []
    begun, number, took = time.monotonic(), 0, 0.0
    while number < (rounds or 1) or (rounds is None and time.monotonic() - begun + took < 60 * minutes):
        round_begun = time.monotonic()
        for case in chosen:
            # Each round begins with another way, so that none always comes first.
            shift = number % len(all_ways)
            for way in (*all_ways[shift:], *all_ways[:shift]):
                environment = {**(worker_environment() if way.training == "ours" else {}),
                               **(preload if way.allocator else {})}
                line = run_child(folder, case, way, environment)
                readings.append(json.loads(line))
                if keep:
                    with keep.open("a") as file:
                        file.write(line + "\n")
                reading = readings[-1]
                console.print(
                    f"round {number + 1}: {case.arch}, {way.name}: {statistics.median(reading['step_s']):.2f} s a step",
                    highlight=False, style="dim",
                )
        number, took = number + 1, time.monotonic() - round_begun
    return readings


def show(readings: Readings, chosen: Sequence[Case], console: Console, clock: str = "") -> None:
    """A table for each detector."""
    for case in chosen:
        by_way: dict[str, Readings] = {}
        for reading in readings:
            if reading["case"] == case.arch:
                by_way.setdefault(reading["way"], []).append(reading)
        if by_way:
            console.print(table_of(case, by_way, clock))
            console.print()


def table_of(case: Case, by_way: Mapping[str, Readings], clock: str) -> Table:
    """The figures of one detector."""
    some = next(iter(by_way.values()))[0]
    title = f"{case.title}, {some['threads']} threads; {max(map(len, by_way.values()))} rounds"
    table = Table(
        "", "a step", "times the lesson's", "same allocator", "peak memory", "loss off by", "a photo detected",
        "times the lesson's", "same allocator", title=title, box=MARKDOWN,
    )
    plain = by_way[Way("lesson").name]
    for name, readings in by_way.items():
        _, plus, allocator = name.partition(" + ")
        same = by_way[Way("lesson", allocator=allocator).name] if plus else plain
        row = [name, told(readings, "step", clock), *ratios(readings, plain, same, "step", clock)]
        row.insert(4, f"{max(one['memory_bytes'] for one in readings) / 1e9:.2f} GB")
        row.insert(5, loss_off(readings, plain))
        row += [told(readings, "photo", clock), *ratios(readings, plain, same, "photo", clock)]
        table.add_row(*row)
    return table


def values(readings: Readings, what: str, clock: str) -> list[float]:
    return [value for one in readings for value in one[f"{what}{clock}_s"]]


def told(readings: Readings, what: str, clock: str) -> str:
    """Median with min-max, in a fitting unit."""
    found = values(readings, what, clock)
    if not found:
        return ""
    low, middle, high = min(found), statistics.median(found), max(found)
    if middle < 1:
        return f"{1000 * middle:.0f} ms ({1000 * low:.0f}-{1000 * high:.0f})"
    return f"{middle:.2f} s ({low:.2f}-{high:.2f})"


def ratios(readings: Readings, plain: Readings, same: Readings, what: str, clock: str) -> tuple[str, str]:
    """How many times as fast as the lesson's, with the system's allocator and with the same one."""
    own = statistics.median(values(readings, what, clock))
    base, same_base = (statistics.median(values(one, what, clock)) for one in (plain, same))
    return f"{base / own:.2f}", f"{same_base / own:.2f}"


def loss_off(readings: Readings, plain: Readings) -> str:
    """Mean relative distance from the lesson's losses over the first steps; of one step where warm-ups differ."""
    # Later on, one box drawn otherwise for a last digit's sake has grown into another training.
    own, base = readings[0]["losses"][:_NUM_COMPARED], plain[0]["losses"][:_NUM_COMPARED]
    if readings[0]["way"] == Way("reference").name:
        own = own[:1]
    off = statistics.mean(abs(a - b) / b for a, b in zip(own, base, strict=False))
    return f"{100 * off:.2g} %"


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.table", description=__doc__)
    parser.add_argument("--only", default="", help="detectors by name, with commas")
    parser.add_argument("--full", action="store_true", help="all detectors of the catalogue: hours")
    parser.add_argument("--minutes", type=float, default=14.0, help="no further round is begun that would exceed this")
    parser.add_argument("--rounds", type=int, help="exactly so many, however long they take")
    parser.add_argument("--keep", type=Path, help="a file that gets each reading; those in it are shown too")
    parser.add_argument("--show", action="store_true", help="measure nothing, show what --keep holds")
    parser.add_argument("--processor-time", action="store_true", help="show processor time, for a machine in company")
    arguments = parser.parse_args()
    chosen = cases(arguments.only, full=arguments.full)
    console = Console(width=200 if not sys.stdout.isatty() else None)
    readings: Readings = []
    if arguments.keep and arguments.keep.exists():
        readings = [json.loads(line) for line in arguments.keep.read_text().splitlines()]
    if not arguments.show:
        with tempfile.TemporaryDirectory() as folder:
            readings += read_rounds(
                chosen, Path(folder), minutes=arguments.minutes, rounds=arguments.rounds, console=console,
                keep=arguments.keep,
            )
    show(readings, chosen, console, "_processor" if arguments.processor_time else "")


if __name__ == "__main__":
    main()

"""How long the dashboard's curves take to draw, by the number of steps: python -m tests.bench.dashboard_redraw

The curves panel of one run, all its charts, in the real app: from a change to all lines of the screen.
Processor time, so that other programs don't count.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.tui.build import EVENING, PARTS, Course, events_of
from tui.app import WatchApp
from tui.feed import Fleet
from tui.panels.curves import CurvesPanel
from tui.pyramid import Floats
from tui.scene import Scene
from tui.series import StepTable
from tui.view import RunView, apply_all

_TIMES = 15


def run_of(num_steps: int) -> RunView:
    """A run of so many steps and 12 epochs."""
    view = apply_all(RunView("0001-long"), events_of(Course(steps_an_epoch=3)))
    table = StepTable().extended(_rows(0, num_steps))
    table.prepare()  # as the thread leaves it that reads
    return replace(view, steps=table)


def _rows(start: int, end: int) -> dict[str, Floats]:
    rng = np.random.default_rng(start)
    step = np.arange(start, end, dtype=np.float32)
    total = (0.3 + 3 * np.exp(-step / 200_000) * np.exp(rng.normal(0, 0.2, len(step)))).astype(np.float32)
    rows = {
        "step": step, "loss": total, "lr": np.full_like(step, 0.005), "elapsed_s": step * np.float32(0.1),
        "step_s": np.float32(0.1) * np.exp(rng.normal(0, 0.1, len(step))).astype(np.float32),
        "data_s": np.full_like(step, 0.01),
    }  # fmt: skip
    return rows | {name: total * np.float32(share) for name, share in PARTS.items()}


async def measure(num_steps: int, size: tuple[int, int]) -> dict[str, float]:
    """Milliseconds, medians, by what was done."""
    view = run_of(num_steps)
    with tempfile.TemporaryDirectory() as folder:
        app = WatchApp(Path(folder))
        async with app.run_test(size=size) as pilot:
            while not app.is_settled:  # what the app itself shows of the empty folder must not come in between
                await pilot.pause(0.05)
            screen = app._main
            screen.action_panel("curves")
            screen.remove_class("-empty")
            await pilot.pause(0.2)
            panel = screen.query_one(CurvesPanel)
            assert panel.size.area, "nothing is in sight"

            def shown(change: Callable[[], object]) -> float:
                begun = time.thread_time()
                change()
                app.screen._compositor.render_strips()
                return (time.thread_time() - begun) * 1000

            def scene() -> Scene:
                return Scene(Fleet(exists=True, run_ids=(view.run_id,)), (view,), view, (), EVENING)

            found = {"first": shown(lambda: panel.take(scene()))}
            again, zoomed, grown = [], [], []
            for index in range(_TIMES):
                again.append(shown(lambda: panel.take(scene())))
                zoomed.append(shown(lambda places=1 if index % 4 < 3 else -3: panel.action_zoom(places)))
                end = view.steps.length
                view = replace(view, steps=view.steps.extended(_rows(end, end + 10)))
                grown.append(shown(lambda: panel.take(scene())))
            panel.action_whole()
            cursor = []
            panel.action_cursor()
            for _ in range(_TIMES):
                cursor.append(shown(lambda: panel.action_step(-1)))
    medians = {"again": again, "zoom": zoomed, "10 steps more": grown, "cursor": cursor}
    return found | {name: statistics.median(times) for name, times in medians.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="*", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--size", default="120x40")
    args = parser.parse_args()
    columns, rows = (int(part) for part in args.size.split("x"))
    base: dict[str, float] = {}
    for num_steps in args.steps:
        found = asyncio.run(measure(num_steps, (columns, rows)))
        base = base or found
        told = ", ".join(f"{name} {ms:.1f} ms ({ms / base[name]:.1f}x)" for name, ms in found.items())
        print(f"{num_steps:>9,} steps: {told}")


if __name__ == "__main__":
    main()

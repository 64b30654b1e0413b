"""`engine report`: what a night came to, as one HTML file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.choosing import RUNS_HELP, complete_runs
from engine.cli.options import runs_option
from engine.cli.printing import console, shown_path
from engine.errors import QueueError, Where

if TYPE_CHECKING:
    from engine.report.story import RunStory


@click.command("report", epilog=RUNS_HELP)
@click.argument("runs", nargs=-1, shell_complete=complete_runs)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file to write; it mustn't exist.")
@runs_option
def command(runs: tuple[str, ...], runs_dir: Path, out: Path | None) -> None:
    """Write a report of RUNS, of the last night's when none are named: one file that needs nothing else.

    It holds the ranking, what failed and what to do about it, forecast and reality, curves, figures of each
    class, photos with a threshold to move, recipes and environment. The report of one run is
    report/report.html in its folder; that of several is a new file in reports/ of the runs folder. At the
    end of a queue both are made by themselves. The last night goes back to the latest six hours without work.
    """
    from engine.nightreport import night_path
    from engine.report.make import make_report, run_path

    if out is not None and out.exists():
        fix = "name another file with --out, or remove it"
        raise QueueError.of("X104", Where(str(out)), "the file exists already", fix)
    stories = _stories(runs, runs_dir)
    is_one = len(runs) == 1 and len(stories) == 1
    path = out or (run_path(stories[0].run_dir) if is_one else night_path(runs_dir, time.time()))
    make_report(stories, path)
    size = path.stat().st_size / 1e6
    told = stories[0].run if len(stories) == 1 else f"{len(stories)} runs"
    console().print(f"{told}: {shown_path(str(path))} ({size:.1f} MB)", soft_wrap=True)


def _stories(words: tuple[str, ...], runs_dir: Path) -> list[RunStory]:
    """The stories of the runs that are meant.

    Raises:
        QueueError: A word means no run, or nothing was ever worked on.
    """
    from engine.queuereader import read_queue, settle_orphans
    from engine.report.story import last_night, read_stories, read_story
    from engine.rundir import find_run_dir, list_run_dirs
    from engine.selection import select

    rows = list(settle_orphans(read_queue(runs_dir, timeout_s=2.0).rows, runs_dir).values())
    if words and all(Path(word, "resolved.json").is_file() for word in words):
        return [read_story(find_run_dir(runs_dir, word)) for word in words]
    if words and rows:
        return read_stories(runs_dir, [row.run for row in select(rows, words, runs_dir=str(runs_dir))])
    if words:
        return [read_story(find_run_dir(runs_dir, word)) for word in words]
    found = [row.run for row in last_night(rows)] if rows else [one.run_id for one in list_run_dirs(runs_dir)]
    if not found:
        raise QueueError.of(
            "Q103", Where(str(runs_dir)), "no run was worked on here yet", "train something first: `engine run RECIPE`"
        )
    return read_stories(runs_dir, found)

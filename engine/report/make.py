"""Makes reports: `python -m engine.report.make RUNS_DIR OUT RUN...`, as a process beside the queue.

With "-" for OUT it is one run's loss curve and report, in the run's folder. No file is replaced that isn't one of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from engine.nightreport import free_path
from engine.report.curves import draw_loss_curve
from engine.report.page import GENERATOR, render
from engine.report.story import RunStory, read_stories
from engine.rundir import RunDir, write_bytes_atomic

_HEAD_BYTES = 2_000


def make_report(stories: Sequence[RunStory], path: Path) -> None:
    """Write the report of some runs.

    Raises:
        OSError: The file can't be written.
    """
    write_bytes_atomic(path, render(stories).encode())


def run_path(run_dir: RunDir) -> Path:
    """The file for a run's own report: that of before is replaced, and whatever else has its name is left alone."""
    path = run_dir.html_report
    return path if not path.exists() or _is_ours(path) else free_path(path)


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return f'content="{GENERATOR}"'.encode() in file.read(_HEAD_BYTES)
    except OSError:
        return False


def main(arguments: Sequence[str]) -> int:
    """Make the report of the runs that are named."""
    runs_dir, out, *runs = arguments
    stories = read_stories(Path(runs_dir), runs)
    if out != "-":
        make_report(stories, Path(out))
        return 0
    for story in stories:
        if story.progress.num_epochs is not None:  # one that never began has nothing to tell
            draw_loss_curve(story.run_dir)
            make_report([story], run_path(story.run_dir))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

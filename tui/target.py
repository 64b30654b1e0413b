"""What `engine watch DIR` means: a runs folder, or one run of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.rundir import RunDir


@dataclass(frozen=True, slots=True)
class Target:
    """What is looked at.

    Attributes:
        runs_dir: The runs folder.
        only: The one run to show; "" for all.
    """

    runs_dir: Path
    only: str = ""


def target_of(folder: Path) -> Target:
    """A folder that holds a run's files is a run, whatever its name; any other is a runs folder."""
    run_dir = RunDir(folder.absolute())
    if any(path.is_file() for path in (run_dir.events, run_dir.resolved, run_dir.worker_log)):
        return Target(folder.parent if folder.name not in ("", ".", "..") else folder.absolute().parent, run_dir.run_id)
    return Target(folder)

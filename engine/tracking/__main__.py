"""`python -m engine.tracking RUN_DIR`: tells a run's trackers what it tells, until SIGTERM or its input's end."""

from __future__ import annotations

import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

from engine.rundir import RunDir
from engine.tracking.facts import Wishes, read_wishes
from engine.tracking.follow import follow
from engine.tracking.make import make_trackers, missing_packages


def main(path: str) -> int:
    """Follow one attempt of a run; exit code 1 when a tracker had to be left out."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    run_dir = RunDir(Path(path))
    wishes = read_wishes(run_dir)
    missing = missing_packages(wishes)
    for name in missing:
        sys.stderr.write(f"{name} isn't installed, so it isn't told\n")
    trackers = make_trackers(without(wishes, missing))
    troubles = follow(run_dir, trackers, is_live=lambda: not over.wait(2.0), poll_s=0.0)
    return 1 if troubles or missing else 0


def without(wishes: Wishes, names: list[str]) -> Wishes:
    """The wishes but for some trackers."""
    if "tensorboard" in names:
        wishes = replace(wishes, tensorboard=False)
    if "mlflow" in names:
        wishes = replace(wishes, mlflow="")
    return replace(wishes, wandb="") if "wandb" in names else wishes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""How long the report of a night takes, and how large it is: `python -m tests.bench.report_speed [NUM_RUNS]`.

Each run has 50 epochs of 200 steps, and detections on 60 drawn photos of its own: no photo is shared. The limits
are 20 s and 20 MB for 10 runs; the time is that of `engine report` as a process, the start of Python included. Beside
other work look at the processor's seconds.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.runqueue import RunQueue
from engine.sample import SampleCounts, write_sample
from tests.builders import process_environment
from tests.engine.report.nights import add_run, keep_detections, training_events

_LIMIT_S, _LIMIT_BYTES = 20.0, 20_000_000
_PHOTO = (1280, 960)


def main() -> int:
    """Make the night, have its report made, say what it took."""
    num_runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory() as folder:
        photos = _photos(Path(folder), 60)
        queue = RunQueue(Path(folder) / "runs")
        for number in range(num_runs):
            events = training_events(50, 200, best_ap=0.3 + 0.04 * number, seed=number)
            run_dir = add_run(queue, Path(folder), Path(folder), f"desk-{number}", events, training={"seed": number})
            copies = Path(folder) / f"photos-{number}"
            copies.mkdir()
            for photo in photos:
                (copies / photo.name).write_bytes(photo.read_bytes())
            keep_detections(run_dir, sorted(copies.iterdir()), _PHOTO, seed=number, per_photo=8)
        queue.close()
        took, worked, size = _report(Path(folder))
    words = f"{num_runs} runs: {took:.1f} s ({worked:.1f} s of a processor), {size / 1e6:.1f} MB"
    print(f"{words}; the limits are {_LIMIT_S:g} s ({took / _LIMIT_S:.0%}) and 20 MB ({size / _LIMIT_BYTES:.0%})")
    return 0 if took <= _LIMIT_S and size <= _LIMIT_BYTES else 1


def _photos(folder: Path, count: int) -> list[Path]:
    """Drawn photos, enlarged to what a camera's are after a resize."""
    from PIL import Image

    write_sample(folder / "sample", counts=SampleCounts(train=1, val=count, test=1))
    paths = sorted((folder / "sample" / "val" / "images").iterdir())
    for path in paths:
        with Image.open(path) as photo:
            photo.resize(_PHOTO).save(path, quality=92)
    return paths


def _report(folder: Path) -> tuple[float, float, int]:
    out = folder / "report.html"
    begun = time.monotonic()
    command = [sys.executable, "-m", "engine.cli.main", "report", "--runs", str(folder / "runs"), "--out", str(out)]
    subprocess.run(command, check=True, env=process_environment(), cwd=folder)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - begun, used.ru_utime + used.ru_stime, out.stat().st_size


if __name__ == "__main__":
    sys.exit(main())

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.rundir import SUPERVISOR_LOCK, RunDir
from tests.tui.build import EVENING, an_evening
from tui.app import WatchApp
from tui.gauges import Gauges, GpuGauge
from tui.graphics import Graphics
from tui.theme import DARK

# A machine that doesn't change.
GAUGES = Gauges(
    load=0.62, num_cores=16, used_bytes=18_400_000_000, total_bytes=64_000_000_000, disk_free_bytes=212_000_000_000,
    supervised_since=EVENING - 7200,
    gpus=(GpuGauge(0, "RTX 4070", 0.97, 8_100_000_000, 12_900_000_000, 71),),
)  # fmt: skip

# Locks are held by another process: looking at one's own lock would give it away (POSIX).
_HOLDER = """
import sys, time
from pathlib import Path
from engine.rundir import FileLock
locks = [FileLock(Path(path)) for path in sys.argv[1:]]
print(all(lock.acquire() for lock in locks), flush=True)
time.sleep(600)
"""


@pytest.fixture
def hold_locks() -> Iterator[Callable[..., None]]:
    """Locks files in another process until the test ends."""
    holders: list[subprocess.Popen[str]] = []

    def hold(*paths: Path) -> None:
        command = [sys.executable, "-c", _HOLDER, *map(str, paths)]
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "True"

    yield hold
    for holder in holders:
        holder.kill()
        holder.communicate()


@pytest.fixture(scope="session")
def built_evening(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder in the middle of its night; to be copied."""
    runs_dir = tmp_path_factory.mktemp("evening") / "runs"
    an_evening(runs_dir)
    return runs_dir


@pytest.fixture
def evening(
    built_evening: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold_locks: Callable[..., None]
) -> Path:
    """A runs folder in the middle of its night, as `runs` in the current folder; its worker lives."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    runs_dir = Path("runs")
    shutil.copytree(built_evening, runs_dir)
    hold_locks(RunDir(runs_dir / "0004-desk-r50").worker_lock, runs_dir / SUPERVISOR_LOCK)
    return runs_dir


@pytest.fixture
def make_app() -> Callable[..., WatchApp]:
    """Builds dashboards that are quick and whose clock stands."""

    def make(runs_dir: Path, graphics: Graphics = "halfblock", theme: str = DARK) -> WatchApp:
        return WatchApp(
            runs_dir, graphics, theme, clock=lambda: EVENING + 780, pause_s=0.05, redraw_s=0.05,
            read_gauges=lambda: GAUGES,
        )  # fmt: skip

    return make

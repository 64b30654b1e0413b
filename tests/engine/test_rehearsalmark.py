"""What others see of a rehearsal at work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from engine.rehearsalmark import FILE, Rehearsal, marked, read_rehearsal

_REHEARSE = """
import sys
from pathlib import Path
from engine.rehearsalmark import marked
with marked(Path(sys.argv[1])) as mark:
    mark.tell(1, 3, "desk", "largest images")
    print("told", flush=True)
    sys.stdin.read()
"""


def rehearsing(runs_dir: Path) -> subprocess.Popen[str]:
    """Another process that rehearses until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _REHEARSE, str(runs_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "told\n"
    return process


def test_a_rehearsal_is_told_as_long_as_it_lasts(tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    assert read_rehearsal(runs_dir) is None
    process = rehearsing(runs_dir)
    found = read_rehearsal(runs_dir)
    assert isinstance(found, Rehearsal)
    assert (found.name, found.number, found.total, found.words) == ("desk", 2, 3, "largest images")
    with marked(runs_dir) as second:  # the first one's is left alone
        second.tell(0, 1, "other", "starting")
    assert read_rehearsal(runs_dir) == found
    (runs_dir / FILE).write_bytes(b'{"name":')
    assert read_rehearsal(runs_dir) is None
    process.communicate()
    assert read_rehearsal(runs_dir) is None
    assert not runs_dir.exists()  # it was made for this, and nothing came of it


def test_one_that_was_killed_is_told_no_longer(tmp_path: Path) -> None:
    process = rehearsing(tmp_path)
    process.kill()
    process.communicate()
    assert (tmp_path / FILE).exists()
    assert read_rehearsal(tmp_path) is None


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    with marked(tmp_path) as mark:
        mark.tell(0, 1, "desk", "starting")
    assert tmp_path.is_dir()
    assert not (tmp_path / FILE).exists()


def test_where_nothing_can_be_written_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with marked(tmp_path / "runs") as mark:
        mark.tell(0, 1, "desk", "starting")
    assert read_rehearsal(tmp_path / "runs") is None

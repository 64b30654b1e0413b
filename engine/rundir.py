"""Every file name under `runs/<run>/`, and how files there are written.

Nobody else spells these names. Files that matter are written to a temporary name, fsynced and
renamed, so that a reader sees the old one or the new one and a power cut leaves one of them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.errors import QueueError

RUN_ID = re.compile(r"^(\d{4,})-[A-Za-z0-9][A-Za-z0-9._-]*$")
QUEUE_FILE = "queue.db"
SUPERVISOR_LOCK = "supervisor.lock"
SUPERVISOR_LOG = "supervisor.log"
NOTICES_LOG = "notices.log"
# Runs that were taken out of the queue; nothing in it is ever deleted unasked.
REMOVED_DIR = "removed"
# Reports of several runs.
REPORTS_DIR = "reports"

# What a worker says of its run by its exit code.
EXIT_FINISHED = 0
EXIT_FAILED = 1
EXIT_STOPPED = 75  # sysexits' EX_TEMPFAIL: saved, to be gone on with
EXIT_LOCKED = 73  # sysexits' EX_CANTCREAT: another worker has the run
EXIT_STALLED = 74  # sysexits' EX_IOERR: nothing moved any more; to be gone on with from the last checkpoint


@dataclass(frozen=True, slots=True)
class RunDir:
    """The paths of one run; making one touches no disk."""

    path: Path

    @property
    def run_id(self) -> str:
        """The run's id, which is the folder's name."""
        return self.path.name

    @property
    def recipe(self) -> Path:
        """The recipe, to the letter."""
        return self.path / "recipe.toml"

    @property
    def resolved(self) -> Path:
        """The recipe as it was understood."""
        return self.path / "resolved.json"

    @property
    def forecast(self) -> Path:
        """What the rehearsal before the run measured, and how long the run should take."""
        return self.path / "forecast.json"

    @property
    def events(self) -> Path:
        """The event log."""
        return self.path / "events.jsonl"

    @property
    def worker_log(self) -> Path:
        """What the worker printed; the end of it, where it was much."""
        return self.path / "worker.log"

    @property
    def worker_log_first(self) -> Path:
        """The beginning of what the worker printed, where it was much."""
        return self.path / "worker.first.log"

    @property
    def worker_log_before(self) -> Path:
        """What came before `worker_log`, where it was very much."""
        return self.path / "worker.before.log"

    @property
    def execution(self) -> Path:
        """Marks the processes of the latest attempt; gone once none of them is left."""
        return self.path / "execution.json"

    @property
    def worker_lock(self) -> Path:
        """Held by a living worker."""
        return self.path / "worker.lock"

    @property
    def last_checkpoint(self) -> Path:
        """The newest state, to resume from."""
        return self.path / "checkpoints" / "last.pt"

    @property
    def best_checkpoint(self) -> Path:
        """The best model."""
        return self.path / "checkpoints" / "best.pt"

    @property
    def attempt_notes(self) -> Path:
        """What a worker leaves for the next one, should it be killed."""
        return self.path / "attempt.json"

    @property
    def stop_after_epoch(self) -> Path:
        """Marker: the worker is asked to save and end once the epoch at work is measured."""
        return self.path / "stop-after-epoch"

    @property
    def decision(self) -> Path:
        """That a person held or cancelled the run, for a queue that has to be rebuilt."""
        return self.path / "decision.json"

    @property
    def replays(self) -> Path:
        """Folder of the steps that were discarded, to be repeated."""
        return self.path / "replay"

    def replay(self, step: int) -> Path:
        """The bundle of a discarded step, zero-based."""
        return self.replays / f"step-{step:08d}.pt"

    @property
    def report(self) -> Path:
        """Folder of what is made of the run."""
        return self.path / "report"

    @property
    def loss_curve(self) -> Path:
        """The loss-curve picture."""
        return self.report / "loss.png"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's files."""
        return self.path / "tensorboard"

    @property
    def tracking_log(self) -> Path:
        """What the process printed that tells trackers of the run."""
        return self.path / "tracking.log"

    @property
    def html_report(self) -> Path:
        """The report of this run."""
        return self.report / "report.html"

    @property
    def exports(self) -> Path:
        """Folder of what `engine export` makes of the run."""
        return self.path / "export"

    def export(self, target: str, precision: str) -> Path:
        """The exported model of a target such as "onnx", in a number format such as "fp32"."""
        return self.exports / (f"model.{target}" if precision == "fp32" else f"model-{precision}.{target}")

    def export_gate(self, model: Path) -> Path:
        """What the gate found of an exported model."""
        return model.with_name(f"{model.name}.gate.json")

    def export_rejected(self, model: Path) -> Path:
        """Where an exported model is kept that the gate didn't let through."""
        return model.with_name(f"rejected-{model.name}")

    @property
    def predictions(self) -> Path:
        """Folder of `engine predict`'s output."""
        return self.path / "predictions"

    @property
    def evaluation(self) -> Path:
        """Folder of what was measured, and of what was made of it."""
        return self.path / "evaluation"

    def ground_truth(self, split: str) -> Path:
        """What there was to find in a split, in COCO's form; each image with the `path` of its photo."""
        return self.evaluation / f"{split}.ground_truth.json"

    def detections(self, split: str) -> Path:
        """What the best model found in a split: COCO's list of results."""
        return self.evaluation / f"{split}.detections.json"

    def analysis(self, split: str) -> Path:
        """What is said of both: `engine.analysis.schema.Analysis`."""
        return self.evaluation / f"{split}.json"

    def preview(self, epoch: int, index: int) -> Path:
        """The picture of one preview image; epoch and index zero-based."""
        return self.path / "previews" / f"{epoch:04d}" / f"{index:02d}.jpg"

    def preview_boxes(self, epoch: int) -> Path:
        """What was found on an epoch's preview images: `engine.previewfile.EpochPreviews`."""
        return self.path / "previews" / f"{epoch:04d}" / "boxes.json"

    def preview_photo(self, place: int) -> Path:
        """The plain photo of a preview image, by its place in the validation split; written once a run."""
        return self.path / "previews" / "photos" / f"{place:06d}.jpg"

    def relative(self, path: Path) -> str:
        """A path as events name it: relative to the run directory, with forward slashes."""
        return path.relative_to(self.path).as_posix()


def run_number(run_id: str) -> int | None:
    """The number a run id begins with, or None when it isn't a run id."""
    match = RUN_ID.match(run_id)
    return int(match.group(1)) if match else None


def list_run_dirs(runs_dir: Path) -> list[RunDir]:
    """All run directories in a runs folder, by number; [] when the folder is missing."""
    if not runs_dir.is_dir():
        return []
    with os.scandir(runs_dir) as entries:  # which knows without asking again what is a folder
        found = [entry.name for entry in entries if RUN_ID.match(entry.name) and _is_folder(entry)]
    return [RunDir(runs_dir / name) for name in sorted(found, key=lambda name: (run_number(name), name))]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say
        return False


def find_run_dir(runs_dir: Path, name: str) -> RunDir:
    """The run a person means: a run folder's path, a run id, its number, or a recipe's name (newest run).

    Raises:
        QueueError: No run, or no readable one, goes by that name.
    """
    with contextlib.suppress(OSError):  # a name may be too long for a path
        as_path = Path(name).absolute()
        if name and (as_path / "resolved.json").is_file():
            return RunDir(as_path)
    run_dirs = list_run_dirs(runs_dir)
    for matches in (
        [run_dir for run_dir in run_dirs if run_dir.run_id == name],
        [run_dir for run_dir in run_dirs if name.isdecimal() and run_number(run_dir.run_id) == int(name)],
        [run_dir for run_dir in run_dirs if run_dir.run_id.partition("-")[2] == name],
    ):
        if matches:
            return matches[-1]
    known = ", ".join(run_dir.run_id for run_dir in run_dirs[-5:])
    raise QueueError.of(
        "Q103", str(runs_dir), f'no run "{name}"',
        f"name one of: {known}" if known else "train something first: `engine run RECIPE`",
    )


def write_atomic(path: Path, write: Callable[[BinaryIO], object], *, durable: bool = True) -> None:
    """Replace a file in one step.

    Args:
        path: The file; its folder is made when missing.
        write: Writes the content into the open binary file it is given.
        durable: Wait until it is on disk, so that a power cut can't take it back.

    Raises:
        OSError: The disk is full or can't be written; the old file is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}."
    try:
        _write_aside(path, write, prefix, durable=durable)
    except OSError as error:
        # The file that a person knows: the system names none when the disk is full, and else the temporary one.
        if error.filename is None or Path(os.fsdecode(error.filename)).name.startswith(prefix):
            error.filename, error.filename2 = str(path), None
        raise
    if durable:  # which a rename is only once its folder is on disk
        _sync(path.parent)


def _write_aside(path: Path, write: Callable[[BinaryIO], object], prefix: str, *, durable: bool) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Replace a file's content in one step; see `write_atomic`."""
    write_atomic(path, lambda file: file.write(content))


def sync_all(paths: Sequence[Path]) -> None:
    """Force files and folders to disk, many at a time: file systems then write their journal once for all."""
    if not paths:
        return
    with ThreadPoolExecutor(min(16, len(paths))) as pool:
        list(pool.map(_sync, paths))


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        if not path.is_dir():  # some network drives refuse to sync folders
            raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading bytes, whatever lies at its path: a pipe or a device never holds the reader up.

    Raises:
        OSError: It can't be opened, or is something else than a file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it isn't a file", str(path))


class FileLock:
    """An exclusive `fcntl.lockf` lock on a file, freed by the kernel when its holder dies.

    Opening the same file elsewhere in the holding process and closing it would free the lock too
    (POSIX), so nothing else may open a lock file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def acquire(self, patience_s: float = 0.0) -> bool:
        """Try to take the lock for a while; False when another process keeps it.

        Raises:
            OSError: The folder can't be written.
        """
        file = self._path.open("ab")
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                if time.monotonic() >= deadline:
                    file.close()
                    return False
                time.sleep(0.05)
            else:
                self._file = file
                with contextlib.suppress(OSError):  # a full disk: who holds it is only for people
                    file.truncate(0)
                    file.write(str(os.getpid()).encode())
                    file.flush()
                return True

    def release(self) -> None:
        """Give the lock back; harmless when it isn't held."""
        if self._file is not None:
            self._file.close()
            self._file = None


def lock_holder(path: Path) -> int | None:
    """The process that holds the lock on a file; None when nobody does, or it isn't known.

    Not to be asked by the holder itself: see `FileLock`.
    """
    if not is_locked(path):
        return None
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return None


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock on a file; False when the file is missing.

    Looking takes a shared lock for an instant, so whoever acquires should try more than once.
    """
    try:
        with open_regular(path) as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except (BlockingIOError, PermissionError):
        return True
    return False

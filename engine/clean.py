"""What of a runs folder may go to make room, by stated rules; only runs that are over are looked at.

`plan_cleaning` reads and changes nothing; `clean` deletes what a plan names. The best model of a run is
always kept, and so is everything that `engine retry` would go on from.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.previewfile import decode_previews
from engine.progress import RunProgress
from engine.rundir import REMOVED_DIR, RunDir
from engine.runqueue import OVER, QueueRow
from engine.standing import progress_of


@dataclass(frozen=True, slots=True)
class Spare:
    """Something that may go.

    Attributes:
        path: A file or a folder.
        size_bytes: What it takes.
        why: The rule that names it.
    """

    path: Path
    size_bytes: int
    why: str


# The rules, in words; `engine clean --help` and docs/queue.md tell them.
PREVIOUS = "a state before the last one"
LAST = "the last state of a finished run"
LEFTOVER = "left behind when something was cut short"
REPLAY = "a repeatable step of a finished run"
PREVIEW = "previews of an epoch between those kept"
PHOTO = "a photo of no preview that is kept"
EVENTS_BEFORE = "events that a resume cut off"
REMOVED = "a removed run"


def plan_cleaning(
    rows: Iterable[QueueRow], runs_dir: Path, *, previews_every: int = 0, removed: bool = False
) -> list[Spare]:
    """What may go.

    Args:
        rows: The runs to look at; those that aren't over are passed over.
        runs_dir: The runs folder.
        previews_every: Keep the previews of every so many epochs only, the first, the last and the best
            ones; 0 keeps all.
        removed: Whether removed runs go for good.
    """
    spares: list[Spare] = []
    for row in rows:
        if row.state in OVER:
            spares.extend(_spares_of(row, RunDir(runs_dir / row.run), runs_dir, previews_every))
    if removed:
        spares.extend(_spare(folder, REMOVED) for folder in _entries(runs_dir / REMOVED_DIR))
    return spares


def _spares_of(row: QueueRow, run_dir: RunDir, runs_dir: Path, previews_every: int) -> Iterator[Spare]:
    checkpoints = run_dir.last_checkpoint.parent
    previous = run_dir.last_checkpoint.with_suffix(".previous.pt")
    if run_dir.last_checkpoint.exists() and previous.exists():
        yield _spare(previous, PREVIOUS)
    for leftover in _entries(checkpoints):
        if leftover.name.startswith(".") and leftover.is_file():
            yield _spare(leftover, LEFTOVER)
    for before in _entries(run_dir.path):
        if before.name.startswith("events.before-"):
            yield _spare(before, EVENTS_BEFORE)
    if row.state != "finished":
        return
    # Without a best model the last state is all that the run has to show.
    if run_dir.last_checkpoint.exists() and run_dir.best_checkpoint.exists():
        yield _spare(run_dir.last_checkpoint, LAST)
    for replay in _entries(run_dir.replays):
        yield _spare(replay, REPLAY)
    if previews_every:
        yield from _spare_previews(run_dir, progress_of(row, runs_dir), previews_every)


def _spare_previews(run_dir: RunDir, progress: RunProgress, every: int) -> Iterator[Spare]:
    folders = [folder for folder in _entries(run_dir.preview(0, 0).parent.parent) if folder.name.isdecimal()]
    epochs = sorted(int(folder.name) for folder in folders)
    kept = kept_previews(epochs, every, best=None if progress.best_epoch is None else progress.best_epoch - 1)
    for folder in folders:
        if int(folder.name) not in kept:
            yield _spare(folder, PREVIEW)
    yield from _spare_photos(run_dir, kept)


def _spare_photos(run_dir: RunDir, epochs: Iterable[int]) -> Iterator[Spare]:
    """Plain photos of none of these epochs' previews: most were among the worst ones of another epoch."""
    needed: set[str] = set()
    for boxes in (run_dir.preview_boxes(epoch) for epoch in epochs):
        try:
            needed.update(image.photo for image in decode_previews(boxes.read_bytes()).images)
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            return  # nobody knows what it needs
    for photo in _entries(run_dir.preview_photo(0).parent):
        if run_dir.relative(photo) not in needed:
            yield _spare(photo, PHOTO)


def kept_previews(epochs: Sequence[int], every: int, best: int | None) -> frozenset[int]:
    """The epochs, zero-based and ascending, whose previews stay: every so many, the first, the last, the best."""
    return frozenset([*epochs[:1], *epochs[-1:], *(epoch for epoch in epochs if epoch % every == 0 or epoch == best)])


def _entries(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _spare(path: Path, why: str) -> Spare:
    is_folder = path.is_dir() and not path.is_symlink()
    files = [file for file in path.rglob("*") if not file.is_dir()] if is_folder else [path]
    return Spare(path, sum(_size(file) for file in files), why)


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.lstat().st_size
    return 0


def clean(spares: Iterable[Spare]) -> tuple[int, list[str]]:
    """Delete what a plan names.

    Returns:
        Bytes freed, and what couldn't be deleted and why, in words.
    """
    freed = 0
    troubles = []
    for spare in spares:
        try:
            if spare.path.is_dir() and not spare.path.is_symlink():
                shutil.rmtree(spare.path)
            else:
                spare.path.unlink()
        except FileNotFoundError:
            continue  # somebody else cleans too
        except OSError as error:
            troubles.append(f"{spare.path}: {error.strerror or error}")
        else:
            freed += spare.size_bytes
    return freed, troubles

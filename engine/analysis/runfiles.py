"""What a run leaves of its measuring: ground truth, detections, and what was made of them.

The worker writes the first two whenever an epoch is the best so far. The analysis is made when somebody asks
for it, and kept beside them; it knows of which files it is, so that it is never told of others.
"""

from __future__ import annotations

import contextlib
import zlib
from dataclasses import dataclass

import msgspec

from engine.analysis.analyse import DEFAULT_SCORE, analyse
from engine.analysis.cocofile import parse_detections, parse_ground_truth, parse_info
from engine.analysis.schema import FORMAT, Analysis, Source, Speed, Thresholds
from engine.analysis.tables import Detections, GroundTruth
from engine.errors import EngineError
from engine.rundir import RunDir, write_bytes_atomic


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured on a split of a run.

    Attributes:
        truth: What there was to find.
        found: What was found.
        source: Of which model and epoch.
    """

    truth: GroundTruth
    found: Detections
    source: Source


def read_measured(run_dir: RunDir, split: str = "val") -> Measured | None:
    """The ground truth and detections of a split; None when it wasn't measured.

    Raises:
        DataError: The files are damaged.
        OSError: They can't be read.
    """
    files = _read(run_dir, split)
    return None if files is None else _parsed(run_dir, split, *files)


def load_analysis(run_dir: RunDir, split: str = "val") -> Analysis | None:
    """The analysis of a split, made and kept when it is missing or of other files; None when it wasn't measured.

    Raises:
        DataError: The files are damaged.
        OSError: They can't be read.
    """
    files = _read(run_dir, split)
    if files is None:
        return None
    kept = _kept(run_dir, split)
    if kept is not None and kept.source.digest == _digest(*files):
        return kept
    measured = _parsed(run_dir, split, *files)
    analysis = analyse(measured.truth, measured.found, source=measured.source)
    with contextlib.suppress(OSError):  # a folder that can only be read
        save_analysis(run_dir, split, analysis)
    return analysis


def read_thresholds(run_dir: RunDir, split: str = "val") -> Thresholds | None:
    """The score thresholds of the best F1; None when nothing was measured or nothing was found."""
    try:
        analysis = load_analysis(run_dir, split)
    except (EngineError, OSError):
        return None
    return None if analysis is None else thresholds_of(analysis)


def thresholds_of(analysis: Analysis) -> Thresholds | None:
    """The score thresholds of the best F1; None when nothing was found."""
    if analysis.best is None:
        return None
    overall = analysis.best.score
    return Thresholds(
        overall=overall, per_class={one.name: one.best.score if one.best else overall for one in analysis.classes}
    )


def save_measured(
    run_dir: RunDir, split: str, ground_truth: dict[str, object], detections: list[dict[str, object]], *, epoch: int
) -> None:
    """Write ground truth and detections, both in COCO's form, in one step each.

    Args:
        run_dir: The run.
        split: What was measured on.
        ground_truth: COCO's ground truth.
        detections: COCO's list of results.
        epoch: Zero-based epoch of the weights.

    Raises:
        OSError: The disk is full.
    """
    info = {"model": run_dir.run_id, "split": split, "epoch": epoch}
    encode = msgspec.json.encode
    # Image ids name places in the split, so that detections of before fit too, should only the first be written.
    write_bytes_atomic(run_dir.ground_truth(split), encode({**ground_truth, "info": info}))
    write_bytes_atomic(run_dir.detections(split), encode(detections))


def save_analysis(run_dir: RunDir, split: str, analysis: Analysis) -> None:
    """Write an analysis in one step.

    Raises:
        OSError: The disk is full.
    """
    write_bytes_atomic(run_dir.analysis(split), msgspec.json.format(msgspec.json.encode(analysis), indent=1))


def analyse_run(run_dir: RunDir, split: str, speed: Speed | None) -> Analysis:
    """Analyse a split that was just measured, and keep it.

    Raises:
        OSError: The disk is full.
    """
    files = _read(run_dir, split)
    assert files is not None  # they were just written
    measured = _parsed(run_dir, split, *files)
    analysis = analyse(measured.truth, measured.found, source=measured.source, speed=speed)
    save_analysis(run_dir, split, analysis)
    return analysis


def _read(run_dir: RunDir, split: str) -> tuple[bytes, bytes] | None:
    try:
        return run_dir.ground_truth(split).read_bytes(), run_dir.detections(split).read_bytes()
    except FileNotFoundError:
        return None


def _parsed(run_dir: RunDir, split: str, ground_truth: bytes, detections: bytes) -> Measured:
    truth = parse_ground_truth(ground_truth, str(run_dir.ground_truth(split)))
    found = parse_detections(detections, str(run_dir.detections(split)), truth)
    model, _, epoch = parse_info(ground_truth)
    source = Source(model=model or run_dir.run_id, split=split, epoch=epoch, digest=_digest(ground_truth, detections))
    return Measured(truth, found, source)


def _kept(run_dir: RunDir, split: str) -> Analysis | None:
    try:
        analysis = msgspec.json.decode(run_dir.analysis(split).read_bytes(), type=Analysis)
    except (OSError, msgspec.DecodeError):
        return None
    return analysis if analysis.format == FORMAT else None


def _digest(ground_truth: bytes, detections: bytes) -> str:
    return f"{zlib.crc32(ground_truth):08x}{zlib.crc32(detections):08x}"


__all__ = [
    "DEFAULT_SCORE", "Measured", "analyse_run", "load_analysis", "read_measured", "read_thresholds", "save_analysis",
    "save_measured", "thresholds_of",
]
